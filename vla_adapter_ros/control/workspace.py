"""The box in which the tool point must stay."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vla_adapter_ros.contract.schema import Workspace
from vla_adapter_ros.control.planner import FullStop
from vla_adapter_ros.control.rotation import Pose

_MARGIN_M = 0.002  # stops are checked at points; between two of them the path bends by less
_SPACING_RAD = 0.03  # of any joint between two points of a stop that are checked
_MOST_POINTS = 12
_DAMPING = 1e-4  # of the step onto the wall, against singular poses
_STEPS = 10
_LARGEST_STEP_RAD = 0.2  # of any joint: the Jacobian holds near by only
_NEAR_M = 1e-4


class ToolPoint(Protocol):
    """The part of the arm's kinematics that the box needs."""

    def pose(self, q: np.ndarray) -> Pose:
        """Tool pose of joint positions (J,)."""
        ...

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """Tool Jacobian (6, J), linear rows first, base frame."""
        ...


class Box:
    """The workspace box of one arm.

    Args:
        workspace: Lowest and highest tool point [m], base frame.
        kinematics: The arm's.
    """

    def __init__(self, workspace: Workspace, kinematics: ToolPoint) -> None:
        self._kinematics = kinematics
        low, high = np.array(workspace.low, dtype=float), np.array(workspace.high, dtype=float)
        margin = np.minimum(_MARGIN_M, (high - low) / 4)
        self._low, self._high = low + margin, high - margin

    def project(self, state: np.ndarray) -> tuple[np.ndarray, bool]:
        """A state (3, J) whose tool point was moved onto the nearest wall if it lies outside.

        Returns:
            The state, with the velocity into the wall and all acceleration taken
            away; and whether it was changed.
        """
        position, velocity, _ = state
        point = self._kinematics.pose(position).position
        goal = np.clip(point, self._low, self._high)
        outside = goal != point
        if not outside.any():
            return state, False
        position = position.copy()
        for _ in range(_STEPS):
            rows = self._kinematics.jacobian(position)[:3]
            displacement = _damped_solve(rows, goal - point)
            position += displacement * min(1.0, _LARGEST_STEP_RAD / max(np.abs(displacement).max(), 1e-12))
            point = self._kinematics.pose(position).position
            goal = np.clip(point, self._low, self._high)
            if np.abs(goal - point).max() < _NEAR_M:
                break
        rows = self._kinematics.jacobian(position)[:3]
        into = np.where(outside, rows @ velocity, 0.0)
        return np.stack([position, velocity - _damped_solve(rows, into), np.zeros_like(velocity)]), True

    def contains(self, here: np.ndarray, state: np.ndarray, stop: FullStop | None) -> bool:
        """Whether a stop from `state` (3, J) stays inside, or farther inside than `here` (J,) is.

        Args:
            here: Joint positions of the tick before.
            state: Where the stop begins.
            stop: The stop; None if `state` is at rest.
        """
        places = [state[0]]
        if stop is not None:
            lowest, highest = stop.extent()
            count = int(np.ceil((highest - lowest).max() / _SPACING_RAD)) + 1
            count = min(count, _MOST_POINTS)
            places += [stop.at(stop.duration * (i + 1) / count)[0] for i in range(count)]
        points = np.array([self._kinematics.pose(place).position for place in places])
        if (points >= self._low).all() and (points <= self._high).all():
            return True
        begun = self._kinematics.pose(here).position
        low, high = np.minimum(self._low, begun), np.maximum(self._high, begun)
        return bool((points >= low).all() and (points <= high).all())


def _damped_solve(rows: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Joint step (J,) for a tool step (3,), damped."""
    return rows.T @ np.linalg.solve(rows @ rows.T + _DAMPING * np.eye(3), displacement)
