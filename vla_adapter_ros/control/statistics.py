"""What the controller counts since its start."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.control.limiter import Step
from vla_adapter_ros.control.timeline import ChunkTransition


@dataclass
class Counters:
    """Counts in ticks or chunks; steps at transitions and tracking errors in rad (or m), and per s."""

    starved_ticks: int = 0
    missed_ticks: int = 0
    rejected_chunks: int = 0
    position_limited: int = 0
    velocity_limited: int = 0
    acceleration_limited: int = 0
    jerk_limited: int = 0
    workspace_limited: int = 0
    transition_step: float = 0.0
    """Position step between the reference before and after the newest hand-over, which then fades out."""
    transition_velocity: float = 0.0
    """The same of the velocity."""
    transition_step_max: float = 0.0
    tracking_error_max: float = 0.0
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=500))

    def note_limits(self, step: Step) -> None:
        """Count the limits that were active in a step."""
        self.position_limited += step.position_limited
        self.velocity_limited += step.velocity_limited
        self.acceleration_limited += step.acceleration_limited
        self.jerk_limited += step.jerk_limited
        self.workspace_limited += step.workspace_limited

    def count_transition(self, transition: ChunkTransition) -> None:
        """Take in the step of a hand-over."""
        self.transition_step, self.transition_velocity = transition.position, transition.velocity
        self.transition_step_max = max(self.transition_step_max, transition.position)

    def note_latency(self, latency_s: float) -> None:
        """Add the time from image stamp to first command of one chunk [s]."""
        self._latencies.append(latency_s)

    def latency_percentiles(self) -> tuple[float, float]:
        """Median and 99th percentile over the last 500 chunks [s]; zeros before the first."""
        if not self._latencies:
            return 0.0, 0.0
        p50, p99 = np.percentile(np.array(self._latencies), [50, 99])
        return float(p50), float(p99)
