"""How long after its image a chunk arrives: always the same, jittered, or as a trace has it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_adapter_ros.errors import ParameterError

LONGEST_S = 2.0


@dataclass(frozen=True)
class Latency:
    """From an image to the arrival of its chunk. The n-th chunk takes equally long whoever asks.

    Attributes:
        mean_s: Mean [s]; of a trace: added to it.
        jitter: Standard deviation as a fraction of the mean, cut off at two of them.
        trace: What was measured [s], used again and again; empty: none.
        seed: Of the jitter.
    """

    mean_s: float = 0.0
    jitter: float = 0.0
    trace: tuple[float, ...] = ()
    seed: int = 0

    def of(self, number: int) -> float:
        """Of the chunk of this number [s]."""
        if self.trace:
            return self.mean_s + self.trace[number % len(self.trace)]
        if not self.jitter:
            return self.mean_s
        drawn = float(np.clip(np.random.default_rng([self.seed, number]).normal(), -2.0, 2.0))
        return self.mean_s * (1.0 + self.jitter * drawn)

    @property
    def p99(self) -> float:
        """99th percentile [s]."""
        if self.trace:
            return self.mean_s + float(np.percentile(self.trace, 99))
        return self.mean_s * (1.0 + 2.0 * self.jitter)


def read_trace(path: Path) -> tuple[float, ...]:
    """Latencies [s] of a file: a JSON list, or one number per line.

    Raises:
        ParameterError: the file cannot be read, or a number is none from 0 to LONGEST_S.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if text.lstrip().startswith("[") else text.split()
        values = tuple(float(value) for value in found)
    except (OSError, UnicodeError, ValueError, TypeError, RecursionError) as error:
        raise ParameterError(
            f"{path}: allowed is a JSON list of latencies [s], or one per line ({error})"
        ) from None
    if not values or not all(0.0 <= value <= LONGEST_S for value in values):
        raise ParameterError(f"{path}: allowed are latencies from 0 to {LONGEST_S:g} s, at least one")
    return values
