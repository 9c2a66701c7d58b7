"""What the controller counts since its start."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.control.limits import Step


@dataclass
class Counters:
    """Counts in ticks or chunks; latencies from image stamp to first command [s]."""

    starved_ticks: int = 0
    missed_ticks: int = 0
    rejected_chunks: int = 0
    position_limited: int = 0
    velocity_limited: int = 0
    acceleration_limited: int = 0
    seam_step: float = 0.0
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=500))

    def note_limits(self, step: Step) -> None:
        """Count the limits that were active in a step."""
        self.position_limited += step.position_limited
        self.velocity_limited += step.velocity_limited
        self.acceleration_limited += step.acceleration_limited

    def note_latency(self, latency_s: float) -> None:
        """Add the latency of one chunk."""
        self._latencies.append(latency_s)

    def latency_percentiles(self) -> tuple[float, float]:
        """Median and 99th percentile over the last 500 chunks [s]; zeros before the first."""
        if not self._latencies:
            return 0.0, 0.0
        p50, p99 = np.percentile(np.array(self._latencies), [50, 99])
        return float(p50), float(p99)
