"""Processor time and memory of another process over time, by psutil."""

from __future__ import annotations

import threading
import time

import numpy as np
import psutil

_PERIOD_S = 0.5


class ProcessProbe:
    """A context that watches a process.

    Args:
        pid: Of the process; its threads count, its children do not.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._samples: list[tuple[float, float]] = []  # time [s], memory [MB]
        self.cpu_s = 0.0
        """Processor time inside the context [s]."""
        self.seconds = 0.0
        """Wall time inside the context [s]."""

    def __enter__(self) -> ProcessProbe:
        self._began, self._cpu = time.monotonic(), self._cpu_time()
        self._thread = threading.Thread(target=self._watch, name="probe", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.cpu_s = self._cpu_time() - self._cpu
        self.seconds = time.monotonic() - self._began

    def memory_figures(self) -> dict[str, float]:
        """Resident memory [MB]: mean of the first and last tenth, peak, and growth over the second half."""
        times, sizes = np.array(self._samples).T
        tenth = max(1, len(sizes) // 10)
        half = len(sizes) // 2
        growth = float(np.polyfit(times[half:], sizes[half:], 1)[0]) * 60 if len(sizes) - half > 1 else 0.0
        return {
            "first_mb": float(sizes[:tenth].mean()),
            "last_mb": float(sizes[-tenth:].mean()),
            "peak_mb": float(sizes.max()),
            "growth_mb_per_minute": growth,
        }

    def _watch(self) -> None:
        while True:
            self._samples.append((time.monotonic(), self._process.memory_info().rss / 1e6))
            if self._ended.wait(_PERIOD_S):
                return

    def _cpu_time(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system
