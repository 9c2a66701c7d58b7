"""Short histories of single streams, ordered by stamp, that answer "what was newest at time t?"."""

from __future__ import annotations

import bisect
import math
import statistics
from collections import deque
from collections.abc import Sequence

import numpy as np

# Values are small and come at up to 1 kHz; images are large and come at camera rate. Both caps only
# matter while the reference camera is silent, since every decided frame prunes what is behind it.
MAX_IMAGES = 32
MAX_VALUES = 4096
SYNC_TOLERANCE_S = 0.005  # cameras that are triggered together differ by microseconds to a few milliseconds
GAP = 1.5  # periods between two images, from which on one is missing between them: lost, or overtaken
STEPS = 9  # a camera's period is the median of so many steps


class ImageBuffer:
    """Images of one camera, ordered by stamp [s].

    Args:
        tolerance_s: Largest distance of an image that is of the same time as another camera's [s]; None:
            the smaller of 5 ms and a quarter of the period.
    """

    def __init__(self, tolerance_s: float | None = None) -> None:
        self._stamps: list[float] = []
        self._images: list[np.ndarray] = []
        self._given = tolerance_s
        self._steps: deque[float] = deque(maxlen=STEPS)
        self.period = math.inf
        """Median time between the newest images [s]; inf while there is only one."""

    @property
    def newest(self) -> float:
        """Stamp of the newest image [s]; -inf while there is none."""
        return self._stamps[-1] if self._stamps else -math.inf

    @property
    def tolerance(self) -> float:
        """How far from `t` the image of `t` may be stamped [s]; never so far that two could be."""
        given = min(SYNC_TOLERANCE_S, self.period / 4) if self._given is None else self._given
        return min(given, self.period / 2)

    def add_image(self, stamp: float, image: np.ndarray) -> bool:
        """Keep an image; False if its stamp is known: then it takes the place of the other."""
        at = bisect.bisect_left(self._stamps, stamp)
        if at < len(self._stamps) and self._stamps[at] == stamp:
            self._images[at] = image
            return False
        if self._stamps and at == len(self._stamps):
            self._steps.append(stamp - self._stamps[-1])
            self.period = statistics.median_low(self._steps)  # of two, the one without a gap
        self._stamps.insert(at, stamp)
        self._images.insert(at, image)
        if len(self._stamps) > MAX_IMAGES:
            del self._stamps[0], self._images[0]
        return True

    def covers(self, t: float) -> bool:
        """Whether the image of `t` [s] has come, or a later one and none seems to be missing between them."""
        if self._synchronized(t) is not None:
            return True
        after = bisect.bisect_right(self._stamps, t)
        if after == len(self._stamps):
            return False
        return after == 0 or self._stamps[after] - self._stamps[after - 1] <= GAP * self.period

    def at(self, t: float) -> tuple[float, np.ndarray] | None:
        """The image of `t`, else the newest one stamped before, with its stamp; None if there is none."""
        found = self._synchronized(t)
        if found is None:
            found = bisect.bisect_right(self._stamps, t) - 1
        return None if found < 0 else (self._stamps[found], self._images[found])

    def _synchronized(self, t: float) -> int | None:
        """Place of the image nearest to `t` [s], if it is within the tolerance."""
        after = bisect.bisect_right(self._stamps, t)
        near = [i for i in (after - 1, after) if 0 <= i < len(self._stamps)]
        nearest = min(near, key=lambda i: abs(self._stamps[i] - t), default=None)
        return nearest if nearest is not None and abs(self._stamps[nearest] - t) <= self.tolerance else None

    def following(self, t: float) -> float:
        """Stamp of the first image after `t` [s]; inf while there is none."""
        after = bisect.bisect_right(self._stamps, t)
        return self._stamps[after] if after < len(self._stamps) else math.inf

    def prune(self, t: float) -> None:
        """Drop what no frame after `t` can use: all images up to `t` but the newest of them."""
        count = max(0, bisect.bisect_right(self._stamps, t) - 1)
        del self._stamps[:count], self._images[:count]

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._images.clear()
        self._steps.clear()
        self.period = math.inf


class ValueBuffer:
    """Values of one topic, each with a history of its own, ordered by stamp [s].

    A message may carry only some of the wanted values (a driver that sends an
    arm in halves, two drivers that share one joint-state topic). What carries
    a value last, of all that is stamped alike, counts.

    Args:
        keys: The wanted values, (D,), e.g. joint names.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys
        self._index = {key: i for i, key in enumerate(keys)}
        self._stamps: list[list[float]] = [[] for _ in keys]
        self._heard = [-math.inf] * len(keys)  # when the value was said last; its stamp may be in the future
        self._values: list[list[float]] = [[] for _ in keys]

    def wanted(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that are kept here."""
        return [name for name in names if name in self._index]

    @property
    def newest(self) -> float:
        """Stamp up to which every wanted value is known [s]; -inf while one is missing."""
        return min(self._heard)

    def newest_stamps(self) -> dict[str, float]:
        """Value -> stamp of its newest sample [s]; -inf where none came."""
        return dict(zip(self.keys, self._heard, strict=True))

    def cut(self, stamp: float, names: Sequence[str]) -> None:
        """Forget what was planned for `stamp` [s] and later: a new trajectory takes its place."""
        for name in self.wanted(names):
            i = self._index[name]
            at = bisect.bisect_left(self._stamps[i], stamp)
            del self._stamps[i][at:], self._values[i][at:]

    def add_values(
        self, stamp: float, names: Sequence[str], values: Sequence[float], heard: float | None = None
    ) -> None:
        """Keep the wanted ones among `values` (N,), which are called `names` (N,), in any order.

        `heard` is the stamp of the message, where the values are planned for later [s].
        """
        for name, value in zip(names, values, strict=True):
            i = self._index.get(name)
            if i is None:
                continue
            stamps = self._stamps[i]
            self._heard[i] = max(self._heard[i], stamp if heard is None else heard)
            at = bisect.bisect_right(stamps, stamp)
            stamps.insert(at, stamp)
            self._values[i].insert(at, float(value))
            if len(stamps) > MAX_VALUES:
                del stamps[0], self._values[i][0]

    def at(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Newest values stamped not later than `t`.

        Returns:
            (values, stamps), float64 (D,) each; NaN and -inf where a value never came.
        """
        values, stamps = np.full(len(self.keys), np.nan), np.full(len(self.keys), -math.inf)
        for i, history in enumerate(self._stamps):
            found = bisect.bisect_right(history, t) - 1
            if found >= 0:
                values[i], stamps[i] = self._values[i][found], history[found]
        return values, stamps

    def prune(self, t: float) -> None:
        """Drop what no frame after `t` can use: of each value, all up to `t` but the newest of them."""
        for stamps, values in zip(self._stamps, self._values, strict=True):
            count = max(0, bisect.bisect_right(stamps, t) - 1)
            del stamps[:count], values[:count]

    def clear(self) -> None:
        """Forget everything."""
        for history in (*self._stamps, *self._values):
            history.clear()
        self._heard = [-math.inf] * len(self.keys)
