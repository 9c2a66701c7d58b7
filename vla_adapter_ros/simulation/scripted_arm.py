"""One arm of the simulated robot as a script drives it: from where the tool is wanted to a command."""

from __future__ import annotations

import math

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, TakeoverKind
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.robot_models import GripperModel
from vla_adapter_ros.simulation.smooth_motion import SmoothMotion

STEP_FRACTION = 0.6  # of the remaining distance per lead time: slowing down, the arm does not overshoot
_IN_HAND_M = 0.04  # from the tool point to the center of what the hand holds


class ScriptedArm:
    """Looks at a robot and makes commands in the order of its contract; the robot is not changed.

    A command given at time s is meant to be reached at s + `contract.command.command_delay_s`.

    Args:
        robot: The robot to look at.
        number: Of the arm; the others stay where they are.

    Raises:
        SimulationError: the contract has another action space, or names other joints.
    """

    def __init__(self, robot: SimulatedRobot, number: int = 0) -> None:
        contract = robot.contract
        if contract.action.space is not ActionSpace.JOINT_POSITION:
            raise SimulationError(
                f"action space {contract.action.space} of {list(contract.action_names)}: the scripted expert "
                f"commands joint_position of {list(robot.model.joints)}"
            )
        self._robot, self._number = robot, number
        model = robot.model.arms[number]
        self.gripper = model.gripper
        self._columns = [contract.action_joints.index(joint) for joint in model.joints]
        self._first = robot.model.joints.index(model.joints[0])
        self._still = self._resting_command()
        # A leader arm leads once it moves from where it rested.
        self._at_rest = contract.teleop.takeover is TakeoverKind.MOTION
        self._gripper_column, self._opened, self._closed = _gripper_command(contract, model.gripper)
        # A gripper that is one more joint of the arm moves within limits of its own.
        self._hand = [model.gripper.name] if model.gripper.name in contract.limits else []
        limits = [contract.limits[joint] for joint in (*model.joints, *self._hand)]
        self._motion = SmoothMotion(
            contract.command.command_delay_s,
            np.append(self._measured_joints(), [self._opened] * len(self._hand)),
            np.array([limit.velocity for limit in limits]),
            np.array([limit.acceleration for limit in limits]),
        )
        self.per_lead = contract.command.command_delay_s / 0.1
        """Steps were chosen for a lead time of 0.1 s: this many times of them is one step."""

    @property
    def resting(self) -> np.ndarray | None:
        """The command (A,) with which a leader arm begins, once; afterwards, and for others, None."""
        if not self._at_rest:
            return None
        self._at_rest = False
        return self._still.copy()

    def tool(self) -> np.ndarray:
        """Tool point (3,) [m], base frame."""
        return self._robot.tool_pose(self._number)[:3]

    def yaw(self) -> float:
        """Turn about z of a tool that points down [rad], base frame."""
        x, y, z, w = self._robot.tool_pose(self._number)[3:]
        return math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))

    def holds(self, at: np.ndarray, thin: float) -> bool:
        """Whether an object is between fingers that are closed on it.

        Args:
            at: Its center (3,) [m].
            thin: Opening below which nothing is between the fingers.
        """
        near = np.linalg.norm(at - self.tool()) < _IN_HAND_M
        return bool(near and thin < self.opening() < self.gripper.closing)

    def opening(self) -> float:
        """Of the gripper, 0 closed to 1 open."""
        return self.gripper.opening(float(self._robot.world.gripper_positions()[self._number]))

    def closing_speed(self) -> float:
        """Of the gripper, strokes per second, whichever way."""
        stroke = abs(self.gripper.open_position - self.gripper.closed_position)
        return abs(float(self._robot.world.gripper_velocities()[self._number])) / stroke

    def command(
        self, t: float, lead: np.ndarray, closed: bool, rotation: np.ndarray | None = DOWN
    ) -> np.ndarray:
        """The command at time `t` [s]: float64 (A,), in the contract's action order [rad, gripper].

        Args:
            t: Never goes back.
            lead: From the tool to where it shall be one lead time later (3,) [m].
            closed: Whether the gripper shall be.
            rotation: Of the tool (3, 3); None: the arm shall stay as it is wanted now.
        """
        hand = self._closed if closed else self._opened
        command = self._still.copy()
        command[self._gripper_column] = hand
        lead = self._motion.lead(t, lead)
        wanted = np.append(self._wanted_joints(self.tool() + lead, rotation), [hand] * len(self._hand))
        command[[*self._columns, *[self._gripper_column] * len(self._hand)]] = self._motion.follow(wanted)
        return command

    def _wanted_joints(self, place: np.ndarray, rotation: np.ndarray | None) -> np.ndarray:
        """The arm's joints (J,) [rad] that bring the tool to a place (3,) [m]."""
        before = self._motion.wanted[: len(self._columns)]
        if rotation is None:
            return before
        try:
            return self._robot.arm_kinematics[self._number].inverse(place, rotation, before)
        except SimulationError:  # a place beside the straight way that the arm cannot reach
            return before

    def _measured_joints(self) -> np.ndarray:
        return self._robot.arm_positions()[self._first : self._first + len(self._columns)]

    def _resting_command(self) -> np.ndarray:
        """The command (A,) that leaves every arm where it is, with open grippers."""
        contract, model = self._robot.contract, self._robot.model
        command = np.zeros(len(contract.action_names))
        for joint, position in zip(model.joints, self._robot.arm_positions(), strict=True):
            command[contract.action_joints.index(joint)] = position
        for gripper in model.grippers:
            column, opened, _ = _gripper_command(contract, gripper)
            command[column] = opened
        return command


def _gripper_command(contract: Contract, model: GripperModel) -> tuple[int, float, float]:
    """Column of a gripper in the action, and its values when open and when closed."""
    for gripper, column in zip(contract.grippers, contract.gripper_places, strict=True):
        if contract.joint_in_messages(gripper.joint) == model.name:
            return column, gripper.open, gripper.closed
    # One more joint of the arm: its command is a position.
    low, high = contract.limits[model.name].position
    opened, closed = np.clip((model.open_position, model.closed_position), low, high)
    return contract.action_joints.index(model.name), float(opened), float(closed)


def toward(tool: np.ndarray, goal: np.ndarray, step: float) -> np.ndarray:
    """A point on the line from `tool` to `goal`, at most `step` [m] across and upright each."""
    displacement = (goal - tool) * STEP_FRACTION
    across = np.linalg.norm(displacement[:2])
    if across > step:
        displacement[:2] *= step / across
    displacement[2] = np.clip(displacement[2], -step, step)
    return tool + displacement
