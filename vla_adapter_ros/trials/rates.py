"""Success rates with the range in which the true ones lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from vla_adapter_ros.trials.trial import Trial

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """How often a checkpoint did what an instruction says.

    Attributes:
        instruction: What was to be done; empty: any.
        checkpoint: Which checkpoint led.
        trials: Runs with an outcome.
        successes: Those in which the policy succeeded alone.
        helped: Successes that a human helped with; they count as trials, not as successes.
        unlabeled: Runs without an outcome, which do not count.
        low, high: Wilson's interval of the true rate.
    """

    instruction: str
    checkpoint: str
    trials: int
    successes: int
    helped: int
    unlabeled: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Successes per trial; NaN without any trial."""
        return self.successes / self.trials if self.trials else math.nan


def wilson_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Range in which the true rate lies, by the score test; 0 to 1 without any trial.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, spread = successes / trials, z * z / trials
    middle = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def rounded_interval(successes: int, trials: int) -> list[float]:
    """The same as results in files have it: both ends, with four decimals."""
    return [round(end, 4) for end in wilson_interval(successes, trials)]


def success_rate(trials: Sequence[Trial], instruction: str = "", checkpoint: str = "") -> Rate:
    """The rate of some runs, under the names that are given."""
    labeled = [trial for trial in trials if trial.outcome is not None]
    successes = sum(trial.succeeded for trial in labeled)
    helped = sum(trial.outcome == "success" for trial in labeled) - successes
    interval = wilson_interval(successes, len(labeled))
    return Rate(
        instruction, checkpoint, len(labeled), successes, helped, len(trials) - len(labeled), *interval
    )


def success_rates(trials: Sequence[Trial]) -> list[Rate]:
    """Rates by checkpoint and instruction, in the order of the first run of each."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.facts.checkpoint, trial.instruction), []).append(trial)
    return [success_rate(group, said, name) for (name, said), group in groups.items()]
