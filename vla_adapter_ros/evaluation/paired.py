"""Two ways to do the same episodes: how far apart their rates of success are, with an interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 10_000


def paired_difference(
    first: Sequence[bool], second: Sequence[bool], groups: Sequence[int], seed: int = 0
) -> tuple[float, float, float]:
    """Rate of `first` minus that of `second`, and its 95 % interval by drawing groups anew.

    Args:
        first, second: Success per episode; the n-th of both is the same episode.
        groups: What belongs together, such as the scene of each episode: episodes of a scene are alike.
        seed: Of the draws.

    Returns:
        Difference, lower and upper end.

    Raises:
        ValueError: of different lengths, or none.

    Source:
        Percentile bootstrap over clusters: Efron and Tibshirani 1993, An Introduction to the Bootstrap.
    """
    if not len(first) or not len(first) == len(second) == len(groups):
        raise ValueError(f"{len(first)} and {len(second)} episodes in {len(groups)} groups: must be alike")
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(places, difference)
    counts = np.bincount(places)
    drawn = np.random.default_rng(seed).integers(0, len(names), (DRAWS, len(names)))
    rates = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(difference.mean()), float(low), float(high)
