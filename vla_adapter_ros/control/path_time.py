"""The time along a policy's path: it passes at the controller's speed, 0.1 to 1 times as fast as the clock.

Rows are due in path time. So the arm goes the same path at any speed, only slower, and rows that a late chunk
skips are those that the arm has gone past. The speed changes in ramps whose slope begins and ends with 0, one
after the other: velocity and acceleration of the motion stay continuous.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vla_adapter_ros.choices import FASTEST, SLOWEST
from vla_adapter_ros.errors import CommandError

RAMP_S = 1.0
"""How long a change of the speed takes [s]."""
_MOST_RAMPS = 16  # remembered: nobody asks for times before them
_HALVINGS = 60


class _Ramp(NamedTuple):
    """From `start` [s], which is `path` [s] in path time, the speed goes from one value to another."""

    start: float
    path: float
    before: float
    after: float

    @property
    def end(self) -> float:
        return self.start + RAMP_S

    def at(self, time: float) -> float:
        """Path time [s] at any `time` [s] up to the next ramp."""
        u = (time - self.start) / RAMP_S
        if u <= 0.0:
            return self.path + (time - self.start) * self.before
        change = self.after - self.before
        if u >= 1.0:
            return self.path + RAMP_S * (self.before + change / 2) + (time - self.end) * self.after
        return self.path + RAMP_S * (u * self.before + change * (u**3 - u**4 / 2))

    def speed(self, time: float) -> tuple[float, float]:
        """Speed and its slope [1/s] at `time` [s]."""
        u = min(max((time - self.start) / RAMP_S, 0.0), 1.0)
        change = self.after - self.before
        return self.before + change * u**2 * (3 - 2 * u), change * 6 * u * (1 - u) / RAMP_S


class PathTime:
    """Path time as a function of the clock's; the same until a speed other than 1 is set.

    Args:
        speed: At the start.

    Raises:
        CommandError: a speed beyond `SLOWEST` or `FASTEST`.
    """

    def __init__(self, speed: float = FASTEST) -> None:
        self.speed = checked_speed(speed)
        """Newest speed that was set; a ramp may be on the way to it."""
        self._ramps: list[_Ramp] = []
        if speed != 1.0:  # at the base of all times, and over
            self._ramps.append(_Ramp(0.0, 0.0, speed, speed))

    def set_speed(self, speed: float, now: float) -> None:
        """Go over to another speed from `now` [s] on, or once a ramp that has begun is over.

        Raises:
            CommandError: a speed beyond `SLOWEST` or `FASTEST`; nothing changes.
        """
        self.speed = checked_speed(speed)
        if self._ramps and self._ramps[-1].start > now:
            self._ramps.pop()  # not begun yet
        before = self._ramps[-1].after if self._ramps else 1.0
        if speed == before:
            return
        start = max(now, self._ramps[-1].end) if self._ramps else now
        self._ramps.append(_Ramp(start, self.at(start), before, speed))
        del self._ramps[:-_MOST_RAMPS]

    def at(self, time: float) -> float:
        """Path time [s] of `time` [s]."""
        return self._ramp(time).at(time) if self._ramps else time

    def between(self, begin: float, end: float) -> float:
        """How much path time passes from `begin` to `end` [s]."""
        return self.at(end) - self.at(begin)

    def speed_at(self, time: float) -> float:
        """Speed at `time` [s]."""
        return self._ramp(time).speed(time)[0] if self._ramps else 1.0

    def time_of(self, path: float) -> float:
        """The time [s] of a path time [s]."""
        if not self._ramps:
            return path
        ramp = next((r for r in reversed(self._ramps) if r.path <= path), self._ramps[0])
        if path <= ramp.path:
            return ramp.start - (ramp.path - path) / ramp.before
        over = ramp.at(ramp.end)
        if path >= over:
            return ramp.end + (path - over) / ramp.after
        low, high = ramp.start, ramp.end
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if ramp.at(middle) < path else (low, middle)
        return (low + high) / 2

    def in_time(self, state: np.ndarray, time: float) -> np.ndarray:
        """A state (3, J) whose derivatives are by path time, with those by the clock's, at `time` [s]."""
        if not self._ramps:
            return state
        speed, slope = self._ramp(time).speed(time)
        position, velocity, acceleration = state
        return np.stack([position, velocity * speed, acceleration * speed**2 + velocity * slope])

    def _ramp(self, time: float) -> _Ramp:
        return next((ramp for ramp in reversed(self._ramps) if ramp.start <= time), self._ramps[0])


def checked_speed(speed: float) -> float:
    """The speed, if it is allowed.

    Raises:
        CommandError: it is not.
    """
    if not SLOWEST <= speed <= FASTEST:
        raise CommandError(f"speed = {speed:g}: allowed is {SLOWEST:g} to {FASTEST:g}")
    return speed
