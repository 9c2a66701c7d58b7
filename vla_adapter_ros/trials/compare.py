"""Which of two checkpoints is better, by a test that may be looked at after every trial.

A classical test is valid for a number of trials that was fixed before. Who looks after every trial and stops
at the first p < 0.05 is wrong far more often than once in 20. An e-process may be looked at as often as one
likes: with equal checkpoints the chance that it ever reaches 1 / alpha is at most alpha (Ville's inequality).

Sources:
    Turner, Ly, Grunwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
    stopping", Journal of Statistical Planning and Inference 230, 2024 (pairs of independent outcomes).
    Ramdas, Grunwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statistical
    Science 38, 2023 (mixtures, Ville's inequality).
    McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12,
    1947.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.trials.rates import Rate, success_rate
from vla_adapter_ros.trials.trial import Trial

ALPHA = 0.05
_MOST_MORE = 1000  # trials that are proposed
_RATES = tuple(n / 20 for n in range(1, 20, 2))  # 0.05 to 0.95
_LARGEST_LOG = 700.0  # that a float holds
_Pair = tuple[bool, bool]  # outcomes of A and of B
PAIRS: tuple[_Pair, ...] = ((False, False), (False, True), (True, False), (True, True))


@dataclass(frozen=True)
class Comparison:
    """What is known of two checkpoints.

    Attributes:
        a, b: Their rates over the trials that are compared.
        pairs: Trials of each that are compared: as many of A as of B with each instruction.
        left_out: Trials with an outcome without a partner.
        e_a, e_b: Evidence that A, and that B, is the better one.
        p_value: Of McNemar's exact test, if trials are paired; it counts if their number was fixed before.
        alpha: Chance of ever naming a better one of two equal checkpoints, at most.
        more: About how many further trials of each would show the present difference; None: nobody knows.
    """

    a: Rate
    b: Rate
    pairs: int
    left_out: int
    e_a: float
    e_b: float
    p_value: float | None
    alpha: float
    more: int | None

    @property
    def better(self) -> str:
        """Name of the better checkpoint; empty: it is not known yet."""
        enough = 2 / self.alpha  # two questions are asked: is A better, is B better
        return self.a.checkpoint if self.e_a >= enough else self.b.checkpoint if self.e_b >= enough else ""

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.better:
            most, needed = max(self.e_a, self.e_b), 2 / self.alpha
            return f"{self.better} is better (e-value {most:.3g}, {needed:.3g} needed)"
        if self.pairs == 0:
            return "not enough trials yet: no instruction has trials with an outcome of both checkpoints"
        if self.more is None:
            return "not enough trials yet: at the present difference no number of them would show one"
        if self.more > _MOST_MORE:
            return (
                f"not enough trials yet: more than {_MOST_MORE} more per checkpoint at the present difference"
            )
        return f"not enough trials yet: about {self.more} more per checkpoint at the present difference"


def compare(
    a: Sequence[Trial], b: Sequence[Trial], *, paired: bool = False, alpha: float = ALPHA
) -> Comparison:
    """Compare the runs of two checkpoints, each in the order in which they began.

    The n-th run of A with an instruction is set beside the n-th of B. Runs without an outcome do not count.

    Args:
        a, b: Runs of one checkpoint each.
        paired: Whether such two runs began in the same scene. Then only those that ended differently count,
            and nothing is assumed about scenes; otherwise runs are taken for independent of each other.
        alpha: Chance of ever naming a better one of two equal checkpoints, at most.
    """
    names = [next((t.facts.checkpoint for t in trials), "") for trials in (a, b)]
    matched, left_out = match_trials(a, b, paired=paired)
    counts = dict.fromkeys(PAIRS, 0.0)
    for one, other in matched:
        counts[one.succeeded, other.succeeded] += 1
    rates = [success_rate([pair[at] for pair in matched], checkpoint=names[at]) for at in (0, 1)]
    evidence = evidence_of_paired if paired else evidence_of_independent
    turned = {(y, x): count for (x, y), count in counts.items()}
    e_b, e_a = float(evidence(counts)), float(evidence(turned))
    return Comparison(
        rates[0], rates[1], len(matched), left_out, e_a, e_b,
        mcnemar(int(counts[True, False]), int(counts[False, True])) if paired else None,
        alpha, _more_trials(counts, paired=paired, alpha=alpha),
    )  # fmt: skip


def match_trials(
    a: Sequence[Trial], b: Sequence[Trial], *, paired: bool = False
) -> tuple[list[tuple[Trial, Trial]], int]:
    """The n-th run of A beside the n-th of B, by instruction; and how many labeled runs have no partner.

    Runs without an outcome are passed over before they are counted; where runs are `paired`, after that.
    """
    labeled = sum(trial.outcome is not None for trial in (*a, *b))
    sides: list[dict[str, list[Trial]]] = []
    for trials in (a, b):
        by_instruction: dict[str, list[Trial]] = defaultdict(list)
        for trial in trials:
            if paired or trial.outcome is not None:
                by_instruction[trial.instruction].append(trial)
        sides.append(by_instruction)
    pairs = [
        (one, other)
        for said in sides[0]
        for one, other in zip(sides[0][said], sides[1].get(said, []), strict=False)
        if one.outcome is not None and other.outcome is not None
    ]
    return pairs, labeled - 2 * len(pairs)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test.

    Args:
        only_a, only_b: Pairs in which only A, or only B, succeeded.
    """
    count, fewer = only_a + only_b, min(only_a, only_b)
    return min(1.0, 2 * sum(math.comb(count, k) for k in range(fewer + 1)) / 2**count)


