"""Two arms with a gripper each, and arms without any: the controller's own process, simulated time."""

from __future__ import annotations

import numpy as np
import pytest
import two_hands
from bench import PERIOD_S
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.nodes.conversions import command_message, to_stamp, trajectory_arrays
from vla_adapter_ros.simulation.trajectory_controller import TrajectoryController

START = np.array([0.1, -0.2, 0.3, 0.4])
LEFT = np.array([1.0, 1.0, 0.45, 0.3, 0.55, 0.7, 0.7, 0.7])  # closes at row 3, opens at row 5
RIGHT = np.array([0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 1.0, 1.5])


class Arms:
    """Both drivers: each reports three joints of the same names on its own topic."""

    def __init__(self, bench, contract) -> None:
        self.bench, self.contract = bench, contract
        self.driver = TrajectoryController(contract.arm_joints, START)
        self._states = [
            bench.node.create_publisher(JointState, topic, QoSProfile(depth=10)) for topic in two_hands.TOPICS
        ]
        bench.node.create_subscription(
            JointTrajectory, contract.command.topic, self._on_trajectory, QoSProfile(depth=10)
        )
        self.teleop = bench.node.create_publisher(JointState, contract.teleop.topic, QoSProfile(depth=10))
        bench.watch(Float64MultiArray, "/left/gripper")
        bench.watch(JointTrajectory, "/right/gripper")

    def _on_trajectory(self, message) -> None:
        with self.bench._changed:
            self.driver.accept(*trajectory_arrays(message), now=self.bench.now)

    @property
    def position(self) -> np.ndarray:
        with self.bench._changed:
            return self.driver.sample(self.bench.now)[0]

    def run(self, seconds: float, command=None) -> None:
        for _ in range(round(seconds / PERIOD_S)):
            stamp, joints = round(self.bench.now + PERIOD_S, 6), self.position
            for publisher, two in zip(self._states, (joints[:2], joints[2:]), strict=True):
                message = JointState(name=list(two_hands.IN_MESSAGES), position=[*two, 0.03])
                message.header.stamp = to_stamp(stamp)
                publisher.publish(message)
            if command is not None:
                self.teleop.publish(command_message(command, self.contract.action_names, stamp))
            self.bench.run(PERIOD_S, "controller")

    def send_chunk(self) -> None:
        columns = [*START[:2], 1.0, *START[2:], 0.0]
        rows = np.tile(columns, (8, 1))
        rows[:, [0, 1, 3, 4]] += np.arange(8)[:, None] * 0.02 * np.array([1, -1, -1, 1])
        rows[:, 2], rows[:, 5] = LEFT, RIGHT
        if not self.contract.grippers:
            rows = rows[:, [0, 1, 3, 4]]
        self.bench.send_chunk(
            np.zeros((8, 7)), names=list(self.contract.action_names), num_columns=rows.shape[1],
            data=rows.ravel().tolist(),
        )  # fmt: skip


@pytest.fixture
def start(bench, graph, tmp_path):
    def begin(contract) -> Arms:
        write_contract(contract, tmp_path / "contract.yaml")
        arms = Arms(bench, contract)
        bench.start_controller(graph, contract=str(tmp_path / "contract.yaml"))
        arms.run(0.2)
        return arms

    return begin


def changes(values: list) -> list:
    """The values without repetitions of the one before."""
    return [value for n, value in enumerate(values) if n == 0 or value != values[n - 1]]


def test_each_gripper_is_told_on_its_own_topic(bench, start):
    arms = start(two_hands.CONTRACT)
    arms.send_chunk()
    arms.run(1.5)
    status = bench.newest("controller/status")
    assert status.state == "holding" and "no action chunk" in status.reason
    left = [list(message.data) for message in bench.received["/left/gripper"]]
    assert changes(left) == [[0.04], [0.0], [0.04]]
    right = bench.received["/right/gripper"]
    assert {tuple(message.joint_names) for message in right} == {("finger",)}  # as its driver calls it
    told = [message.points[0].positions[0] for message in right]
    np.testing.assert_allclose(told, [0.08, 0.065, 0.05, 0.02], atol=1e-12)
    moved = arms.position - START
    np.testing.assert_allclose(moved, 0.14 * np.array([1, -1, -1, 1]), atol=0.01)
    command = bench.newest("/controller/command")
    assert tuple(command.name) == two_hands.CONTRACT.action_names
    assert (command.position[2], command.position[5]) == (LEFT[-1], RIGHT[-1])

    # A leader drives both hands by its own names, and whoever publishes to a gripper keeps it from arming.
    for _ in range(2):
        arms.run(0.5, np.array([*arms.position[:2], 0.0, *arms.position[2:], 0.0]))
    assert list(bench.received["/left/gripper"][-1].data) == [0.0]
    assert bench.received["/right/gripper"][-1].points[0].positions[0] == pytest.approx(0.08)
    bench.node.create_publisher(JointTrajectory, "/right/gripper", QoSProfile(depth=10))
    answer = None
    for _ in range(20):
        arms.run(0.1)
        answer = bench.call(Trigger, "controller_node/arm", Trigger.Request())
        if not answer.success:
            break
    assert not answer.success and "/right/gripper" in answer.message


def test_a_robot_without_grippers_is_driven(bench, start):
    arms = start(two_hands.without_hands())
    arms.send_chunk()
    arms.run(1.5)
    assert bench.newest("controller/status").state == "holding"
    np.testing.assert_allclose(arms.position - START, 0.14 * np.array([1, -1, -1, 1]), atol=0.01)
    assert len(bench.newest("/controller/command").position) == 4
    assert bench.node.count_publishers("/left/gripper") == bench.node.count_publishers("/right/gripper") == 0
