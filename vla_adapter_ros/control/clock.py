"""Ticks on a fixed grid, in a time that counts from the first one."""

from __future__ import annotations

import math

import numpy as np

JUMP_S = 0.5  # a larger gap between two ticks means that the clock was set


class TickClock:
    """Numbers ticks. Inside, times count from the first stamp seen: small numbers lose nothing by rounding.

    Args:
        period_s: Length of a tick [s].
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._period_ns = round(period_s * 1e9)
        self._base = math.nan  # time of tick 0 [s]
        self.started = False
        """Whether a tick was counted."""
        self.tick = 0
        """Number of the newest tick; 0 before the first."""

    @property
    def time(self) -> float:
        """Inside time of the newest tick [s]."""
        return self.tick * self.period_s

    def inside(self, time: float) -> float:
        """Inside time of an outside one [s]."""
        if math.isnan(self._base):
            if not np.isfinite(time):
                return time
            self._base = time
        return time - self._base

    def outside_time(self, inside: float) -> float:
        """Outside time of an inside one [s]."""
        return self._base + inside

    def outside(self, ticks: np.ndarray) -> np.ndarray:
        """Outside times [s] of ticks (N,), as exact as floats are at today's dates: 0.2 us."""
        return self._base + ticks * self.period_s

    def start_ns(self, tick: int) -> int:
        """Outside time of a tick [ns], exact from tick to tick."""
        return round(self._base * 1e9) + tick * self._period_ns

    def span_s(self, ticks: np.ndarray) -> np.ndarray:
        """Lengths of numbers of ticks (N,) [s], whole nanoseconds."""
        return ticks * self._period_ns * 1e-9

    def at(self, now: float) -> int:
        """Number of the newest tick that is not later than `now` [s]."""
        return int(np.floor(self.inside(now) / self.period_s + 1e-4))

    def steps(self, now: float) -> int:
        """Ticks from the newest one to `now` [s]; 1 for the first."""
        steps = round(self.inside(now) / self.period_s) - self.tick
        if not self.started:
            self.started, self.tick, steps = True, steps - 1, 1
        return steps

    def jumped(self, steps: int) -> bool:
        """Whether so many ticks at once mean that the clock was set."""
        return steps < 0 or steps * self.period_s > JUMP_S

    def set(self, now: float) -> float:
        """Make the next tick `now` [s], inside time going on; returns how far the clock had jumped [s]."""
        gap = now - (self._base + self.time)
        self._base = now - self.time - self.period_s
        return gap
