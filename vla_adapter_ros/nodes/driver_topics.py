"""The simulator's command inputs: one set of subscriptions per command type of the contract."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import CommandError
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.conversions import trajectory_arrays
from vla_adapter_ros.nodes.grippers import gripper_command_type
from vla_adapter_ros.observation.messages import pose_values, twist_values
from vla_adapter_ros.simulation.robot import SimulatedRobot

DEPTH = QoSProfile(depth=10)


def subscribe_to_commands(
    node: ManagedNode[Any],
    contract: Contract,
    robot: Callable[[], SimulatedRobot],
    handle: Callable[[Callable[[], None]], None],
) -> None:
    """Give the simulated arms and grippers what real drivers would subscribe to.

    Args:
        node: Subscribes.
        contract: Says which types and topics.
        robot: The simulated robot, asked for at every command.
        handle: Runs one command under the simulator's lock, if it is active, and reports what it refuses.

    Raises:
        ParameterError: the gripper is driven by an action whose package is not installed.
    """
    factors = contract.joint_factors
    gripper_factors = [factors.get(gripper.joint, 1.0) for gripper in contract.grippers]
    arm_factors = [
        np.array([factors.get(joint, 1.0) for joint in group.joints]) for group in contract.command_groups
    ]
    name_factors = {contract.joint_in_messages(joint): factor for joint, factor in factors.items()}
    name_factors |= factors

    def listen(kind: type, topic: str, use: Callable[[Any], None]) -> None:
        node.listen(kind, topic, lambda message: handle(lambda: use(message)), DEPTH, always=True)

    def pose(message: PoseStamped) -> None:
        _check_frame(message.header.frame_id, contract)
        values = pose_values(message)
        robot().accept_pose(values[:3], values[3:])

    def twist(message: TwistStamped) -> None:
        _check_frame(message.header.frame_id, contract)
        robot().accept_twist(twist_values(message))

    def gripper_trajectory(message: JointTrajectory, *, gripper: int) -> None:
        names, start, times, positions = trajectory_arrays(message)[:4]
        robot().accept_gripper_trajectory(
            names, start, times, positions * gripper_factors[gripper], gripper=gripper
        )

    def gripper_position(message: Float64MultiArray, *, gripper: int) -> None:
        robot().accept_gripper(_single(message) * gripper_factors[gripper], gripper)

    def trajectory(message: JointTrajectory, *, group: int) -> None:
        names, start, times, positions, velocities, accelerations = trajectory_arrays(message)
        its = np.array([name_factors.get(name, 1.0) for name in names])
        robot().accept_trajectory(
            names,
            start,
            times,
            _in_si(positions, its),
            None if velocities is None else _in_si(velocities, its),
            None if accelerations is None else _in_si(accelerations, its),
            group=group,
        )

    def forward(message: Float64MultiArray, *, group: int) -> None:
        robot().accept_forward(_in_si(np.array(message.data), arm_factors[group]), group=group)

    def joint_state(message: JointState, *, group: int) -> None:
        wanted = contract.names_in_commands(contract.command_groups[group])
        if list(message.name) != list(wanted):
            raise CommandError(f"command for joints {list(message.name)}: allowed is {list(wanted)}")
        robot().accept_forward(_in_si(np.array(message.position), arm_factors[group]), group=group)

    arm: dict[str, tuple[type, Callable[..., None]]] = {
        "joint_trajectory": (JointTrajectory, trajectory),
        "forward_position": (Float64MultiArray, forward),
        "forward_velocity": (Float64MultiArray, forward),
        "joint_state": (JointState, joint_state),
        "cartesian_pose": (PoseStamped, pose),
        "cartesian_twist": (TwistStamped, twist),
    }
    kind, use = arm[contract.command.type]
    for number, group in enumerate(contract.command_groups):
        listen(kind, group.topic, use if contract.command.type.is_cartesian else partial(use, group=number))
    for number, gripper in enumerate(contract.grippers):
        if gripper.type == "forward_position":
            listen(Float64MultiArray, gripper.topic, partial(gripper_position, gripper=number))
        elif gripper.type == "joint_trajectory":
            listen(JointTrajectory, gripper.topic, partial(gripper_trajectory, gripper=number))
        else:
            serve_gripper(node, gripper.topic, number, robot, handle, gripper_factors[number])


def serve_gripper(
    node: ManagedNode[Any],
    name: str,
    gripper: int,
    robot: Callable[[], SimulatedRobot],
    handle: Callable[[Callable[[], None]], None],
    factor: float,
) -> None:
    """A GripperCommand action server; a goal succeeds as soon as the fingers are told to move.

    `factor` turns its positions into SI.

    Raises:
        ParameterError: the package control_msgs is not installed.
    """
    from rclpy.action.server import ActionServer, GoalResponse

    kind = gripper_command_type()

    def execute(goal: Any) -> Any:
        wanted = goal.request.command.position * factor
        handle(lambda: robot().accept_gripper(wanted, gripper))
        goal.succeed()
        return kind.Result(position=robot().gripper_command(gripper) / factor, reached_goal=True)

    def answer(_: Any) -> Any:
        return GoalResponse.ACCEPT if node.active else GoalResponse.REJECT

    node.own(ActionServer(node, kind, name, execute, goal_callback=answer).destroy)


def _in_si(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Values (..., J) in SI; of another number than joints as they are, since they are refused later."""
    return values * factors if values.shape[-1:] == factors.shape else values


def _single(message: Float64MultiArray) -> float:
    if len(message.data) != 1:
        raise CommandError(f"gripper command has {len(message.data)} values: allowed is 1")
    return float(message.data[0])


def _check_frame(frame: str, contract: Contract) -> None:
    if contract.kinematics is not None and frame != contract.kinematics.base_link:
        raise CommandError(f"command in frame '{frame}': allowed is '{contract.kinematics.base_link}'")
