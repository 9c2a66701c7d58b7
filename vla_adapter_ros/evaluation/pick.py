"""The suite `pick`: three colored cubes, each of which is named once on the same scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vla_adapter_ros.choices import Table
from vla_adapter_ros.evaluation.suite import TABLE_RENDERERS, Ending, Plan, Sight
from vla_adapter_ros.simulation.cube_instructions import INSTRUCTIONS, cube_instruction
from vla_adapter_ros.simulation.robot_models import FR3, RobotModel
from vla_adapter_ros.simulation.scene import sample_scene

UNSEEN_SEED = 900_000
"""First scene; demonstrations are recorded from 10 000 on, and the backbone's scenes are drawn otherwise."""
LONGEST_S = 10.0
CUBES = 3  # of a scene
_CLOSED = 0.85  # an opening below it: the fingers close, or hold something
_RAISED_M = 0.015  # so high, a cube is not on the table


class PickSuite:
    """Lift the named one of three cubes. Every `CUBES` episodes show the same scene.

    Args:
        robot: The robot that stands at the table.
    """

    name = "pick"
    table = Table.CUBES
    longest_s = LONGEST_S
    episodes = 90
    seed = UNSEEN_SEED
    renderers: Sequence[str] = TABLE_RENDERERS
    groups: Mapping[str, str] = {}

    def __init__(self, robot: RobotModel = FR3) -> None:
        self._robot = robot
        self.chance: Mapping[str, float] = {"pick": 1.0 / CUBES}

    def plans(self, episodes: int, seed: int) -> Sequence[Plan]:
        """The episodes; the cubes of a scene are named in turn."""
        found: list[Plan] = []
        for scene in range(seed, seed + -(-episodes // CUBES)):
            for i, color in enumerate(sample_scene(scene, robot=self._robot).names):
                text = cube_instruction(color, (scene + i) % len(INSTRUCTIONS))
                found.append(Plan(len(found), "pick", scene, text, color))
        return found[:episodes]

    def demonstration(self, number: int, scene: int) -> Plan:
        """One of the cubes is picked up."""
        colors = sample_scene(scene, robot=self._robot).names
        color = colors[number % len(colors)]
        return Plan(number, "pick", scene, cube_instruction(color, number % len(INSTRUCTIONS)), color)

    def judge(self, plan: Plan) -> PickJudge:
        """Sees which cube is lifted first."""
        return PickJudge(plan.target)


class PickJudge:
    """An episode is over when a cube is lifted; success: the named one.

    Args:
        target: Its color.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._lifted = ""
        self._began: dict[str, np.ndarray] | None = None
        self._closed, self._highest_m = False, 0.0

    def look(self, sight: Sight) -> bool:
        """Take in what is seen; whether a cube is lifted."""
        if self._began is None:
            self._began = {name: place.copy() for name, place in sight.positions.items()}
        self._closed = self._closed or sight.opening < _CLOSED
        raised = sight.positions[self._target][2] - self._began[self._target][2]
        self._highest_m = max(self._highest_m, float(raised))
        self._lifted = self._lifted or sight.lifted
        return bool(self._lifted)

    def ending(self) -> tuple[Ending, str]:
        """Which cube was lifted, or how far it came."""
        if self._lifted == self._target:
            return Ending.SUCCESS, f"{self._lifted} lifted"
        if self._lifted:
            return Ending.WRONG_OBJECT, f"{self._lifted} lifted"
        if self._highest_m > _RAISED_M:
            return Ending.DROPPED, f"{self._target} raised by {1e3 * self._highest_m:.0f} mm, not held"
        if self._closed:
            return Ending.MISSED_GRASP, "the gripper closed and held nothing"
        return Ending.TIMED_OUT, "the gripper was never closed"
