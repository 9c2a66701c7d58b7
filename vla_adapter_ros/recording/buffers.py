"""Short histories of single streams, ordered by stamp, that answer "what was newest at time t?"."""

from __future__ import annotations

import bisect
import math
from typing import Any

import numpy as np

# Values are small and come at up to 1 kHz; images are large and come at camera rate. Both caps only
# matter while the reference camera is silent, since every decided frame prunes what is behind it.
MAX_IMAGES = 32
MAX_VALUES = 4096


class ImageBuffer:
    """Images of one camera, ordered by stamp [s]."""

    def __init__(self) -> None:
        self._stamps: list[float] = []
        self._images: list[np.ndarray] = []

    @property
    def newest(self) -> float:
        """Stamp of the newest image [s]; -inf while there is none."""
        return self._stamps[-1] if self._stamps else -math.inf

    def add(self, stamp: float, image: np.ndarray) -> None:
        """Keep an image; a second one with the same stamp replaces the first."""
        at = bisect.bisect_left(self._stamps, stamp)
        if at < len(self._stamps) and self._stamps[at] == stamp:
            self._images[at] = image
            return
        self._stamps.insert(at, stamp)
        self._images.insert(at, image)
        if len(self._stamps) > MAX_IMAGES:
            del self._stamps[0], self._images[0]

    def at(self, t: float) -> tuple[float, np.ndarray] | None:
        """Newest image stamped not later than `t`, with its stamp; None if there is none."""
        found = bisect.bisect_right(self._stamps, t) - 1
        return None if found < 0 else (self._stamps[found], self._images[found])

    def prune(self, t: float) -> None:
        """Drop what no frame after `t` can use: all images up to `t` but the newest of them."""
        count = max(0, bisect.bisect_right(self._stamps, t) - 1)
        del self._stamps[:count], self._images[:count]

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._images.clear()


class ValueBuffer:
    """Values of one topic, ordered by stamp [s].

    A message may carry only some of the wanted values (two drivers that share
    one joint-state topic do that), so each value is looked up on its own.

    Args:
        keys: The wanted values, (D,), e.g. joint names.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys
        self._index = {key: i for i, key in enumerate(keys)}
        self._stamps: list[float] = []
        self._values: list[np.ndarray] = []
        self._present: list[np.ndarray] = []
        self._newest = np.full(len(keys), -math.inf)

    @property
    def newest(self) -> float:
        """Stamp up to which every wanted value is known [s]; -inf while one is missing."""
        return float(self._newest.min())

    @property
    def newest_of_each(self) -> np.ndarray:
        """Newest stamp of each wanted value [s], float64 (D,); -inf where it never came."""
        return self._newest

    def add(self, stamp: float, names: list[str], values: np.ndarray) -> None:
        """Keep the wanted ones among `values` (N,), which are called `names` (N,), in any order."""
        row, present = np.full(len(self.keys), np.nan), np.zeros(len(self.keys), dtype=bool)
        for name, value in zip(names, values, strict=True):
            i = self._index.get(name)
            if i is not None:
                row[i], present[i] = value, True
        if not present.any():
            return
        at = bisect.bisect_right(self._stamps, stamp)
        self._stamps.insert(at, stamp)
        self._values.insert(at, row)
        self._present.insert(at, present)
        self._newest[present] = np.maximum(self._newest[present], stamp)
        if len(self._stamps) > MAX_VALUES:
            del self._stamps[0], self._values[0], self._present[0]

    def at(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Newest values stamped not later than `t`.

        Returns:
            (values, stamps), float64 (D,) each; NaN and -inf where a value never came.
        """
        values, stamps = np.full(len(self.keys), np.nan), np.full(len(self.keys), -math.inf)
        missing = np.ones(len(self.keys), dtype=bool)
        for i in range(bisect.bisect_right(self._stamps, t) - 1, -1, -1):
            use = missing & self._present[i]
            values[use], stamps[use] = self._values[i][use], self._stamps[i]
            missing &= ~use
            if not missing.any():
                break
        return values, stamps

    def prune(self, t: float) -> None:
        """Drop what is older than `t`, but keep the newest message."""
        count = min(bisect.bisect_left(self._stamps, t), len(self._stamps) - 1)
        if count > 0:
            del self._stamps[:count], self._values[:count], self._present[:count]

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._values.clear()
        self._present.clear()
        self._newest[:] = -math.inf


def pose_values(message: Any) -> tuple[list[str], list[float]]:
    """Names and values of a PoseStamped, from ROS or from a bag: position.x ... orientation.w [m, 1]."""
    names, values = [], []
    for part, axes in (("position", "xyz"), ("orientation", "xyzw")):
        for axis in axes:
            names.append(f"{part}.{axis}")
            values.append(getattr(getattr(message.pose, part), axis))
    return names, values
