"""The motion that is sent: limited, committed for the length of the lead, always ending in a full stop."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.control.limits import Limits, Step, limited_step, stopping_path

CONTINUE_WITHIN_RAD = 0.05  # a rest this close to the last command continues from it


@dataclass(frozen=True)
class Trajectory:
    """Timed points for the arm: times (N,) [s, absolute], positions and velocities (N, J)."""

    joints: tuple[str, ...]
    times: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray


@dataclass(frozen=True)
class _Commitment:
    due: float
    position: np.ndarray
    velocity: np.ndarray
    gripper: float | None


class CommittedMotion:
    """Where the arm was told to be, tick by tick.

    What is decided at time s is due at s + lead. What is due is never changed
    again: it is sent with every trajectory until it is past, so that a
    trajectory that arrives late continues the one before it exactly.

    Args:
        joints: Names of the arm's joints (J,).
        limits: Their limits.
        period_s: Length of a tick [s].
        lead_s: Time from decision to arrival [s].
    """

    def __init__(self, joints: tuple[str, ...], limits: Limits, period_s: float, lead_s: float) -> None:
        self._joints, self._limits = joints, limits
        self._period_s, self._lead_s = period_s, lead_s
        self._committed: deque[_Commitment] = deque()
        self.position: np.ndarray | None = None
        """Last position decided, float64 (J,); None before the first motion."""
        self.velocity = np.zeros(len(joints))
        """Last velocity decided, float64 (J,)."""
        self.gripper: float | None = None
        """Gripper joint position that was due at the last `trajectory` call; None before any."""

    @property
    def moving(self) -> bool:
        """Whether anything decided is still to be carried out."""
        return bool(self._committed) or bool(self.velocity.any())

    def follow(
        self, now: float, target: np.ndarray, velocity: np.ndarray, gripper: float, measured: np.ndarray
    ) -> Step:
        """Decide one tick towards a moving target.

        A motion begins at the last command or, if there is none that holds,
        where the arm is. Until its first command is due the arm is told to
        stay, so that the whole path is known to whoever interpolates it.

        Args:
            now: Time of the tick [s].
            target, velocity: Reference of the arm, float64 (J,) each.
            gripper: Position of the gripper joint.
            measured: Measured position of the arm, float64 (J,).
        """
        if self.position is None:
            self.position = measured.copy()
        start = self._committed[-1].due + self._period_s if self._committed else now
        for i in range(round((now + self._lead_s - start) / self._period_s)):
            due = start + i * self._period_s
            self._committed.append(_Commitment(due, self.position, self.velocity, self.gripper))
        step = limited_step(self.position, self.velocity, target, velocity, self._limits, self._period_s)
        self._commit(now, step.position, step.velocity, gripper)
        return step

    def brake(self, now: float) -> None:
        """Decide one tick of a stop at the acceleration limit; at rest nothing happens."""
        if self.velocity.any():
            position, velocity = stopping_path(self.position, self.velocity, self._limits, self._period_s)[0]
            gripper = self._committed[-1].gripper if self._committed else self.gripper
            self._commit(now, position, velocity, gripper)

    def holds(self, measured: np.ndarray) -> bool:
        """Whether what was sent last still tells where the arm is, `measured` being float64 (J,)."""
        if self.position is None:
            return False
        return self.moving or bool(np.abs(self.position - measured).max() <= CONTINUE_WITHIN_RAD)

    def forget(self) -> None:
        """Drop everything; the next motion begins where the arm is."""
        self._committed.clear()
        self.position = self.gripper = None
        self.velocity = np.zeros(len(self._joints))

    def trajectory(self, now: float) -> Trajectory | None:
        """What to send: everything due after `now`, then a full stop; None when nothing moves."""
        while self._committed and self._committed[0].due <= now + 1e-9:
            self.gripper = self._committed.popleft().gripper
        if not self._committed:
            return None
        times = [c.due for c in self._committed]
        path = [(c.position, c.velocity) for c in self._committed]
        tail = stopping_path(*path[-1], self._limits, self._period_s)
        times += [times[-1] + (i + 1) * self._period_s for i in range(len(tail))]
        path += tail
        return Trajectory(
            joints=self._joints,
            times=np.array(times),
            positions=np.array([position for position, _ in path]),
            velocities=np.array([velocity for _, velocity in path]),
        )

    def _commit(self, now: float, position: np.ndarray, velocity: np.ndarray, gripper: float | None) -> None:
        self.position, self.velocity = position, velocity
        self._committed.append(_Commitment(now + self._lead_s, position, velocity, gripper))
