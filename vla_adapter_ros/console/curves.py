"""What the policy wants against what the arm does: the last seconds of each action dimension."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.control.disagreement import disagreement

KEPT_S = 10.0
SAMPLE_S = 0.05
"""Samples that come closer to each other are left out: the pages draw no more."""
_MOST_CHUNKS = 40  # whose disagreement is kept


@dataclass(frozen=True)
class WantedRows:
    """A chunk as the pages draw it.

    Attributes:
        sequence: Its number.
        start: Time of row 0 [s].
        rate_hz: Rows per second [Hz].
        rows: (H, A), in the units of the contract.
    """

    sequence: int
    start: float
    rate_hz: float
    rows: np.ndarray

    def times(self) -> np.ndarray:
        """Time of each row (H,) [s]."""
        return self.start + np.arange(len(self.rows)) / self.rate_hz


class Curves:
    """Collects samples and chunks from any thread, and gives them as JSON for the pages' scripts.

    Args:
        names: Of the action dimensions (A,).
        scale: See `disagreement`.
    """

    def __init__(self, names: Sequence[str], scale: Sequence[float]) -> None:
        self.names, self._scale = tuple(names), tuple(scale)
        self._lock = threading.Lock()
        self._measured: deque[tuple[float, list[float]]] = deque()
        self._commanded: deque[tuple[float, list[float]]] = deque()
        self._chunk: WantedRows | None = None
        self._strip: deque[tuple[float, float]] = deque(maxlen=_MOST_CHUNKS)  # time, disagreement

    def add_measured(self, time: float, values: Sequence[float]) -> None:
        """The arm at a time [s]: a value per dimension (A,); NaN where nothing measures it."""
        self._add(self._measured, time, values)

    def add_commanded(self, time: float, values: Sequence[float]) -> None:
        """The command before limiting at a time [s] (A,)."""
        self._add(self._commanded, time, values)

    def add_chunk(self, chunk: WantedRows) -> None:
        """What the policy wants from now on."""
        with self._lock:
            before, self._chunk = self._chunk, chunk
            if before is not None and len(before.rows) and len(chunk.rows):
                apart = disagreement(before.times(), before.rows, chunk.times(), chunk.rows, self._scale)
                self._strip.append((chunk.start, apart))

    @property
    def wanted(self) -> WantedRows | None:
        """The newest chunk; None before the first."""
        return self._chunk

    def content(self, *, whole: bool = True, newest_s: float = 1.0) -> dict[str, object]:
        """Everything as JSON has it: times in s, values rounded; what is unknown is None.

        Args:
            whole: Whether to give all that is kept, for a page that has just come; else the newest.
            newest_s: How much is the newest [s].
        """
        with self._lock:
            since = -math.inf if whole or not self._measured else self._measured[-1][0] - newest_s
            return {
                "names": self.names,
                "measured": _rounded(self._measured, since),
                "commanded": _rounded(self._commanded, since),
                "strip": [[round(t, 3), _number(value)] for t, value in self._strip],
                "chunk": None if self._chunk is None else _chunk_json(self._chunk),
            }

    def _add(self, kept: deque[tuple[float, list[float]]], time: float, values: Sequence[float]) -> None:
        with self._lock:
            if kept and time < kept[-1][0] - 1.0:  # time has begun anew, as in a simulation
                kept.clear()
                self._strip.clear()
            if kept and time - kept[-1][0] < SAMPLE_S:
                return
            kept.append((time, [float(value) for value in values]))
            while kept and time - kept[0][0] > KEPT_S:
                kept.popleft()


def _chunk_json(chunk: WantedRows) -> dict[str, object]:
    rows = [[_number(value) for value in row] for row in chunk.rows]
    return {"start": round(chunk.start, 3), "rate": chunk.rate_hz, "rows": rows, "sequence": chunk.sequence}


def _rounded(kept: deque[tuple[float, list[float]]], since: float) -> list[list[object]]:
    return [[round(time, 3), [_number(v) for v in values]] for time, values in kept if time >= since]


def _number(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
