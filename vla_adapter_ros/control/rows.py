"""Rows of chunks one by one, unspliced: for simulators that step by action. No limits apply."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.control.chunk import Chunk


class RowStream:
    """Gives every row once, when it is due; a newer chunk takes over at the next row."""

    def __init__(self) -> None:
        self._chunk: Chunk | None = None
        self._given = -np.inf  # time of the newest row given [s]

    def accept(self, chunk: Chunk) -> None:
        """Take rows from `chunk` from now on; one without rows ends the stream."""
        self._chunk = chunk if len(chunk.rows) else None

    def next_row(self, now: float) -> np.ndarray | None:
        """The row that is due at `now` [s], float64 (A,); None if it was given already or there is none."""
        if self._chunk is None:
            return None
        if now < self._given - 1.0 / self._chunk.rate_hz:
            self._given = -np.inf  # the clock was set back
        index = int(np.floor((now - self._chunk.stamp) * self._chunk.rate_hz + 1e-6))
        at = self._chunk.stamp + index / self._chunk.rate_hz
        if not 0 <= index < len(self._chunk.rows) or at < self._given + 0.5 / self._chunk.rate_hz:
            return None
        self._given = at
        return self._chunk.rows[index].copy()
