"""What is measured of the arm, with a short memory."""

from __future__ import annotations

from collections import deque

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import CommandError

HISTORY_S = 2.0
_MOST_SAMPLES = 2000


class ArmState:
    """Measured joint positions.

    Args:
        contract: The robot's contract.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._samples: deque[tuple[float, np.ndarray]] = deque(maxlen=_MOST_SAMPLES)
        self.gripper = contract.gripper.open_position
        """Measured position of the gripper joint."""

    @property
    def position(self) -> np.ndarray | None:
        """Newest positions (J,); None before the first."""
        return self._samples[-1][1] if self._samples else None

    @property
    def stamp(self) -> float:
        """Stamp of the newest positions [s]; -inf before the first, and after `expire`."""
        return self._samples[-1][0] if self._samples else -np.inf

    def accept(self, positions: dict[str, float], stamp: float) -> np.ndarray:
        """Take in joint positions by name [rad or m]; other joints, and late samples, are ignored.

        Raises:
            CommandError: an arm joint is missing, or something is not finite.
        """
        joints = self._contract.arm_joints
        missing = [joint for joint in joints if joint not in positions]
        if missing:
            raise CommandError(f"joint state lacks {missing}; it has {sorted(positions)}")
        values = np.array([positions[joint] for joint in joints], dtype=np.float64)
        if not (np.isfinite(values).all() and np.isfinite(stamp)):
            raise CommandError(f"joint state is not finite: {values.tolist()} at {stamp}")
        if stamp >= self.stamp:
            self._samples.append((stamp, values))
            while stamp - self._samples[0][0] > HISTORY_S:
                self._samples.popleft()
            gripper = positions.get(self._contract.gripper.joint, self.gripper)
            self.gripper = gripper if np.isfinite(gripper) else self.gripper
        return values

    def at(self, time: float) -> np.ndarray | None:
        """Positions (J,) at `time` [s]: linear between samples, the nearest outside; None before any."""
        later: tuple[float, np.ndarray] | None = None
        for stamp, values in reversed(self._samples):
            if stamp <= time:
                if later is None or later[0] <= stamp:
                    return values
                share = (time - stamp) / (later[0] - stamp)
                return values + share * (later[1] - values)
            later = (stamp, values)
        return later[1] if later is not None else None

    def expire(self) -> None:
        """Keep the newest positions, but as old ones: the clock was set."""
        if self._samples:
            newest = self._samples[-1][1]
            self._samples.clear()
            self._samples.append((-np.inf, newest))
