"""The script that does what a scene asks for."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.expert import PickExpert
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.tabletop_expert import TabletopExpert


class Expert(Protocol):
    """A scripted human with a teleoperation device."""

    @property
    def done(self) -> bool:
        """Whether it has done what it should; it then holds still."""

    def command(self, t: float) -> np.ndarray:
        """The command at time `t` [s]: float64 (A,), in the contract's action order [rad, gripper]."""


def make_expert(robot: SimulatedRobot, target: str) -> Expert:
    """Who does the scene's task with an object, or picks it up where the scene says no task.

    Args:
        robot: The robot to look at.
        target: Name of the object.

    Raises:
        SimulationError: the object is not there, or the scene's task is about another one.
    """
    if robot.scene.task is None:
        return PickExpert(robot, target)
    if target != robot.scene.task.target:
        raise SimulationError(f"target {target!r}: in this scene allowed is {robot.scene.task.target!r}")
    return TabletopExpert(robot)
