"""Images of the reference camera that wait to become frames."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable

import numpy as np

from vla_adapter_ros.observation.decimator import FrameDecimator

REPEATED = "repeats the stamp of one before"
OVERTAKEN = "came after its turn"


class ReferenceQueue:
    """Images in the order of their stamps, each until its frame can be built.

    Args:
        period_s: Time between frames [s], > 0.
    """

    def __init__(self, period_s: float) -> None:
        self._decimator = FrameDecimator(period_s)
        self._waiting: list[tuple[float, float, np.ndarray]] = []  # stamp, deadline, image
        self.newest = -math.inf
        """Stamp of the newest image [s]; -inf while there is none."""

    def add_image(self, stamp: float, deadline: float, image: np.ndarray) -> str:
        """Keep an image.

        Args:
            stamp: Of the image [s].
            deadline: When its frame is built at the latest [s].
            image: uint8 (H, W, 3).

        Returns:
            Why it is lost; empty if it is kept.
        """
        if stamp <= self._decimator.last:
            return REPEATED if stamp == self._decimator.last else OVERTAKEN
        self.newest = max(self.newest, stamp)
        at = bisect.bisect_left(self._waiting, stamp, key=lambda entry: entry[0])
        if at < len(self._waiting) and self._waiting[at][0] == stamp:
            return REPEATED
        self._waiting.insert(at, (stamp, deadline, image))
        return ""

    def next_image(self, now: float, is_complete: Callable[[float], bool]) -> tuple[float, np.ndarray] | None:
        """Take the next image out whose frame can be built, with its stamp; None if none can yet.

        Images that the decimator leaves out are dropped.

        Args:
            now: Time [s].
            is_complete: Whether all other streams have delivered what a frame of a time [s] needs.
        """
        while self._waiting:
            stamp, deadline, image = self._waiting[0]
            selected = self._decimator.selects(stamp)
            if selected and now < deadline and not is_complete(stamp):
                return None
            self._waiting.pop(0)
            if selected:
                self._decimator.mark_used(stamp)
                return stamp, image
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._decimator.clear()
        self._waiting.clear()
        self.newest = -math.inf
