"""A contract against its graph: a healthy one passes, and each broken one is named, with what to do."""

from __future__ import annotations

import dataclasses

import pytest
import surveys
from surveys import ARRAY, CONTRACT, HOME, NAMES, SIMULATOR, TRAJECTORY, stream

from vla_adapter_ros.commissioning.graph_checks import check_graph, check_running
from vla_adapter_ros.commissioning.results import Result, worst
from vla_adapter_ros.commissioning.survey import (
    COMPRESSED_IMAGE,
    IMAGE,
    JOINT_STATE,
    Controller,
    Endpoint,
    GraphSurvey,
    TopicSurvey,
)
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.findings import Level

GRAPH = surveys.simulated()
SCENE, JOINTS, ARM = "/third_view/image_raw", "/joint_states", "/arm_controller/joint_trajectory"
HAND, TELEOP = "/gripper_controller/commands", "/teleop/command"


def with_two(topic: str, node: str, kind: str, **changes) -> GraphSurvey:
    ends = (*GRAPH.topic(topic).publishers, Endpoint(node, kind))
    return GRAPH.with_topic(topic, publishers=ends, **changes)


def with_controller(name: str = "arm_controller", state: str = "active", joints=CONTRACT.arm_joints):
    kind = "joint_trajectory_controller/JointTrajectoryController"
    return dataclasses.replace(GRAPH, controllers=(Controller(name, kind, state, tuple(joints)),), manager="")


def contract(**command) -> Contract:
    return dataclasses.replace(CONTRACT, command=dataclasses.replace(CONTRACT.command, **command))


def forward() -> Contract:
    return contract(type="forward_position")


def gripper_action() -> Contract:
    gripper = dataclasses.replace(CONTRACT.grippers[0], type="gripper_command", topic="/hand/gripper_cmd")
    return dataclasses.replace(CONTRACT, grippers=(gripper,))


def with_deadman() -> Contract:
    safety = dataclasses.replace(CONTRACT.safety, deadman_topic="/deadman")
    return dataclasses.replace(CONTRACT, safety=safety)


def failures(found: list[Result], level: Level = Level.FAIL) -> list[str]:
    return [result.line for result in found if result.level is level]


def test_a_healthy_graph_passes():
    found = check_graph(CONTRACT, GRAPH)
    assert failures(found) == [] and worst(found) is Level.WARN
    assert [r.subject for r in found if r.level is Level.WARN] == ["controllers"]  # there is no manager
    passed = "\n".join(failures(found, Level.PASS))
    for words in ("112x112", "raw, rgb8", "all 8 joints", "in another order", "/simulator_node listens on"):
        assert words in passed
    found = check_graph(CONTRACT, with_controller())
    assert worst(found) is Level.PASS and any("active, with 7 joints" in r.text for r in found)


