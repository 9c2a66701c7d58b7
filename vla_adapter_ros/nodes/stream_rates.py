"""How often each stream brings something, measured as it comes. No rclpy here; times are passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

WINDOW_S = 2.0
MOST = 400  # samples looked at: 0.4 s of a stream of 1 kHz


class StreamRates:
    """Counts the samples of the last WINDOW_S.

    Args:
        streams: Their names.
    """

    def __init__(self, streams: Iterable[str]) -> None:
        self._times: dict[str, deque[float]] = {stream: deque(maxlen=MOST) for stream in streams}

    def note(self, stream: str, at: float) -> None:
        """A sample of a stream came at `at` [s]."""
        self._times[stream].append(at)

    def rate_hz(self, stream: str, now: float) -> float:
        """Samples per second at `now` [s]; 0 if fewer than two came lately."""
        recent = [at for at in self._times[stream].copy() if now - at <= WINDOW_S]
        span = recent[-1] - recent[0] if recent else 0.0
        return (len(recent) - 1) / span if span > 0.0 else 0.0
