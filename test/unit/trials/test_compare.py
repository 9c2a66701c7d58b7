"""Comparison of two checkpoints: guarantees under repeated looking, matched pairs, what is said."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset.trial_facts import TrialFacts
from vla_adapter_ros.trials.compare import (
    _RATES,
    ALPHA,
    PAIRS,
    _factors,
    compare,
    evidence_of_independent,
    evidence_of_paired,
    match_trials,
    mcnemar,
)
from vla_adapter_ros.trials.trial import Trial

GOAL = 2 / ALPHA


def trials(name: str, ended: str, instruction: str = "lift") -> list[Trial]:
    """A trial per letter: s success, h success with help, f failure, - without an outcome."""
    outcomes = {"s": Outcome.SUCCESS, "h": Outcome.SUCCESS, "f": Outcome.FAILURE, "-": None}
    return [
        Trial("runs", n, instruction, TrialFacts(checkpoint=name, interventions=letter == "h"),
              outcomes[letter], "")
        for n, letter in enumerate(ended)
    ]  # fmt: skip


def ever_named(first: np.ndarray, second: np.ndarray, evidence) -> float:
    """How often a better one is ever named, in N series of T trials, when one looks after each of them."""
    counts = {(x, y): np.cumsum((first == x) & (second == y), axis=1).astype(float) for x, y in PAIRS}
    turned = {(y, x): count for (x, y), count in counts.items()}
    most = np.zeros(len(first))
    for seen in (counts, turned):
        most = np.maximum(most, evidence(seen).max(axis=1))
    return float((most >= GOAL).mean())


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_equal_checkpoints_are_hardly_ever_told_apart_however_often_one_looks(rate):
    rng = np.random.default_rng(7)
    first, second = (rng.uniform(size=(1000, 100)) < rate for _ in range(2))
    assert ever_named(first, second, evidence_of_independent) <= ALPHA


def test_equal_checkpoints_in_scenes_of_their_own_difficulty_neither():
    rng = np.random.default_rng(8)
    scenes = rng.beta(0.4, 0.4, size=(1000, 100))
    first, second = (rng.uniform(size=scenes.shape) < scenes for _ in range(2))
    for evidence in (evidence_of_independent, evidence_of_paired):
        assert ever_named(first, second, evidence) <= ALPHA


def test_a_better_checkpoint_is_found():
    rng = np.random.default_rng(9)
    first, second = rng.uniform(size=(100, 60)) < 0.3, rng.uniform(size=(100, 60)) < 0.8
    for evidence in (evidence_of_independent, evidence_of_paired):
        assert ever_named(first, second, evidence) > 0.9


@pytest.mark.parametrize("evidence", ["independent", "paired"])
def test_each_pair_is_a_fair_bet_wherever_b_is_not_better(evidence):
    """The mean factor of one pair is at most 1: what the guarantee rests on."""
    if evidence == "independent":
        bets = [_factors(a, b) for a, b in itertools.combinations(_RATES, 2)]
        for factors, a, b in itertools.product(bets, np.linspace(0, 1, 21), np.linspace(0, 1, 21)):
            if b <= a:
                chances = {(x, y): (a if x else 1 - a) * (b if y else 1 - b) for x, y in PAIRS}
                assert sum(chances[p] * math.exp(factors[p]) for p in PAIRS) <= 1 + 1e-12
    else:
        for only_a, only_b in ((0.3, 0.3), (0.5, 0.1), (0.5, 0.5)):
            same = (1 - only_a - only_b) / 2
            chances = {(True, False): only_a, (False, True): only_b, (True, True): same, (False, False): same}
            alone = {p: evidence_of_paired({q: float(p == q) for q in PAIRS}) for p in PAIRS}
            assert sum(chances[p] * alone[p] for p in PAIRS) <= 1 + 1e-12


def test_the_exact_test_of_mcnemar():
    assert mcnemar(0, 0) == 1.0 and mcnemar(3, 3) == 1.0
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(0, 6) == pytest.approx(2 / 64)


def test_trials_are_matched_within_an_instruction():
    a = trials("a", "sf-s") + trials("a", "ss", "push")
    b = trials("b", "ffff") + trials("b", "s", "push") + trials("b", "s", "turn")
    pairs, left_out = match_trials(a, b)
    assert [(x.instruction, x.episode, y.episode) for x, y in pairs] == [
        ("lift", 0, 0), ("lift", 1, 1), ("lift", 3, 2), ("push", 0, 0)
    ]  # fmt: skip
    assert left_out == 3
    pairs, _ = match_trials(a, b, paired=True)  # the third scene of A has no outcome
    assert [y.episode for _, y in pairs] == [0, 1, 3, 0]


def test_what_is_said():
    better = compare(trials("a", "f" * 12), trials("b", "s" * 12))
    assert better.better == "b" and better.sentence.startswith("b is better (e-value ")
    assert compare(trials("b", "s" * 12), trials("a", "f" * 12)).better == "b"
    few = compare(trials("a", "ffs"), trials("b", "ssf-"))
    assert few.better == "" and few.pairs == 3 and few.more > 3
    assert (
        few.sentence
        == f"not enough trials yet: about {few.more} more per checkpoint at the present difference"
    )
    grown = compare(trials("a", "ffs" * (1 + few.more // 3)), trials("b", "ssf" * (1 + few.more // 3)))
    assert grown.better == "b" or grown.more <= 3  # the estimate is what it takes
    assert compare(trials("a", "sf"), trials("b", "sf")).more is None
    assert "no number of them" in compare(trials("a", "sf"), trials("b", "sf")).sentence
    assert "no instruction has trials" in compare(trials("a", "--"), trials("b", "s")).sentence
    thousands = compare(trials("a", "sf" * 300 + "f"), trials("b", "sf" * 300 + "s"))
    assert "more than 1000 more" in thousands.sentence


def test_help_is_no_success_of_the_policy():
    assert compare(trials("a", "h" * 12), trials("b", "s" * 12)).better == "b"


def test_pairs_of_the_same_scenes():
    same = compare(trials("a", "sf" * 6), trials("b", "sf" * 6), paired=True)
    assert (same.p_value, same.e_a, same.e_b) == (1.0, 1.0, 1.0)
    found = compare(trials("a", "f" * 10), trials("b", "s" * 10), paired=True)
    assert found.better == "b" and found.p_value == pytest.approx(2 / 1024)
    assert compare(trials("a", "f"), trials("b", "s")).p_value is None
