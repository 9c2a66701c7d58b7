"""Another node that drives the same arm: it is named, keeps the arm from being armed, and ends motion."""

from __future__ import annotations

import numpy as np
import pytest
import rclpy
from bench import CONTRACT, HOME
from rclpy.qos import QoSProfile
from robots import contract_file
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory


@pytest.fixture
def other(bench):
    made = []

    def make(kind, topic):
        node = rclpy.create_node("other_driver")
        node.create_publisher(kind, topic, QoSProfile(depth=10))
        made.append(node)
        return node

    yield make
    for node in made:
        node.destroy_node()


def watched(bench, condition):
    """Time goes on until the controller has looked at the graph again."""
    for _ in range(400):
        bench.run(0.05, "controller")
        if condition(bench.newest("controller/status")):
            return bench.newest("controller/status")
    raise AssertionError(bench.newest("controller/status"))


def call(bench, name):
    return bench.call(Trigger, f"controller_node/{name}", Trigger.Request())


def test_it_is_named_refuses_arming_and_in_motion_holds(bench, graph, other):
    runner = bench.start_controller(graph)
    bench.send_chunk(HOME + np.arange(60)[:, None] * 0.01 * np.eye(7)[0])
    bench.run(0.3, "controller")
    assert bench.newest("controller/status").state == "running"
    node = other(JointTrajectory, CONTRACT.command.topic)
    status = watched(bench, lambda s: s.state == "holding")
    assert "/other_driver publishes" in status.reason and status.foreign_publisher
    assert status.first_cause == status.reason and status.blocked_by
    bench.run(1.0, "controller")
    assert not bench.velocity_of_arm()[-20:].any()
    answer = call(bench, "arm")
    assert not answer.success and "/other_driver publishes" in answer.message
    node.destroy_node()
    status = watched(bench, lambda s: not s.blocked_by)
    assert not status.foreign_publisher and call(bench, "arm").success
    bench.run(0.5, "controller")
    assert bench.newest("controller/status").state == "idle"
    assert not bench.velocity_of_arm()[-20:].any()
    runner.check_alive()


def test_a_named_device_on_the_direct_route_is_no_foreigner(bench, graph, tmp_path, other):
    contract = contract_file(tmp_path, teleop={"route": "direct", "publishers": ["/other_driver"]})
    other(JointState, CONTRACT.action.topic)
    runner = bench.start_controller(graph, contract=contract)
    bench.run(1.0, "controller")
    assert call(bench, "arm").success
    assert not bench.newest("controller/status").foreign_publisher
    runner.check_alive()
