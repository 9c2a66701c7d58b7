"""An instruction is accepted only if it can be followed now; else the answer names the first cause."""

from __future__ import annotations

import pytest
from bench import CONTRACT
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.nodes.graph import NodeSpec

COMMON = {"use_sim_time": True, "lock_step": True}
BOTH = ("controller", "policy")
TEXT = "pick up the red cube"


@pytest.fixture(scope="module")
def robot(shared_bench, shared_graph, random_checkpoint):
    """The bench with both nodes, ready but for being armed: the first test says so."""
    policy = COMMON | {"checkpoint": str(random_checkpoint)}
    shared_graph([NodeSpec("controller", COMMON | {"armed": False}), NodeSpec("policy", policy)])
    shared_bench.wait_for(*BOTH)
    shared_bench.run(0.3, *BOTH)
    disarmed = "not ready: controller is disarmed: call ~/arm"
    assert shared_bench.ask(TEXT, *BOTH, until=lambda answer: answer == disarmed) == disarmed
    call(shared_bench, "arm")
    assert not refused(shared_bench)
    return shared_bench


def refused(bench, text=TEXT):
    """What the policy answers now."""
    return bench.ask(text, until=lambda answer: True)


def call(bench, name):
    assert bench.call(Trigger, f"controller_node/{name}", Trigger.Request()).success
    bench.run(0.1, *BOTH)


def test_a_controller_that_is_stopped_refuses(robot):
    call(robot, "stop")
    assert refused(robot).startswith("not ready: controller is stopped (stop requested)")
    assert not refused(robot, "")  # to stop and hold is always right
    call(robot, "reset")
    assert not refused(robot)


def test_a_foreign_publisher_is_named(robot):
    publisher = robot.node.create_publisher(JointTrajectory, CONTRACT.command.topic, QoSProfile(depth=1))
    answer = robot.ask(TEXT, *BOTH, until=lambda answer: CONTRACT.command.topic in answer)
    assert "bench" in answer and answer.startswith("not ready: controller: ")
    robot.node.destroy_publisher(publisher)
    assert not robot.ask(TEXT, *BOTH)


def test_a_whole_good_frame_must_be_there(robot):
    bench, names = robot, robot.joint_names
    for changes, first in (
        ({"image_size": (480, 640)}, "camera third_view: image is 640x480, the contract says 112x112"),
        ({"joint_override": {"fr3_joint2": float("nan")}}, "joint_states: fr3_joint2 not finite"),
        ({"joint_names": [n for n in names if n != "fr3_joint4"]}, "joint_states (fr3_joint4): newest"),
        ({"joints_alive": False}, "joint_states: newest sample is"),
        ({"cameras": {"third_view"}}, "camera gripper: newest sample is"),
        (
            {"image_encoding": {"gripper": "8UC3"}},
            f"camera gripper ({CONTRACT.cameras['gripper'].topic}): image encoding '8UC3' does not say what "
            "its values mean: allowed is one with the camera's key encoding in the contract, rgb8 or bgr8",
        ),
    ):
        before = {name: getattr(bench, name) for name in changes}
        for name, value in changes.items():
            setattr(bench, name, value)
        bench.run(0.4, "controller")  # frames wait for what does not come
        answer = bench.ask(TEXT, "controller", until=bool)
        assert answer.startswith(f"not ready: {first}")
        assert answer.count("camera gripper") <= 1  # the cause, and not its echo
        for name, value in before.items():
            setattr(bench, name, value)
        assert not bench.ask(TEXT, *BOTH)
