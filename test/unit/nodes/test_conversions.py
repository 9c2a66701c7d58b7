"""Messages and plain data, there and back; parameters and their shipped files."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from sensor_msgs.msg import JointState

from vla_adapter_ros.contract import config_folder, parse_contract, read_contract
from vla_adapter_ros.contract.read import plain_contract
from vla_adapter_ros.control import Chunk, Trajectory
from vla_adapter_ros.control.rotation import Pose, rotation_matrix
from vla_adapter_ros.errors import CommandError, ParameterError
from vla_adapter_ros.nodes import conversions, graph, parameter_pages
from vla_adapter_ros.nodes.parameter_rules import make_parameters
from vla_adapter_ros.nodes.parameters import KINDS, ControllerParameters
from vla_adapter_ros.observation.messages import pose_values, twist_values
from vla_adapter_ros.simulation.cartesian_controllers import rotation_of

CONTRACT = read_contract("franka_sim")


@pytest.mark.parametrize("time", [0.0, 1.25, 12345.678901, 1_795_311_372.747486])
def test_stamps(time):
    stamp = conversions.to_stamp(time)
    assert conversions.seconds(stamp) == pytest.approx(time, abs=1e-6)
    assert 0 <= stamp.nanosec < 1_000_000_000


def test_chunk_round_trip():
    rows = np.random.default_rng(0).normal(size=(8, 8))
    chunk = Chunk(3.5, rows, CONTRACT.action_names, 10.0, "session", 2, 7)
    back = conversions.chunk_of(conversions.chunk_message(chunk, 4, 3.4, 0.01))
    np.testing.assert_array_equal(back.rows, rows)
    assert (back.stamp, back.names, back.session_id) == (3.5, chunk.names, "session")
    empty = Chunk(3.5, np.zeros((0, 8)), CONTRACT.action_names, 10.0)
    assert conversions.chunk_of(conversions.chunk_message(empty, 4, 3.4, 0.0)).rows.shape == (0, 8)


def test_trajectory_round_trip():
    times = 5.0 + np.array([0.01, 0.02, 1.5])
    rows = np.random.default_rng(1).normal(size=(3, 3, 7))
    message = conversions.trajectory_message(Trajectory(CONTRACT.arm_joints, times, *rows), 5.0)
    names, start, offsets, *back = conversions.trajectory_arrays(message)
    assert names == list(CONTRACT.arm_joints) and start == 5.0
    np.testing.assert_allclose(start + offsets, times, atol=1e-6)
    for column, wanted in zip(back, rows, strict=True):
        np.testing.assert_array_equal(column, wanted)


def test_exact_times_of_a_trajectory_survive_to_the_nanosecond():
    start, offsets = 1_795_311_372_747_486_003, np.array([0.004, 0.008])
    rows = np.zeros((3, 2, 7))
    times = start * 1e-9 + offsets
    trajectory = Trajectory(CONTRACT.arm_joints, times, *rows, start_ns=start, offsets=offsets)
    message = conversions.trajectory_message(trajectory, 0.0)
    assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == start
    assert [point.time_from_start.nanosec for point in message.points] == [4_000_000, 8_000_000]


def test_poses_and_twists_round_trip():
    rotation = rotation_matrix(np.array([0.3, -1.2, 2.0]))
    message = conversions.pose_message(Pose(np.array([0.1, 0.2, -0.3]), rotation), "base", 2.5)
    assert message.header.frame_id == "base" and conversions.seconds(message.header.stamp) == 2.5
    values = pose_values(message)
    assert values[:3] == [0.1, 0.2, -0.3]
    np.testing.assert_allclose(rotation_of(np.array(values[3:])), rotation, atol=1e-12)
    twist = np.array([0.1, 0.2, 0.3, -1.0, -2.0, -3.0])
    back = conversions.twist_message(twist, "tool", 2.5)
    assert back.header.frame_id == "tool" and back.twist.angular.x == -1.0
    np.testing.assert_array_equal(twist_values(back), twist)


def test_commands_go_by_name():
    message = JointState(name=["b", "extra", "a"], position=[2.0, 9.0, 1.0])
    np.testing.assert_array_equal(conversions.command_of(message, ("a", "b")), [1.0, 2.0])
    with pytest.raises(CommandError, match="lacks"):
        conversions.command_of(message, ("a", "c"))
    assert conversions.joint_positions(JointState(name=["a"], velocity=[1.0, 2.0])) == {}
    with pytest.raises(CommandError, match="2 names but 1"):
        conversions.joint_positions(JointState(name=["a", "b"], position=[1.0]))


def test_messages_of_a_robot_that_counts_in_degrees_are_converted_at_the_door():
    raw = plain_contract(read_contract("so101"))
    for dimension in (*raw["state"], *raw["action"]["dimensions"]):
        dimension["unit"] = "percent" if dimension["name"] == "gripper" else "degree"
    contract = parse_contract(raw)
    names = contract.action_names
    inside = np.array([0.1, -0.2, 0.3, 1.5, -1.6, 0.25])
    sent = [*np.degrees(inside[:5]), 25.0]
    (leader,) = conversions.teleop_messages(contract, inside, 1.0).values()
    action = conversions.action_message(inside, contract, 1.0)
    for message in (leader, action):
        np.testing.assert_allclose(message.position, sent)
    np.testing.assert_allclose(conversions.action_of(action, contract), inside)
    part = conversions.teleop_part(leader, contract, contract.teleop_groups[0])
    np.testing.assert_allclose(part, inside)
    reader = conversions.JointReader(contract, contract.joint_state_topic)
    read = reader.positions(JointState(name=["stranger", *names], position=[7.0, *sent]))
    np.testing.assert_allclose([read[name] for name in names], inside)
    assert read["stranger"] == 7.0


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_parameter_files_are_complete(kind):
    shipped = config_folder() / "nodes" / f"{kind}.yaml"
    assert shipped.read_text(encoding="utf-8") == parameter_pages.parameter_file(kind)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate_hz": 10.0}, "parameters.rate_hz = 10.0: allowed is at least 50"),
        ({"armed": "yes"}, "armed = 'yes': allowed is true or false"),
        ({"publish_every": 99}, "at most 20"),
    ],
)
def test_bad_parameters_are_named(values, words):
    with pytest.raises(ParameterError, match=words):
        make_parameters(ControllerParameters, values)


def test_only_the_simulator_arms_itself():
    def armed(**options):
        return {n.kind: n.parameters for n in graph.node_list(**options)}["controller"]["armed"]

    assert armed() is True
    assert armed(simulate=False) is False
    assert [n.kind for n in graph.node_list(simulate=False, record="x")] == [
        "controller",
        "policy",
        "recorder",
    ]
