"""What the controller sends to a gripper: one small class per gripper type of the contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.schema import Gripper
from vla_adapter_ros.errors import ParameterError, ServiceError
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.conversions import to_stamp

STROKE_S = 0.5
"""Time for the whole stroke between open and closed, where a gripper trajectory needs one [s]."""
MIN_MOVE_S = 0.1
GOAL_STEP = 0.02
"""Smallest change that is worth a new goal, as a fraction of the stroke."""


class GripperOutput:
    """Sends positions of one gripper's joint when they change.

    Args:
        node: Publishes, or holds the action client.
        gripper: As its driver calls and counts it: see `_as_sent`.
        max_effort: Of a GripperCommand goal [N].
        factor: From a position in the driver's unit to SI.
    """

    def __init__(
        self, node: ManagedNode[Any], gripper: Gripper, max_effort: float, factor: float = 1.0
    ) -> None:
        self._node, self._gripper, self._max_effort, self._factor = node, gripper, max_effort, factor
        self._last: float | None = None
        self._open()

    def send(self, position: float, now: float, repeat: bool) -> int:
        """Tell the gripper; returns the number of messages.

        Args:
            position: Of the gripper's joint [m or rad].
            now: ROS time [s].
            repeat: Whether an unchanged position may be sent again.
        """
        position /= self._factor
        if position == self._last and not repeat:
            return 0
        sent = self._send_position(position, now)
        if sent:
            self._last = position
        return sent

    def _open(self) -> None:
        raise NotImplementedError

    def _send_position(self, position: float, now: float) -> int:
        raise NotImplementedError

    def _travel_fraction(self, position: float) -> float:
        """Distance from the last position as a fraction of the stroke; 1 if there is no last position."""
        if self._last is None:
            return 1.0
        return abs(position - self._last) / abs(self._gripper.open_position - self._gripper.closed_position)


class GripperPosition(GripperOutput):
    """One value to a forward position controller; repeated, so that a late controller hears it too."""

    def _open(self) -> None:
        self._publisher = self._node.publish_on(Float64MultiArray, self._gripper.topic, QoSProfile(depth=10))

    def _send_position(self, position: float, now: float) -> int:
        self._publisher.publish(Float64MultiArray(data=[position]))
        return 1


class GripperTrajectory(GripperOutput):
    """One timed point to a joint trajectory controller, when the position changes."""

    def _open(self) -> None:
        self._publisher = self._node.publish_on(JointTrajectory, self._gripper.topic, QoSProfile(depth=10))

    def _send_position(self, position: float, now: float) -> int:
        if position == self._last:
            return 0
        message = JointTrajectory(joint_names=[self._gripper.joint])
        message.header.stamp = to_stamp(now)
        point = JointTrajectoryPoint(positions=[position], velocities=[0.0])
        nanoseconds = round(max(MIN_MOVE_S, STROKE_S * self._travel_fraction(position)) * 1e9)
        point.time_from_start.sec, point.time_from_start.nanosec = divmod(nanoseconds, 1_000_000_000)
        message.points.append(point)
        self._publisher.publish(message)
        return 1


class GripperAction(GripperOutput):
    """Goals to a GripperCommand action server; a new goal replaces the old one.

    Raises:
        ParameterError: the package control_msgs is not installed.
    """

    def _open(self) -> None:
        from rclpy.action.client import ActionClient

        self._kind = gripper_command_type()
        self._client: ActionClient[Any, Any, Any] = ActionClient(self._node, self._kind, self._gripper.topic)
        self._node.own(self._client.destroy)
        self._answered = True

    def _send_position(self, position: float, now: float) -> int:
        far = self._last is None or self._travel_fraction(position) >= GOAL_STEP
        # A goal on its way must be answered first, or goals of a continuous gripper would pile up.
        if not far or not self._answered or not self._client.server_is_ready():
            return 0
        goal = self._kind.Goal()
        goal.command.position, goal.command.max_effort = position, self._max_effort
        self._answered = False
        self._client.send_goal_async(goal).add_done_callback(self._on_answer)
        return 1

    def _on_answer(self, future: Any) -> None:
        self._answered = True
        last, self._last = self._last, None  # to be sent again, unless it was accepted
        with self._node.boundary(f"action {self._gripper.topic}"):
            if future.cancelled() or not future.result().accepted:
                raise ServiceError("the gripper's goal was refused")
            self._last = last


def gripper_command_type() -> Any:
    """The action type control_msgs/action/GripperCommand.

    Raises:
        ParameterError: the package control_msgs is not installed.
    """
    try:
        from control_msgs.action import GripperCommand
    except ImportError as error:
        raise ParameterError(
            "a gripper of type gripper_command needs the package control_msgs "
            "(ros-DISTRO-control-msgs of a ROS installation); without it, allowed are forward_position "
            "and joint_trajectory"
        ) from error
    return GripperCommand


GRIPPERS: dict[str, type[GripperOutput]] = {
    "forward_position": GripperPosition,
    "joint_trajectory": GripperTrajectory,
    "gripper_command": GripperAction,
}


def gripper_outputs(node: ManagedNode[Any], contract: Contract, max_effort: float) -> list[GripperOutput]:
    """One output per gripper of the contract, as its `type` names it.

    Args:
        node: Publishes, or holds the action client.
        contract: The robot's contract.
        max_effort: Of a GripperCommand goal [N]; 0 leaves it to the driver.

    Raises:
        ParameterError: it needs control_msgs, which is not installed.
    """
    factors = [contract.joint_factors.get(gripper.joint, 1.0) for gripper in contract.grippers]
    return [
        GRIPPERS[g.type](node, _as_sent(contract, g, factor), max_effort, factor)
        for g, factor in zip(contract.grippers, factors, strict=True)
    ]


def _as_sent(contract: Contract, gripper: Gripper, factor: float) -> Gripper:
    """A gripper with the name and the positions that its driver knows."""
    return replace(
        gripper,
        joint=contract.joint_in_messages(gripper.joint),
        open_position=gripper.open_position / factor,
        closed_position=gripper.closed_position / factor,
    )
