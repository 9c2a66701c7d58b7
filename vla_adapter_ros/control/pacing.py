"""When the policy should look again, so that the controller never starves."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from vla_adapter_ros.errors import ChunkError


class ChunkPacer:
    """Decides which frames are worth an inference.

    Normally one frame per `execution_horizon` rows. When inference was measured
    to take long, earlier: the new chunk must arrive before the rows run out. At a
    lower speed rows last longer, so that the policy decides at the same places of
    its path.

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
        self.delay_s = 0.0
        """How much later than its image the newest chunk begins [s]."""
        self.pace = 1.0
        """Share of `rate_hz` at which its rows are due."""

    def reset(self) -> None:
        """Make the next frame due, as after a new instruction."""
        self._last = None

    def note_latency(self, latency_s: float) -> None:
        """Add a measured time from frame to published chunk, in the clock of the frames [s]."""
        self._latencies.append(max(latency_s, 0.0))

    @property
    def latency_p99(self) -> float:
        """99th percentile of the noted latencies [s]; 0 before any."""
        return float(np.percentile(np.array(self._latencies), 99)) if self._latencies else 0.0

    def issue(self) -> str:
        """Why the horizon does not fit what was measured so far; empty if it does."""
        rate_hz = self._rate_hz * self.pace
        return budget_complaint(rate_hz, self._rows, self._horizon, self.latency_p99, self.delay_s)

    @property
    def interval_rows(self) -> int:
        """Rows between two inferences now, at full speed."""
        return self._interval_rows(self.pace)

    def take(self, stamp: float, speed: float = 1.0) -> bool:
        """Whether the frame of `stamp` is due; it then counts as taken.

        Args:
            stamp: Of the frame [s].
            speed: At which the controller carries out the rows now, 0.1 to 1.
        """
        last, speed = self._last, speed * self.pace
        wait_s = (self._interval_rows(speed) / speed - 0.5) / self._rate_hz
        if last is not None and last <= stamp < last + wait_s:
            return False
        self._last = stamp
        return True

    def _interval_rows(self, speed: float) -> int:
        passed = _whole((self.latency_p99 - self.delay_s) * self._rate_hz * speed)
        return max(1, min(self._horizon, self._rows - 1 - max(passed, 0)))


def budget_complaint(
    rate_hz: float, rows: int, execution_horizon: int, latency_s: float, delay_s: float = 0.0
) -> str:
    """Why chunks cannot follow each other without a gap; empty if they can.

    A chunk must be ready before the next frame is due (horizon / rate), and before the rows of the one
    before run out (rows - 1 - horizon).

    Args:
        rate_hz: Rows per second.
        rows: Length H of a chunk.
        execution_horizon: Rows executed before the next chunk takes over.
        latency_s: From image stamp to published chunk, or inference alone where that is all that is
            known; 99th percentile [s].
        delay_s: How much later than its image a chunk begins [s].
    """
    waits = _whole(latency_s * rate_hz)
    passed = max(_whole((latency_s - delay_s) * rate_hz), 0)  # rows of a chunk that are past when it comes
    shortest, longest = max(waits, 1), rows - 1 - passed
    if shortest <= execution_horizon <= longest:
        return ""
    needs = f"a chunk takes {latency_s:.3f} s; at {rate_hz:g} Hz this needs execution_horizon"
    if shortest <= longest:
        return f"{needs} {shortest} to {longest}, not {execution_horizon}: set it, or use a GPU or --compile"
    return (
        f"{needs} >= {shortest} and at least {shortest + passed + 1} rows, not {rows}: "
        "use a GPU, --compile, or a longer chunk"
    )


def _whole(rows: float) -> int:
    """Rows that have begun."""
    return math.ceil(rows - 1e-9)
