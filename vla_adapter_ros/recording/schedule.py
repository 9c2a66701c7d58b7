"""Which images of the reference camera become frames when the camera is faster than the data set."""

from __future__ import annotations

import math

# Parts of a period. An image may come this much before its due time: camera clocks jitter, and
# without it a camera at the very rate of the data set would lose every early image.
_EARLY = 0.25
# An image this late means that the camera had a gap: the schedule starts anew from it.
_GAP = 0.5
# Two frames are never closer than this, so that a late image is not followed by a burst.
_CLOSEST = 0.5


class RateSchedule:
    """Accepts stamps so that on average one falls into each period.

    Args:
        period_s: Time between frames [s], > 0.
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self.last = -math.inf
        self._due = -math.inf

    def is_due(self, t: float) -> bool:
        """Whether an image stamped `t` [s] is to become the next frame."""
        return t >= self._due - _EARLY * self._period and t - self.last >= _CLOSEST * self._period

    def accept(self, t: float) -> None:
        """Note that the image stamped `t` [s] became a frame."""
        on_time = t - self._due <= _GAP * self._period
        self._due = (self._due if on_time else t) + self._period
        self.last = t

    def clear(self) -> None:
        """Start anew: the next image is due."""
        self.last = self._due = -math.inf
