"""A scripted human: teleoperates the simulated robot to pick up a named cube.

It sees the true cube positions, which no policy does, and gives commands as a
teleoperation device would: absolute joint targets and a gripper value, in the
order of the robot's contract.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.scripted_arm import ScriptedArm, toward

LIFT_STEP_FRACTION = 6 / 7  # of the step across the table
# Distance across the table, and height of the tool from grasp (0) to travel (1): without a step, which a
# policy could only blur.
FUNNEL_M = (0.010, 0.025, 0.155)
FUNNEL_HEIGHT = (0.0, 0.4583, 1.0)
_CLOSE_WITHIN_M = 0.015
SETTLED_PER_S = 0.25  # of the stroke
CLOSE_AT_LEAST_S = 0.2  # lead time, then the fingers need a moment
CLOSE_AT_MOST_S = 1.0


class PickExpert:
    """Picks one cube up: above it, down, close, lift, then stands still. Of two arms the nearer one does it.

    A command given at time s is meant to be reached at s + `contract.command.command_delay_s`.

    Args:
        robot: The robot to look at; the expert never changes it.
        target_color: Cube to pick up.

    Raises:
        SimulationError: no such cube on the table, or see `ScriptedArm`.
    """

    def __init__(self, robot: SimulatedRobot, target_color: str) -> None:
        if target_color not in robot.scene.names:
            raise SimulationError(
                f"no {target_color!r} cube on the table: allowed are {', '.join(robot.scene.names)}"
            )
        self._robot = robot
        self._area = robot.model.area
        place = robot.object_positions()[target_color][1]
        number = int(np.argmin([abs(arm.base[1] - place) for arm in robot.model.arms]))
        self._arm = ScriptedArm(robot, number)
        self._gripper = self._arm.gripper
        self._target = target_color
        self._phase = "approach"
        self._since = 0.0
        self._grasp = self._arm.tool()
        if self._arm.holds(robot.object_positions()[target_color], self._gripper.held):
            self._phase = "lift"  # taken over with the cube in the hand

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
        if (resting := self._arm.resting) is not None:
            return resting
        tool = self._arm.tool()
        cube = self._robot.object_positions()[self._target] + DOWN[:, 1] * self._gripper.approach_m
        opening = self._arm.opening()
        self._switch(t, tool, cube, opening, self._arm.closing_speed())
        opened = opening > self._gripper.closing
        closed = self._phase != "approach"
        if self.done:
            return self._arm.command(t, np.zeros(3), closed, None)
        return self._arm.command(t, self._goal(tool, cube, opened) - tool, closed)

    def _switch(self, t: float, tool: np.ndarray, cube: np.ndarray, opening: float, speed: float) -> None:
        across = float(np.linalg.norm(cube[:2] - tool[:2]))
        if self._phase == "approach":
            near = across < _CLOSE_WITHIN_M and tool[2] < self._area.grasp_z + 0.012
            if near and opening > self._gripper.closing:
                self._phase, self._since = "close", t
                self._grasp = np.array([cube[0], cube[1], self._area.grasp_z])
        elif self._phase == "close":
            waited = t - self._since
            settled = opening < self._gripper.closing and speed < SETTLED_PER_S
            if waited > CLOSE_AT_LEAST_S and (settled or waited > CLOSE_AT_MOST_S):
                self._phase = "lift" if opening > self._gripper.held else "approach"
        elif self._phase == "lift":
            if opening < self._gripper.held:
                self._phase = "approach"
            elif self._robot.lifted() == self._target and tool[2] > self._area.lift_z - 0.01:
                self._phase = "done"

    def _goal(self, tool: np.ndarray, cube: np.ndarray, opened: bool) -> np.ndarray:
        """Where the tool shall be one lead time from now (3,) [m]; shut fingers open above the cube."""
        step, area = self._area.step * self._arm.per_lead, self._area
        if self._phase == "close":
            return toward(tool, self._grasp, step)
        if self._phase == "lift":
            wanted = np.array([self._grasp[0], self._grasp[1], area.lift_z])
            return toward(tool, wanted, step * LIFT_STEP_FRACTION)
        across = float(np.linalg.norm(cube[:2] - tool[:2]))
        height = float(np.interp(across, FUNNEL_M, FUNNEL_HEIGHT)) if opened else 1.0
        height = area.grasp_z + height * (area.travel_z - area.grasp_z)
        return toward(tool, np.array([cube[0], cube[1], height]), step)
