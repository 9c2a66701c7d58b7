"""When the policy should look again, so that the controller never starves."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from vla_adapter_ros.errors import ChunkError


class ChunkPacer:
    """Decides which frames are worth an inference.

    Normally one frame per `execution_horizon` rows. When inference was measured
    to take long, earlier: the new chunk must arrive before the rows run out.

    Args:
        rate_hz: Frames and rows per second.
        rows: Length H of a chunk.
        execution_horizon: Rows meant to be executed per chunk, 1 to H.

    Raises:
        ChunkError: a horizon outside 1 to H.
    """

    def __init__(self, rate_hz: float, rows: int, execution_horizon: int) -> None:
        if not 1 <= execution_horizon <= rows:
            raise ChunkError(f"execution_horizon = {execution_horizon}: allowed is 1 to {rows}")
        self._rate_hz, self._rows, self._horizon = rate_hz, rows, execution_horizon
        self._last: float | None = None
        self._latencies: deque[float] = deque(maxlen=100)

    def reset(self) -> None:
        """Make the next frame due, as after a new instruction."""
        self._last = None

    def note_latency(self, latency_s: float) -> None:
        """Add a measured time from frame to published chunk, in the clock of the frames [s]."""
        self._latencies.append(max(latency_s, 0.0))

    @property
    def interval_rows(self) -> int:
        """Rows between two inferences now."""
        latency = float(np.percentile(np.array(self._latencies), 99)) if self._latencies else 0.0
        spare = self._rows - 1 - math.ceil(latency * self._rate_hz)
        return max(1, min(self._horizon, spare))

    def take(self, stamp: float) -> bool:
        """True if the frame of `stamp` is due; it then counts as taken."""
        due = self._last is None or stamp < self._last
        if not due:
            due = stamp >= self._last + (self.interval_rows - 0.5) / self._rate_hz
        if due:
            self._last = stamp
        return due
