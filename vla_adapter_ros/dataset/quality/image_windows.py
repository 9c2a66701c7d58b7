"""Which images of a long episode are looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vla_adapter_ros.dataset.quality.samples import Samples

MAX_WHOLE_ROWS = 100  # up to which all images are decoded: three windows cost as much
_WINDOWS = 3
_WINDOW_S = 0.65  # enough that a camera which is frozen all the time is seen to be
_MIN_WINDOW_ROWS = 16


def windows(samples: Samples) -> np.ndarray:
    """Rows whose images are looked at in a long episode, int (M,): where its state moves most, in each third.

    The first and the last row are among them.
    """
    count = len(samples.state)
    size = max(_MIN_WINDOW_ROWS, math.ceil(_WINDOW_S * samples.fps))
    step = np.zeros(count)
    if samples.state.shape[1]:
        ranges = np.maximum(np.ptp(samples.state, axis=0), 1e-9)
        step[1:] = np.nan_to_num(np.abs(np.diff(samples.state, axis=0) / ranges)).sum(axis=1)
    rows = {0, count - 1}
    for part in np.array_split(np.arange(count), _WINDOWS):
        length = min(size, len(part))
        motion = np.convolve(step[part], np.ones(length), mode="valid")
        first = int(part[0]) + int(motion.argmax())
        rows |= set(range(first, first + length))
    return np.array(sorted(rows))


def spans(looked: np.ndarray | None, count: int) -> Iterator[range]:
    """Rows that follow each other, of those to look at; all of `count` if None."""
    if looked is None:
        yield range(count)
        return
    for part in np.split(looked, np.flatnonzero(np.diff(looked) != 1) + 1):
        yield range(int(part[0]), int(part[-1]) + 1)
