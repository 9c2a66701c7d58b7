"""Motion by velocities: of the tool or of joints, integrated to joint positions that the arm can have.

Nothing winds up: what is asked for beyond a limit is forgotten, not added up, so the way back begins at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_adapter_ros.contract.enums import Frame
from vla_adapter_ros.contract.schema import Workspace
from vla_adapter_ros.control.rotation import Pose, rotation_vector
from vla_adapter_ros.control.spaces import moved

SOFT_S = 0.15
"""Towards a limit the velocity is at most the room that is left, over this time [1/s]: a soft stop."""
WALL_M = 0.005
"""The tool point stays so far inside the walls of the workspace, where the controller would stop it [m]."""
SLACK_M, SLACK_RAD = 0.005, 0.03
"""How far the wanted pose may be ahead of the one that the joints have [m], [rad]."""
SINGULAR_BELOW = 0.015
"""Nearer to a singular posture than this motion does not go; from a nearer one only away from it [m/rad]."""
_STEPS = 8  # of inverse kinematics per step in time
_ALL_DIRECTIONS = 6  # joints that it takes for the tool to turn and move independently


class Kinematics(Protocol):
    """What jogging needs of an arm's kinematics; `ArmKinematics` has it."""

    def pose(self, joints: np.ndarray) -> Pose:
        """Tool pose of joint positions (J,)."""
        ...

    def dexterity(self, joints: np.ndarray) -> float:
        """How far joint positions (J,) are from a singular posture [m/rad]."""
        ...

    def follow(
        self, target: Pose, start: np.ndarray, low: np.ndarray, high: np.ndarray, steps: int
    ) -> np.ndarray:
        """Posture (J,) nearer to a pose, within limits, after some steps from `start`."""
        ...


@dataclass(frozen=True)
class JogLimits:
    """Limits of J joints for jogging, float64 (J,) each.

    Attributes:
        low, high: Positions [rad or m].
        velocity: Largest velocities [rad/s or m/s].
    """

    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray

    def room(self, joints: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
        """How far joints (J,) may go down and up in `dt` [s]: softly towards limits, never farther out."""
        soft = min(dt / SOFT_S, 1.0)
        down, up = np.maximum(joints - self.low, 0.0) * soft, np.maximum(self.high - joints, 0.0) * soft
        return down, up


class JointJog:
    """Joint positions moved by velocities of the joints.

    Args:
        limits: Of the joints.
    """

    def __init__(self, limits: JogLimits) -> None:
        self._limits = limits
        self.joints = np.zeros(len(limits.low))
        """Where the joints shall be, float64 (J,)."""

    def begin(self, joints: np.ndarray) -> None:
        """Start from joint positions (J,)."""
        self.joints = np.array(joints, dtype=np.float64)

    def advance(self, velocity: np.ndarray, dt: float) -> None:
        """Go on for `dt` [s] at velocities (J,), each at most the joint's largest."""
        down, up = self._limits.room(self.joints, dt)
        step = np.clip(velocity, -self._limits.velocity, self._limits.velocity) * dt
        self.joints = self.joints + np.clip(step, -down, up)

    def stay_near(self, measured: np.ndarray, distance: np.ndarray) -> None:
        """Bring every joint within `distance` (J,) of where it was measured (J,)."""
        self.joints = np.clip(self.joints, measured - distance, measured + distance)


class ToolJog(JointJog):
    """Joint positions moved by a twist of the tool.

    The wanted pose is kept beside the joints, so that the tool keeps its direction and its rotation. It
    waits where the joints do not come along: at limits and near singular postures. An arm of fewer than six
    joints keeps its direction only, and turns as it must.

    Args:
        limits: Of the joints.
        kinematics: Of the same joints, in the same order.
        frame: Along whose axes a twist is.
        workspace: Box for the tool point in the base link's frame; None: none.
    """

    def __init__(
        self, limits: JogLimits, kinematics: Kinematics, frame: Frame, workspace: Workspace | None = None
    ) -> None:
        super().__init__(limits)
        self._kinematics, self._frame = kinematics, frame
        self._wanted: Pose | None = None
        self._low, self._high = np.full(3, -np.inf), np.full(3, np.inf)
        if workspace is not None:
            low, high = np.array(workspace.low, dtype=float), np.array(workspace.high, dtype=float)
            wall = np.minimum(WALL_M, (high - low) / 4)
            self._low, self._high = low + wall, high - wall

    def begin(self, joints: np.ndarray) -> None:
        """Start from joint positions (J,), and from the pose that they have."""
        super().begin(joints)
        self._wanted = self._kinematics.pose(self.joints)

    def advance(self, velocity: np.ndarray, dt: float) -> None:
        """Go on for `dt` [s] with a twist, linear [m/s] before angular [rad/s], float64 (6,)."""
        if not np.any(velocity):
            return
        before = self._kinematics.pose(self.joints) if self._wanted is None else self._wanted
        target = moved(before, self._step(velocity * dt, before, dt), Frame.BASE)
        down, up = self._limits.room(self.joints, dt)
        found = self._kinematics.follow(target, self.joints, self.joints - down, self.joints + up, _STEPS)
        step = found - self.joints
        most = float(np.max(np.abs(step) / (self._limits.velocity * dt)))
        self.joints = self._away_from_singular(step / max(most, 1.0), dt)
        reached = self._kinematics.pose(self.joints)
        if len(self.joints) < _ALL_DIRECTIONS:
            before, target = Pose(before.position, reached.rotation), Pose(target.position, reached.rotation)
        self._wanted = target if _near(target, reached) else before

    def _away_from_singular(self, step: np.ndarray, dt: float) -> np.ndarray:
        """Joints (J,) after a step, of which only a part is made towards a singular posture: softly up to it.

        At such a posture branches meet (elbow up or down), and the arm might come back on another one.
        """
        before = self._kinematics.dexterity(self.joints)
        loss = before - self._kinematics.dexterity(self.joints + step)
        room = max(before - SINGULAR_BELOW, 0.0) * min(dt / SOFT_S, 1.0)
        return self.joints + step * (room / loss if loss > room else 1.0)

    def stay_near(self, measured: np.ndarray, distance: np.ndarray) -> None:
        """Bring every joint within `distance` (J,) of where it was measured (J,)."""
        before = self.joints
        super().stay_near(measured, distance)
        if (before != self.joints).any():
            self._wanted = self._kinematics.pose(self.joints)

    def _step(self, twist: np.ndarray, pose: Pose, dt: float) -> np.ndarray:
        """The way (6,) along the base link's axes, softly towards the walls of the box and never through."""
        way = twist if self._frame is Frame.BASE else np.concatenate(
            [pose.rotation @ twist[:3], pose.rotation @ twist[3:]]
        )  # fmt: skip
        soft = min(dt / SOFT_S, 1.0)
        down = np.maximum(pose.position - self._low, 0.0) * soft
        up = np.maximum(self._high - pose.position, 0.0) * soft
        return np.concatenate([np.clip(way[:3], -down, up), way[3:]])


def _near(wanted: Pose, reached: Pose) -> bool:
    turn = rotation_vector(wanted.rotation @ reached.rotation.T)
    return bool(
        np.linalg.norm(wanted.position - reached.position) <= SLACK_M and np.linalg.norm(turn) <= SLACK_RAD
    )
