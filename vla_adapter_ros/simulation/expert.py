"""A scripted human: teleoperates the simulated robot to pick up a named cube.

It sees the true cube positions, which no policy does, and gives commands as a
teleoperation device would: absolute joint targets and a gripper value, in the
order of the robot's contract.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, TakeoverKind
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.robot_models import GripperModel
from vla_adapter_ros.simulation.smooth_motion import SmoothMotion

STEP_FRACTION = 0.6  # of the remaining distance per lead time: slowing down, the arm does not overshoot
_LIFT_STEP_FRACTION = 6 / 7  # of the step across the table
# Distance across the table, and height of the tool from grasp (0) to travel (1): without a step, which a
# policy could only blur.
_FUNNEL_M = (0.010, 0.025, 0.155)
_FUNNEL_HEIGHT = (0.0, 0.4583, 1.0)
_CLOSE_WITHIN_M = 0.015
_SETTLED_PER_S = 0.25  # of the stroke
_CLOSE_AT_LEAST_S = 0.2  # lead time, then the fingers need a moment
_CLOSE_AT_MOST_S = 1.0


class PickExpert:
    """Picks one cube up: above it, down, close, lift, then stands still. Of two arms the nearer one does it.

    A command given at time s is meant to be reached at s + `contract.command.command_delay_s`.

    Args:
        robot: The robot to look at; the expert never changes it.
        target_color: Cube to pick up.

    Raises:
        SimulationError: no such cube on the table, or the contract names other joints.
    """

    def __init__(self, robot: SimulatedRobot, target_color: str) -> None:
        if target_color not in robot.scene.names:
            raise SimulationError(
                f"no {target_color!r} cube on the table: allowed are {', '.join(robot.scene.names)}"
            )
        contract = robot.contract
        if contract.action.space is not ActionSpace.JOINT_POSITION:
            raise SimulationError(
                f"action space {contract.action.space} of {list(contract.action_names)}: the scripted expert "
                f"commands joint_position of {list(robot.model.joints)}"
            )
        self._robot = robot
        self._area = robot.model.area
        place = robot.object_positions()[target_color][1]
        self._arm = int(np.argmin([abs(arm.base[1] - place) for arm in robot.model.arms]))
        model = robot.model.arms[self._arm]
        self._gripper = model.gripper
        self._columns = [contract.action_joints.index(joint) for joint in model.joints]
        self._first = robot.model.joints.index(model.joints[0])
        self._still = self._resting_command()
        # A leader arm leads once it moves from where it rested.
        self._at_rest = contract.teleop.takeover is TakeoverKind.MOTION
        self._gripper_column, self._opened, self._closed = _gripper_command(contract, model.gripper)
        self._target = target_color
        self._phase = "approach"
        self._since = 0.0
        self._grasp = np.zeros(3)
        # A gripper that is one more joint of the arm moves within limits of its own.
        self._hand = [model.gripper.name] if model.gripper.name in contract.limits else []
        limits = [contract.limits[joint] for joint in (*model.joints, *self._hand)]
        self._motion = SmoothMotion(
            contract.command.command_delay_s,
            np.append(self._measured_joints(), [self._opened] * len(self._hand)),
            np.array([limit.velocity for limit in limits]),
            np.array([limit.acceleration for limit in limits]),
        )
        self._per_lead = robot.contract.command.command_delay_s / 0.1  # steps were chosen for 0.1 s

    @property
    def phase(self) -> str:
        """approach, close, lift or done."""
        return self._phase

    @property
    def done(self) -> bool:
        """Whether the cube is held up. The expert then holds still."""
        return self._phase == "done"

    def command(self, t: float) -> np.ndarray:
        """The command at time `t` [s]: float64 (A,), in the contract's action order [rad, gripper]."""
        if self._at_rest:
            self._at_rest = False
            return self._still.copy()
        tool = self._robot.tool_pose(self._arm)[:3]
        cube = self._robot.object_positions()[self._target] + DOWN[:, 1] * self._gripper.approach_m
        opening = self._gripper.opening(float(self._robot.world.gripper_positions()[self._arm]))
        stroke = abs(self._gripper.open_position - self._gripper.closed_position)
        speed = abs(float(self._robot.world.gripper_velocities()[self._arm])) / stroke
        self._switch(t, tool, cube, opening, speed)
        command = self._still.copy()
        hand = self._opened if self._phase == "approach" else self._closed
        command[self._gripper_column] = hand
        opened = opening > self._gripper.closing
        lead = self._motion.lead(t, np.zeros(3) if self.done else self._goal(tool, cube, opened) - tool)
        wanted = np.append(self._wanted_joints(tool + lead), [hand] * len(self._hand))
        command[[*self._columns, *[self._gripper_column] * len(self._hand)]] = self._motion.follow(wanted)
        return command

    def _wanted_joints(self, place: np.ndarray) -> np.ndarray:
        """The arm's joints (J,) [rad] that bring the tool to a place (3,) [m]; once done, as they are."""
        before = self._motion.wanted[: len(self._columns)]
        if self.done:
            return before
        try:
            return self._robot.arm_kinematics[self._arm].inverse(place, DOWN, before)
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

    def _switch(self, t: float, tool: np.ndarray, cube: np.ndarray, opening: float, speed: float) -> None:
        across = float(np.linalg.norm(cube[:2] - tool[:2]))
        if self._phase == "approach":
            near = across < _CLOSE_WITHIN_M and tool[2] < self._area.grasp_z + 0.012
            if near and opening > self._gripper.closing:
                self._phase, self._since = "close", t
                self._grasp = np.array([cube[0], cube[1], self._area.grasp_z])
        elif self._phase == "close":
            waited = t - self._since
            settled = opening < self._gripper.closing and speed < _SETTLED_PER_S
            if waited > _CLOSE_AT_LEAST_S and (settled or waited > _CLOSE_AT_MOST_S):
                self._phase = "lift" if opening > self._gripper.held else "approach"
        elif self._phase == "lift":
            if opening < self._gripper.held:
                self._phase = "approach"
            elif self._robot.lifted() == self._target and tool[2] > self._area.lift_z - 0.01:
                self._phase = "done"

    def _goal(self, tool: np.ndarray, cube: np.ndarray, opened: bool) -> np.ndarray:
        """Where the tool shall be one lead time from now (3,) [m]; shut fingers open above the cube."""
        step, area = self._area.step * self._per_lead, self._area
        if self._phase == "close":
            return _toward(tool, self._grasp, step)
        if self._phase == "lift":
            wanted = np.array([self._grasp[0], self._grasp[1], area.lift_z])
            return _toward(tool, wanted, step * _LIFT_STEP_FRACTION)
        across = float(np.linalg.norm(cube[:2] - tool[:2]))
        height = float(np.interp(across, _FUNNEL_M, _FUNNEL_HEIGHT)) if opened else 1.0
        height = area.grasp_z + height * (area.travel_z - area.grasp_z)
        return _toward(tool, np.array([cube[0], cube[1], height]), step)


def _gripper_command(contract: Contract, model: GripperModel) -> tuple[int, float, float]:
    """Column of a gripper in the action, and its values when open and when closed."""
    for gripper, column in zip(contract.grippers, contract.gripper_places, strict=True):
        if contract.joint_in_messages(gripper.joint) == model.name:
            return column, gripper.open, gripper.closed
    # One more joint of the arm: its command is a position.
    low, high = contract.limits[model.name].position
    opened, closed = np.clip((model.open_position, model.closed_position), low, high)
    return contract.action_joints.index(model.name), float(opened), float(closed)


def _toward(tool: np.ndarray, goal: np.ndarray, step: float) -> np.ndarray:
    """A point on the line from `tool` to `goal`, at most `step` [m] across and upright each."""
    displacement = (goal - tool) * STEP_FRACTION
    across = np.linalg.norm(displacement[:2])
    if across > step:
        displacement[:2] *= step / across
    displacement[2] = np.clip(displacement[2], -step, step)
    return tool + displacement
