"""What a capsule holds for viewers: judged by an encoder and a parser of definitions of others."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from rclpy.serialization import serialize_message
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import CompressedImage, Image, JointState, Joy
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.capsule.policy_replay import decode_captured
from vla_adapter_ros.capsule.policy_ring import PolicyRing
from vla_adapter_ros.capsule.recorded_core import RecordedCore
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.control.urdf import contract_kinematics
from vla_adapter_ros.msg import ActionChunk, ControllerStatus, RecorderStatus
from vla_adapter_ros.nodes.capsule_messages import (
    COMMAND,
    SETPOINT,
    core_messages,
    inference_messages,
    message_definition,
    topic_of,
)
from vla_adapter_ros.observation.frame import Frame

CONTRACT = read_contract("franka_sim")
HOME = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8])


@pytest.mark.parametrize("kind", [JointState, Image, CompressedImage, Joy, JointTrajectory])
def test_definitions_are_those_of_ros(kind):
    ours, theirs = get_typestore(Stores.EMPTY), get_typestore(Stores.ROS2_JAZZY)
    name = topic_of("/x", kind).schema.name
    ours.register(get_types_from_msg(message_definition(kind), name))
    assert ours.hash_rihs01(name) == theirs.hash_rihs01(name)


@pytest.mark.parametrize("kind", [ActionChunk, ControllerStatus, RecorderStatus])
def test_our_own_messages_can_be_read_by_their_definitions(kind):
    store, name = get_typestore(Stores.EMPTY), topic_of("/x", kind).schema.name
    store.register(get_types_from_msg(message_definition(kind), name))
    message = kind()
    for field, its in kind.get_fields_and_field_types().items():
        if its == "string":
            setattr(message, field, f"the {field}")
        elif its == "double":
            setattr(message, field, 0.1)
        elif its == "sequence<double>":  # behind an empty one DDS leaves bytes that rosbags takes for damage
            setattr(message, field, [0.5])
    read = store.deserialize_cdr(serialize_message(message), name)
    for field, its in kind.get_fields_and_field_types().items():
        if its in ("string", "double"):
            assert getattr(read, field) == getattr(message, field)


def test_what_the_core_had_becomes_messages():
    core = RecordedCore(CONTRACT)
    for n in range(40):
        now = 100.0 + n * 0.01
        core.measure(dict(zip(CONTRACT.arm_joints, HOME, strict=True)), now, now)
        if n == 10:
            rows = np.column_stack([HOME + 0.01 * np.arange(8)[:, None], np.ones(8)])
            core.accept_chunk(Chunk(now, rows, CONTRACT.action_names, CONTRACT.rate_hz, "s", 1), now)
        core.tick(now)
        core.setpoint(now)
    sent = list(core_messages(CONTRACT, *core.recorded()))
    by_topic = {topic: [s.message for s in sent if s.topic == topic] for topic in {s.topic for s in sent}}
    assert len(by_topic["/joint_states"]) == 39  # the first one came before the first tick
    assert by_topic["/controller/received_chunk"][0].num_rows == 8
    assert by_topic[COMMAND][-1].position[0] > 0.0 and by_topic[SETPOINT][-1].velocity[0] > 0.0
    assert list(by_topic[SETPOINT][-1].name) == list(CONTRACT.arm_joints)


def test_the_robots_description_has_the_time_of_the_first_tick():
    """One at time 0 would stretch a capsule of 20 s over decades in every viewer."""
    for core in (known := RecordedCore(CONTRACT), told := RecordedCore(CONTRACT)):
        if core is known:
            core.set_kinematics(contract_kinematics(CONTRACT))
        for n in range(3):
            core.measure(dict(zip(CONTRACT.arm_joints, HOME, strict=True)), 100.0 + n, 100.0 + n)
            core.tick(100.0 + n)
            if core is told and n == 1:
                core.set_kinematics(contract_kinematics(CONTRACT))
        sent = list(core_messages(CONTRACT, *core.recorded()))
        found = [s for s in sent if s.topic == "/robot_description"]
        assert [s.time for s in found] == [100.0 if core is known else 102.0]
        assert "<robot" in found[0].message.data


def test_the_pictures_of_a_prediction_come_back_to_the_last_bit():
    rng = np.random.default_rng(1)
    images = {
        name: rng.integers(0, 255, (camera.height, camera.width, 3), dtype=np.uint8)
        for name, camera in CONTRACT.cameras.items()
    }
    ring = PolicyRing()
    frame = Frame(7.25, images, np.arange(float(len(CONTRACT.state))), None, {}, 7.2)
    ring.add(frame, "pick up the cube", np.ones((8, 8)), ActionChunk())
    sent, record = inference_messages(CONTRACT, ring.contents()[0])
    assert record.instruction == "pick up the cube" and record.time_ns == 7_250_000_000
    for name, image in images.items():
        message = next(s.message for s in sent if s.topic == record.images[name])
        np.testing.assert_array_equal(decode_captured(serialize_message(message), CONTRACT, name), image)