@pytest.mark.parametrize(
    ("graph", "its", "words"),
    [
        (GRAPH.with_topic(SCENE, publishers=()), CONTRACT,
         ["cameras.third_view: nobody publishes /third_view/image_raw", "/gripper_camera/image_raw"]),
        (GRAPH.with_topic(SCENE, publishers=(Endpoint(SIMULATOR, COMPRESSED_IMAGE),)), CONTRACT,
         ["carries sensor_msgs/msg/CompressedImage", "Write transport: compressed"]),
        (GRAPH.with_topic(SCENE, heard=0), CONTRACT, ["nothing arrived in 3 s", "shared memory"]),
        (GRAPH.with_topic(SCENE, size=(640, 480)), CONTRACT,
         ["640x480 comes, the contract says 112x112", "Write width: 640, height: 480"]),
        (GRAPH.with_topic(SCENE, encoding="8UC3"), CONTRACT, ["'8UC3' does not say", "rgb8 or bgr8"]),
        (GRAPH.with_topic(SCENE, encoding="16UC1"), CONTRACT, ["no color", "Depth is allowed under"]),
        (GRAPH.with_topic(SCENE, rate_hz=4.0), CONTRACT, ["4 Hz, the contract's rate_hz is 10", "Raise"]),
        (
            GRAPH.with_topic(SCENE, rate_hz=7.0, stamped_hz=30.0),
            CONTRACT,
            ["7 Hz arrive of 30 Hz that are sent", "fastdds_shm.xml"],
        ),
        (GRAPH.with_topic(SCENE, stamped=False), CONTRACT, ["no stamp", "write time: receive"]),
        (GRAPH.with_topic(SCENE, delay_s=-2.0, late_s=-2.0), CONTRACT, ["2 s in the future", "chrony"]),
        (GRAPH.with_topic(JOINTS, delay_s=30.0, late_s=30.1), CONTRACT, ["arrives 30 s after", "chrony"]),
        (GRAPH.with_topic(JOINTS, names=(NAMES[:-1],)), CONTRACT,
         ["no fr3_joint7 in the joint states", "fr3_joint6"]),
        (GRAPH.with_topic(JOINTS, counts={"position": 0, "velocity": 9}), CONTRACT,
         ["the messages have no position", "They have velocity"]),
        (GRAPH.with_topic(JOINTS, values=dict(zip(NAMES, [57 * v for v in HOME], strict=True))), CONTRACT,
         ["fr3_joint2 is at -34.2", "degrees"]),
        (with_two(JOINTS, "/second_driver", JOINT_STATE), CONTRACT,
         ["/simulator_node and /second_driver both publish it", "Stop one, or remap it"]),
        (GRAPH.with_topic(ARM, subscriptions=()), CONTRACT,
         ["nobody listens on /arm_controller/joint_trajectory", "Start the arm's controller"]),
        (GRAPH, forward(), ["awaits JointTrajectory", "forward_position is Float64MultiArray"]),
        (with_two(ARM, "/moveit", TRAJECTORY), CONTRACT, ["/moveit publishes", "an arm has one controller"]),
        (with_two("/controller/command", "/old", JOINT_STATE), CONTRACT, ["action: /old publishes"]),
        (GRAPH.with_topic(ARM, subscriptions=(Endpoint(SIMULATOR, TRAJECTORY, latched=True),)), CONTRACT,
         ["transient local", "volatile"]),
        (with_controller(state="inactive"), CONTRACT,
         ["the controller arm_controller is inactive", "`ros2 control set_controller_state arm_cont"]),
        (with_controller(joints=CONTRACT.arm_joints[:6]), CONTRACT, ["the contract sends", "groups where"]),
        (GRAPH.with_topic(HAND, subscriptions=()), CONTRACT, ["grippers[0]: nobody listens on"]),
        (GRAPH, gripper_action(), ["needs the package control_msgs", "apt install ros-DISTRO-control-msgs"]),
        (GRAPH, gripper_action(), ["no action /hand/gripper_cmd", "`ros2 action list -t`"]),
        (GRAPH.with_topic(TELEOP, **vars(stream(JOINT_STATE, names=(("a", "b"),)))), CONTRACT,
         ["teleop: no fr3_joint1", "Its messages name a, b"]),
        (with_two(TELEOP, "/second_leader", JOINT_STATE), CONTRACT, ["teleop:", "both publish /tel"]),
        (GRAPH, with_deadman(), ["safety.deadman_topic: nobody publishes /deadman"]),
    ],
)  # fmt: skip
def test_what_is_broken_is_named_with_what_to_do(graph, its, words):
    found = failures(check_graph(its, graph))
    assert any(all(word in line for word in words) for line in found), "\n".join(found)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (GRAPH.with_topic(JOINTS, publishers=(Endpoint(SIMULATOR, JOINT_STATE, reliable=False),)),
         ["best effort", "Set the publisher to reliable"]),
        (GRAPH.with_topic(JOINTS, rate_hz=15.0), ["up to 0.0667 s old", "Write max_age_s: 0.1"]),
        (GRAPH.with_topic(JOINTS, late_s=0.08), ["arrives 0.08 s after", "Write settle_s: 0.1"]),
        (GRAPH.with_topic(TELEOP, publishers=()), ["nobody publishes /teleop/command", "Start the device"]),
        (GRAPH.with_topic(JOINTS, values={"fr3_joint1": 2.8}), ["fr3_joint1 is at 2.8", "Only motion back"]),
        (with_controller("other_controller"), ["no controller has the name in", "has other_controller"]),
    ],
)  # fmt: skip
def test_what_may_be_well_is_a_warning(graph, words):
    found = check_graph(CONTRACT, graph)
    warnings = failures(found, Level.WARN)
    assert any(all(word in line for word in words) for line in warnings), "\n".join(warnings)
    assert failures(found) == []


def test_a_forward_controller_has_its_joints_in_one_order():
    """Values without names: in another order the arm would move otherwise than it is told."""
    joints = CONTRACT.arm_joints
    graph = with_controller(joints=joints[::-1]).with_topic(ARM, subscriptions=(Endpoint(SIMULATOR, ARRAY),))
    (line,) = [f for f in failures(check_graph(forward(), graph)) if f.startswith("fail  command")]
    assert "in this order" in line and "command.groups" in line
    found = check_graph(CONTRACT, with_controller(joints=joints[::-1]))  # trajectories have names
    assert worst(found) is Level.PASS


def test_two_drivers_may_share_a_topic_of_joint_states():
    arm, hand = NAMES[2:], NAMES[:2]
    graph = with_two(JOINTS, "/hand_driver", JOINT_STATE, names=(arm, hand))
    assert any("2 publishers, each with other joints" in r.text for r in check_graph(CONTRACT, graph))


def test_a_topic_that_nobody_knows_is_no_error_of_the_check():
    found = check_graph(CONTRACT, GraphSurvey(1.0))
    assert len(failures(found)) == 6 and isinstance(GRAPH.topic("/x"), TopicSurvey) and IMAGE in str(GRAPH)


def test_a_robot_that_need_not_run_is_compared_only_where_it_does():
    nobody = GraphSurvey(3.0)
    assert [r.text for r in check_running(None, nobody, False)] == ["no node runs, so nothing was compared"]
    assert next(r.text for r in check_running(None, GRAPH, False)) == "images on /third_view/image_raw, 10 Hz"
    (said,) = check_running(CONTRACT, nobody, False)
    assert said.level is Level.PASS and said.text == "franka_sim does not run, so nothing was compared"
    assert failures(check_running(CONTRACT, nobody, True))  # it was said to run
    slow = GRAPH.with_topic(SCENE, rate_hz=4.0)
    assert any("4 Hz" in line for line in failures(check_running(CONTRACT, slow, False)))
