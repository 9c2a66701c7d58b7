"""What ros2_controllers' forward command controllers do with positions and velocities, in numpy.

The driver keeps the last command until the next one. A velocity that is not
renewed in time counts as 0: real velocity drivers have such a watchdog, and an
arm must not drift on because its commander has died. A position is simply kept.

Both have the same shape as `TrajectoryController`: `hold` drops everything,
`sample` gives the set-point of the joint servos.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from vla_adapter_ros.errors import CommandError

FEED_FORWARD_S = 0.05
"""Two position commands this close together have a speed, which the servo feeds forward [s]."""


class ForwardPositionController:
    """Holds the last commanded positions.

    The set-point itself jumps from command to command, as in the real
    controller. Its speed, for the servo's feed-forward, is the difference of
    the last two commands while they come in a steady stream.

    Args:
        names: The joints, in the order of every array here.
        positions: Where they stand, (J,) [rad or m].
    """

    def __init__(self, names: Sequence[str], positions: np.ndarray) -> None:
        self.names = tuple(names)
        self.hold(positions)

    def hold(self, positions: np.ndarray) -> None:
        """Drop the command and hold `positions` (J,)."""
        self._position = checked(positions, len(self.names), "positions")
        self._velocity = np.zeros(len(self.names))
        self._at = -np.inf

    def accept_positions(self, positions: ArrayLike, *, now: float) -> None:
        """Hold new positions (J,) from `now` [s] on.

        Raises:
            CommandError: another number of values, or one that is not finite; the old command stays.
        """
        wanted = checked(positions, len(self.names), "positions")
        step = now - self._at
        if 0 < step <= FEED_FORWARD_S:
            self._velocity = (wanted - self._position) / step
        elif step != 0:
            self._velocity = np.zeros(len(self.names))
        self._position, self._at = wanted, now

    def sample(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Set-point and its speed at `t` [s]: positions (J,), velocities (J,)."""
        steady = t - self._at <= FEED_FORWARD_S
        return self._position, self._velocity if steady else np.zeros(len(self.names))


class ForwardVelocityController:
    """Moves at the last commanded velocities, and stops when they are not renewed.

    Args:
        names: The joints, in the order of every array here.
        positions: Where they stand, (J,) [rad or m].
        timeout_s: Age at which a command counts as 0 [s], > 0.
    """

    def __init__(self, names: Sequence[str], positions: np.ndarray, timeout_s: float = 0.1) -> None:
        self.names = tuple(names)
        self._timeout_s = timeout_s
        self.hold(positions)

    def hold(self, positions: np.ndarray) -> None:
        """Drop the command and hold `positions` (J,)."""
        self._position = checked(positions, len(self.names), "positions")
        self._velocity = np.zeros(len(self.names))
        self._from = self._at = -np.inf  # position was true at `_from`, velocity was given at `_at`

    def accept_velocities(self, velocities: ArrayLike, *, now: float) -> None:
        """Move at new velocities (J,) [per s] from `now` [s] on.

        Raises:
            CommandError: another number of values, or one that is not finite; the old command stays.
        """
        wanted = checked(velocities, len(self.names), "velocities")
        self._position = self.sample(now)[0]
        self._velocity, self._from, self._at = wanted, now, now

    def sample(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Set-point and its speed at `t` [s], not before the last `accept`."""
        end = self._at + self._timeout_s
        moving = self._from < t <= end
        lasted = max(min(t, end) - self._from, 0.0) if np.isfinite(self._at) else 0.0
        position = self._position + lasted * self._velocity
        return position, self._velocity if moving else np.zeros(len(self.names))


def checked(values: ArrayLike, width: int, what: str) -> np.ndarray:
    """Values as float64 (width,).

    Raises:
        CommandError: another number of values, or one that is not finite.
    """
    array = np.array(values, dtype=float)
    if array.shape != (width,) or not np.isfinite(array).all():
        raise CommandError(f"{what} {array.tolist()}: allowed are {width} finite numbers")
    return array
