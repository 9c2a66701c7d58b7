"""A scripted human: teleoperates the simulated arm to pick up a named cube.

It sees the true cube positions, which no policy does, and gives commands as a
teleoperation device would: absolute joint targets and a gripper value, in the
order of the robot's contract.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract.enums import ActionSpace
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.mjcf import ARM_JOINTS
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN
from vla_adapter_ros.simulation.robot import SimulatedRobot

STEP_M = 0.035  # farthest target from the measured tool point, across and up or down, per lead time
LIFT_STEP_M = 0.03
STEP_FRACTION = 0.6  # of the remaining distance per lead time: slowing down, the arm does not overshoot
_GRASP_Z_M = 0.02
_FUNNEL_M = (0.010, 0.025, 0.155)  # distance across the table ...
_HEIGHT_M = (_GRASP_Z_M, 0.075, 0.14)  # ... and height: without a step, which a policy could only blur
_CLOSE_WITHIN_M = 0.015
_HELD_FINGER_M = 0.012  # fingers narrower than this hold nothing
_CLOSING_FINGER_M = 0.035  # fingers wider than this have not begun to close
_LIFTED_Z_M = 0.16
_SETTLED_M_PER_S = 0.01
_CLOSE_AT_LEAST_S = 0.2  # lead time, then the fingers need a moment
_CLOSE_AT_MOST_S = 1.0


class PickExpert:
    """Picks one cube up: above it, down, close, lift, then stands still.

    A command given at time s is meant to be reached at s + `contract.command.command_delay_s`.

    Args:
        robot: The robot to look at; the expert never changes it.
        target_color: Cube to pick up.

    Raises:
        SimulationError: no such cube on the table, or the contract names other joints.
    """

    def __init__(self, robot: SimulatedRobot, target_color: str) -> None:
        if target_color not in robot.scene.colors:
            raise SimulationError(
                f"no {target_color!r} cube on the table: allowed are {', '.join(robot.scene.colors)}"
            )
        contract = robot.contract
        if contract.action.space is not ActionSpace.JOINT_POSITION:
            raise SimulationError(
                f"action space {contract.action.space} of {list(contract.action_names)}: the scripted expert "
                f"commands joint_position of {list(ARM_JOINTS)}"
            )
        self._robot = robot
        self._columns = [contract.action_joints.index(joint) for joint in ARM_JOINTS]
        self._width = len(contract.action_names)
        (self._gripper,), (self._gripper_column,) = contract.grippers, contract.gripper_places
        self._target = target_color
        self._phase = "approach"
        self._since = 0.0
        self._grasp = np.zeros(3)
        self._joints = robot.joint_positions()[: len(ARM_JOINTS)]
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
        tool = self._robot.tool_pose()[:3]
        cube = self._robot.object_positions()[self._target]
        finger = float(self._robot.joint_positions()[len(ARM_JOINTS)])
        speed = abs(float(self._robot.joint_velocities()[len(ARM_JOINTS)]))
        self._switch(t, tool, cube, finger, speed)
        if self._phase != "done":
            self._joints = self._robot.kinematics.inverse(self._goal(tool, cube), DOWN, self._joints)
        command = np.zeros(self._width)
        command[self._columns] = self._joints
        opened = self._phase == "approach"
        command[self._gripper_column] = self._gripper.open if opened else self._gripper.closed
        return command

    def _switch(self, t: float, tool: np.ndarray, cube: np.ndarray, finger: float, speed: float) -> None:
        across = float(np.linalg.norm(cube[:2] - tool[:2]))
        if self._phase == "approach":
            if across < _CLOSE_WITHIN_M and tool[2] < _GRASP_Z_M + 0.012:
                self._phase, self._since = "close", t
                self._grasp = np.array([cube[0], cube[1], _GRASP_Z_M])
        elif self._phase == "close":
            waited = t - self._since
            settled = finger < _CLOSING_FINGER_M and speed < _SETTLED_M_PER_S
            if waited > _CLOSE_AT_LEAST_S and (settled or waited > _CLOSE_AT_MOST_S):
                self._phase = "lift" if finger > _HELD_FINGER_M else "approach"
        elif self._phase == "lift":
            if finger < _HELD_FINGER_M:
                self._phase = "approach"
            elif self._robot.lifted() == self._target and tool[2] > _LIFTED_Z_M - 0.01:
                self._phase = "done"

    def _goal(self, tool: np.ndarray, cube: np.ndarray) -> np.ndarray:
        """Where the tool shall be one lead time from now (3,) [m]."""
        if self._phase == "close":
            return _toward(tool, self._grasp, STEP_M * self._per_lead)
        if self._phase == "lift":
            wanted = np.array([self._grasp[0], self._grasp[1], _LIFTED_Z_M])
            return _toward(tool, wanted, LIFT_STEP_M * self._per_lead)
        across = float(np.linalg.norm(cube[:2] - tool[:2]))
        height = float(np.interp(across, _FUNNEL_M, _HEIGHT_M))
        return _toward(tool, np.array([cube[0], cube[1], height]), STEP_M * self._per_lead)


def _toward(tool: np.ndarray, goal: np.ndarray, step: float) -> np.ndarray:
    """A point on the line from `tool` to `goal`, at most `step` [m] across and upright each."""
    displacement = (goal - tool) * STEP_FRACTION
    across = np.linalg.norm(displacement[:2])
    if across > step:
        displacement[:2] *= step / across
    displacement[2] = np.clip(displacement[2], -step, step)
    return tool + displacement
