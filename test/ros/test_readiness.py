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


@pytest.fixture
def start(bench, graph, random_checkpoint):
    """Start nodes, both unless said otherwise, and wait until the policy's answer is as it should be."""

    def start(*nodes, armed=True, answer="", **policy):
        nodes = nodes or BOTH
        specs = {
            "controller": NodeSpec("controller", COMMON | {"armed": armed}),
            "policy": NodeSpec("policy", COMMON | {"checkpoint": str(random_checkpoint)} | policy),
        }
        graph([specs[name] for name in nodes])
        bench.wait_for(*nodes)
        bench.run(0.3, *nodes)
        assert bench.ask(TEXT, *nodes, until=lambda given: given == answer) == answer
        return bench

    return start


def refused(bench, text=TEXT):
    """What the policy answers now."""
    return bench.ask(text, until=lambda answer: True)


def call(bench, name):
    assert bench.call(Trigger, f"controller_node/{name}", Trigger.Request()).success
    bench.run(0.1, *BOTH)


def test_the_controller_must_be_armed_and_not_stopped(start):
    bench = start(armed=False, answer="not ready: controller is disarmed: call ~/arm")
    assert not refused(bench, "")  # to stop and hold is always right
    call(bench, "arm")
    assert not refused(bench)
    call(bench, "stop")
    assert refused(bench).startswith("not ready: controller is stopped (stop requested)")
    call(bench, "reset")
    assert not refused(bench)


def test_a_policy_without_a_controller_refuses(start):
    words = "not ready: no controller is heard on controller/status: start and activate it"
    bench = start("policy", answer=words)
    assert not refused(bench, "")


def test_a_policy_may_work_for_something_else_and_refuses_what_its_model_cannot_hold(start):
    bench = start("policy", require_controller=False)
    bench.run(0.5, "policy")
    assert bench.until(lambda: bench.received["action_chunk"])
    assert refused(bench, "cube " * 25_000) == "not ready: instruction of 25000 tokens: at most 410 fit"


def test_a_foreign_publisher_is_named(start):
    bench = start()
    publisher = bench.node.create_publisher(JointTrajectory, CONTRACT.command.topic, QoSProfile(depth=1))
    answer = bench.ask(TEXT, *BOTH, until=lambda answer: CONTRACT.command.topic in answer)
    assert "bench" in answer and answer.startswith("not ready: controller: ")
    bench.node.destroy_publisher(publisher)
    assert not bench.ask(TEXT, *BOTH)


def test_a_whole_good_frame_must_be_there(start):
    bench = start()
    names = bench.joint_names
    for changes, first in (
        ({"image_size": (480, 640)}, "camera third_view: image is 640x480, the contract says 112x112"),
        ({"joint_override": {"fr3_joint2": float("nan")}}, "/joint_states: fr3_joint2 not finite"),
        ({"joint_names": [n for n in names if n != "fr3_joint4"]}, "/joint_states (fr3_joint4): newest"),
        ({"joints_alive": False}, "/joint_states: newest sample is"),
        ({"cameras": {"third_view"}}, "camera gripper: newest sample is"),
    ):
        before = {name: getattr(bench, name) for name in changes}
        for name, value in changes.items():
            setattr(bench, name, value)
        bench.run(0.4, "controller")  # frames wait for what does not come
        answer = bench.ask(TEXT, "controller", until=bool)
        assert answer.startswith(f"not ready: {first}")
        for name, value in before.items():
            setattr(bench, name, value)
        assert not bench.ask(TEXT, *BOTH)
