"""Which images of the reference camera become frames.

A camera at the rate of the data set: every image, however much it jitters. A
faster camera: the first after each target time, so that on average one falls into a period.
"""

from __future__ import annotations

import math
from collections import deque

# Parts of a period. An image may come this much before its target time: camera clocks jitter, and
# without it a camera at the very rate of the data set would lose every early image.
_EARLY = 0.25
# An image this late means that the camera had a gap: the target times start anew from it.
_GAP = 0.5
# Two frames are never closer than this, so that a late image is not followed by a burst.
_CLOSEST = 0.5
# A camera whose median interval is at least this has the data set's own rate: no image is left out.
_SAME_RATE = 0.75
_CLOSEST_AT_SAME_RATE = 0.25
_INTERVALS = 9


class FrameDecimator:
    """Chooses among the images of a camera by their stamps.

    Args:
        period_s: Time between frames [s], > 0.

    Attributes:
        last: Stamp of the newest image that became a frame [s]; -inf before the first.
    """

    def __init__(self, period_s: float) -> None:
        self._period = period_s
        self.last = -math.inf
        self._target = -math.inf
        self._seen = -math.inf
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)

    def selects(self, t: float) -> bool:
        """Whether an image stamped `t` [s] is to become the next frame; may be asked repeatedly."""
        if t > self._seen:
            if math.isfinite(self._seen):
                self._intervals.append(t - self._seen)
            self._seen = t
        if self._has_same_rate():
            return t - self.last >= _CLOSEST_AT_SAME_RATE * self._period
        return t >= self._target - _EARLY * self._period and t - self.last >= _CLOSEST * self._period

    def mark_used(self, t: float) -> None:
        """Note that the image stamped `t` [s] became a frame."""
        on_time = t - self._target <= _GAP * self._period
        self._target = (self._target if on_time else t) + self._period
        self.last = t

    def clear(self) -> None:
        """Start anew: the next image is selected."""
        self.last = self._target = self._seen = -math.inf
        self._intervals.clear()

    def _has_same_rate(self) -> bool:
        if len(self._intervals) < _INTERVALS:
            return False
        middle = sorted(self._intervals)[_INTERVALS // 2]
        return middle >= _SAME_RATE * self._period
