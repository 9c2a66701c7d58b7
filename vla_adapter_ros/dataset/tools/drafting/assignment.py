"""Pairs rows with columns so that the sum of their costs is least."""

from __future__ import annotations

import numpy as np


def least_cost_pairs(cost: np.ndarray) -> dict[int, int]:
    """Pair each row with a column of its own, or each column with a row where there are fewer columns.

    Args:
        cost: Finite costs, float64 (R, C).

    Returns:
        Row -> column, min(R, C) pairs whose costs have the least sum.

    Source:
        The Hungarian method with potentials (Kuhn 1955, Munkres 1957), one shortest augmenting path per row:
        O(R^2 C). SciPy has the same as linear_sum_assignment; this package does not need SciPy otherwise.
    """
    rows, columns = cost.shape
    if rows > columns:
        return {row: column for column, row in least_cost_pairs(cost.T).items()}
    row_potential, column_potential = np.zeros(rows + 1), np.zeros(columns + 1)
    row_of = np.zeros(columns + 1, dtype=int)  # 1-based; column 0 and row 0 stand for "none"
    for row in range(1, rows + 1):
        row_of[0], column = row, 0
        least = np.full(columns + 1, np.inf)
        before = np.zeros(columns + 1, dtype=int)
        done = np.zeros(columns + 1, dtype=bool)
        while row_of[column]:
            done[column] = True
            at = row_of[column]
            reduced = cost[at - 1] - row_potential[at] - column_potential[1:]
            better = ~done[1:] & (reduced < least[1:])
            least[1:][better], before[1:][better] = reduced[better], column
            free = np.where(done, np.inf, least)
            free[0] = np.inf
            nearest = int(free.argmin())
            step = free[nearest]
            row_potential[row_of[done]] += step
            column_potential[done] -= step
            least[~done] -= step
            column = nearest
        while column:
            row_of[column] = row_of[before[column]]
            column = before[column]
    return {int(row_of[c]) - 1: c - 1 for c in range(1, columns + 1) if row_of[c]}