def evidence_of_independent(counts: Mapping[_Pair, Any]) -> Any:
    """E-value against "B is not better than A", from numbers of pairs of independent outcomes.

    For assumed rates a < b, with their mean m, one pair has the factor p_a(x) p_b(y) / (p_m(x) p_m(y)): its
    mean is at most 1 wherever B is not better. Here it is averaged over all assumptions of a grid.
    """
    return _mixture(counts, [_factors(a, b) for a, b in itertools.combinations(_RATES, 2)])


def evidence_of_paired(counts: Mapping[_Pair, Any]) -> Any:
    """As `evidence_of_independent`, of pairs in the same scene: a bet on who succeeds where they differ."""
    bets = [(1 + n / 10) / 2 for n in range(1, 10)]
    same = {(False, False): 0.0, (True, True): 0.0}
    return _mixture(
        counts, [same | {(False, True): math.log(2 * q), (True, False): math.log(2 * (1 - q))} for q in bets]
    )


def _factors(a: float, b: float) -> dict[_Pair, float]:
    """Logarithm of the factor of each pair of outcomes, for assumed rates of A and B."""
    mean = (a + b) / 2

    def chance(rate: float, success: bool) -> float:
        return rate if success else 1 - rate

    return {
        (x, y): math.log(chance(a, x) * chance(b, y) / (chance(mean, x) * chance(mean, y))) for x, y in PAIRS
    }


def _mixture(counts: Mapping[_Pair, Any], assumptions: Sequence[Mapping[_Pair, float]]) -> Any:
    """Mean over assumptions of the product of their factors; of numbers, or of arrays of one shape."""
    logs = [sum(counts[pair] * factor[pair] for pair in PAIRS) for factor in assumptions]
    return np.exp(np.minimum(logs, _LARGEST_LOG)).mean(axis=0)


def _more_trials(counts: Mapping[_Pair, float], *, paired: bool, alpha: float) -> int | None:
    """About how many further pairs bring the evidence to its goal, if they are like those so far."""
    pairs = sum(counts.values())
    if not pairs or counts[True, False] == counts[False, True]:
        return None
    b_leads = counts[False, True] > counts[True, False]
    seen = counts if b_leads else {(y, x): count for (x, y), count in counts.items()}
    evidence = evidence_of_paired if paired else evidence_of_independent
    for more in range(_MOST_MORE + 1):
        if evidence({pair: count * (1 + more / pairs) for pair, count in seen.items()}) >= 2 / alpha:
            return more
    return _MOST_MORE + 1
