"""What is measured of the arm, with a short memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.errors import CommandError

HISTORY_S = 2.0
_MOST_SAMPLES = 2000
IMPLAUSIBLE_BEYOND = 3.2
"""A joint measured this far beyond its limits is not where the message says [rad or m]."""
_STILL_OVER_S = 0.1
_STILL_SPEED = 0.05  # rad/s or m/s: noise of a joint at rest stays below, over that time


class ArmState:
    """Measured joint positions, merged by joint name over all messages.

    Several drivers may report a part of the joints each, on one topic or on several: every joint has a
    history and an age of its own.

    Args:
        contract: The robot's contract.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._limits = Limits.of(contract)
        self._samples: dict[str, deque[tuple[float, float]]] = {
            joint: deque(maxlen=_MOST_SAMPLES) for joint in contract.arm_joints
        }
        self.grippers: dict[str, float] = {}
        """Newest measured position of each gripper joint that was ever measured [rad or m]."""
        self.refused = ""
        """Why the newest message was refused; empty once one is accepted."""

    @property
    def position(self) -> np.ndarray | None:
        """Newest positions (J,); None while a joint was never measured."""
        if not all(self._samples.values()):
            return None
        return np.array([samples[-1][1] for samples in self._samples.values()])

    @property
    def known_position(self) -> np.ndarray:
        """Newest positions (J,), where every joint is known to have been measured."""
        position = self.position
        assert position is not None, "no joint states yet"
        return position

    @property
    def stamp(self) -> float:
        """Oldest of the joints' newest stamps [s]; -inf while one was never measured, and after `expire`."""
        return min(samples[-1][0] if samples else -np.inf for samples in self._samples.values())

    @property
    def oldest_joint(self) -> str:
        """The joint of `stamp`."""
        return min(
            self._samples, key=lambda joint: self._samples[joint][-1][0] if self._samples[joint] else -np.inf
        )

    def accept(self, positions: Mapping[str, float], stamp: float) -> dict[str, float]:
        """Take in joint positions by name [rad or m]; other joints, and late samples, are ignored.

        Returns:
            The arm's joints that the message holds.

        Raises:
            CommandError: it holds a value that is not finite or far beyond the joint's limits; nothing of
                it is used then.
        """
        arm = {joint: float(positions[joint]) for joint in self._samples if joint in positions}
        if not np.isfinite(stamp):
            raise CommandError(f"joint state: stamp {stamp}, must be finite")
        for i, joint in enumerate(self._samples):
            value = arm.get(joint)
            if value is None:
                continue
            if not np.isfinite(value):
                raise CommandError(f"joint state: {joint} is {value}, must be finite")
            low, high = self._limits.low[i], self._limits.high[i]
            if not low - IMPLAUSIBLE_BEYOND <= value <= high + IMPLAUSIBLE_BEYOND:
                raise CommandError(
                    f"joint state: {joint} is {value:.4g}, the contract's limits are {low:g} to {high:g}"
                )
        for joint, value in arm.items():
            samples = self._samples[joint]
            if not samples or stamp >= samples[-1][0]:
                samples.append((stamp, value))
                while stamp - samples[0][0] > HISTORY_S:
                    samples.popleft()
        for joint in (gripper.joint for gripper in self._contract.grippers):
            if joint in positions and np.isfinite(positions[joint]):
                self.grippers[joint] = float(positions[joint])
        return arm

    def at(self, time: float) -> np.ndarray | None:
        """Positions (J,) at `time` [s]: linear between samples, nearest outside; None while one lacks."""
        if not all(self._samples.values()):
            return None
        return np.array([_at(samples, time) for samples in self._samples.values()])

    def moving(self) -> str:
        """A joint that moved just now, in words; empty: all stand still."""
        for joint, samples in self._samples.items():
            if not samples or not np.isfinite(samples[-1][0]):
                continue
            stamp, value = samples[-1]
            speed = abs(value - _at(samples, stamp - _STILL_OVER_S)) / _STILL_OVER_S
            if speed > _STILL_SPEED:
                return f"waits until the arm rests: {joint} is moved by somebody else"
        return ""

    def expire(self) -> None:
        """Keep the newest positions, but as old ones: the clock was set."""
        for samples in self._samples.values():
            if samples:
                newest = samples[-1][1]
                samples.clear()
                samples.append((-np.inf, newest))

    def forget(self) -> None:
        """Drop everything, as when the controller is activated."""
        for samples in self._samples.values():
            samples.clear()
        self.grippers.clear()
        self.refused = ""


def _at(samples: deque[tuple[float, float]], time: float) -> float:
    later: tuple[float, float] | None = None
    for stamp, value in reversed(samples):
        if stamp <= time:
            if later is None or later[0] <= stamp or not np.isfinite(stamp):
                return value
            fraction = (time - stamp) / (later[0] - stamp)
            return value + fraction * (later[1] - value)
        later = (stamp, value)
    assert later is not None, "no samples"
    return later[1]
