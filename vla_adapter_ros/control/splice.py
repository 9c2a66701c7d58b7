"""How rows of overlapping chunks are combined. Joint rows only: grippers always come from the newest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from vla_adapter_ros.control.chunk import Chunk

SPLICES = ("replace", "ensemble", "crossfade")
ENSEMBLE_DECAY = 0.01
"""Weight exp(-decay i) of the i-th chunk counted from the oldest, as published for ACT."""


class Described(Protocol):
    """A chunk's smooth motion, as far as its rows go."""

    chunk: Chunk

    def at(self, time: float) -> np.ndarray:
        """State (3, J) at `time` [s]."""
        ...


def ensembled_rows(chunk: Chunk, rows: np.ndarray, older: Sequence[Described], decay: float) -> np.ndarray:
    """Rows (H, J) averaged with what older chunks say for the same times.

    Args:
        chunk: The newest; its times count.
        rows: Its joint rows (H, J).
        older: Live chunks, oldest first.
        decay: Of the exponential weights; the oldest chunk that speaks for a time weighs most.
    """
    merged = rows.copy()
    for k in range(len(rows)):
        time = chunk.stamp + k / chunk.rate_hz
        votes = [d.at(time)[0] for d in older if d.chunk.stamp <= time <= d.chunk.end + 1e-9] + [rows[k]]
        weights = np.exp(-decay * np.arange(len(votes)))
        merged[k] = weights @ np.array(votes) / weights.sum()
    return merged


def crossfaded_rows(
    chunk: Chunk,
    rows: np.ndarray,
    before: Callable[[float], np.ndarray],
    until: float,
    now: float,
    over_s: float,
) -> np.ndarray:
    """Rows (H, J) that begin as the motion before and become the chunk's own.

    Args:
        chunk: The newest; its times count.
        rows: Its joint rows (H, J).
        before: State (3, J) of the motion so far, as a function of time.
        until: Time at which that ends [s]: beyond, only the chunk counts.
        now: Time of the hand-over [s].
        over_s: Length of the cross-fade [s], > 0.
    """
    merged = rows.copy()
    for k in range(len(rows)):
        time = chunk.stamp + k / chunk.rate_hz
        fraction = min(max((time - now) / min(over_s, max(until - now, 1e-6)), 0.0), 1.0)
        fraction = fraction**2 * (3 - 2 * fraction)  # leaves and arrives without a step in velocity
        if fraction < 1.0 and time <= until:
            merged[k] = fraction * rows[k] + (1.0 - fraction) * before(time)[0]
    return merged
