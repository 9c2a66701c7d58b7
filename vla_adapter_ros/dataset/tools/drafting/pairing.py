"""Which state does an action value move? Told by the data first, by names where the data do not tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.dataset.tools.drafting.assignment import least_cost_pairs
from vla_adapter_ros.dataset.tools.drafting.names import similarity

MOST_ROWS = 20_000
LONGEST_LAG_S = 0.5  # an arm that follows its command later than this is told otherwise
CLEAR_FIT, CLEAR_LEAD = 0.8, 0.05  # correlation of a pair that needs no look, and its lead on the next best
NAME_WEIGHT, ORDER_WEIGHT = 0.4, 0.05
_STILL = 1e-4  # standard deviation as a fraction of the largest value that is no motion


@dataclass(frozen=True)
class Pair:
    """An action value and the state value that it moves.

    Attributes:
        state: Place of the state value.
        fit: Correlation of the action with that state `lag` rows later; 0 where one of them rests.
        slope: State over action, by least squares.
        other: Place of the state that fits best beside it; -1 if there is none.
        other_fit: Its correlation.
        doubts: What is doubtful about the pair, in words; empty if nothing is.
    """

    state: int
    fit: float
    slope: float
    other: int
    other_fit: float
    doubts: str


@dataclass(frozen=True)
class Pairing:
    """Pairs of action values and state values.

    Attributes:
        pairs: Place of the action value -> its pair; values without one move no state.
        lag: Rows after which the states follow.
        strength: Mean correlation of the action values that move with their states, 0 to 1.
    """

    pairs: dict[int, Pair]
    lag: int
    strength: float


def pair_values(
    actions: Sequence[np.ndarray],
    states: Sequence[np.ndarray],
    action_names: Sequence[str],
    state_names: Sequence[str],
    fps: float,
    *,
    named: bool,
    differences: bool = False,
) -> Pairing:
    """Pair action values with state values.

    A pair is good if the action is like the state some rows later, in its level and in its changes, and if
    both are called alike. The pairs with the largest sum win; no state is given away twice.

    Args:
        actions, states: Episodes, (T, A) and (T, S) each, as the data has them.
        action_names, state_names: (A,) and (S,).
        fps: Rows per second [Hz].
        named: Whether the names are the data's own.
        differences: Compare actions with the steps of the states from row to row.
    """
    lag, level, change, near = _correlate(actions, states, fps, differences)
    score = 0.4 * np.maximum(level, 0) ** 2 + 0.3 * np.maximum(change, 0) ** 2 + 0.3 * near
    score = np.maximum(score, 0.3 * np.minimum(level, 0) ** 2)
    alike = np.array([[similarity(a, s) for s in state_names] for a in action_names]).reshape(score.shape)
    if not named:
        alike[:] = 0.0
    other_kind = np.array([[is_gripper(a) != is_gripper(s) for s in state_names] for a in action_names])
    order = np.abs(
        np.arange(len(action_names))[:, None] / max(len(action_names), 1)
        - np.arange(len(state_names))[None] / max(len(state_names), 1)
    )
    total = score + NAME_WEIGHT * alike - ORDER_WEIGHT * order
    total -= NAME_WEIGHT / 2 * other_kind.reshape(score.shape) * named
    found = {}
    chosen = least_cost_pairs(-total)
    for action, state in sorted(chosen.items()):
        rest = [n for n in range(len(state_names)) if n != state]
        other = max(rest, key=lambda n: score[action, n], default=-1)
        other_fit = float(level[action, other]) if other >= 0 else 0.0
        fit = float(level[action, state])
        doubts = _doubts(
            fit, score[action, state], score[action, other] if rest else 0.0, alike[action, state],
            bool(other_kind[action, state]) if named else False,
        )  # fmt: skip
        slope = _slope(actions, states, action, state, lag, differences)
        found[action] = Pair(state, fit, slope, other, other_fit, doubts)
    moving = [abs(pair.fit) for pair in found.values() if pair.fit]
    return Pairing(found, lag, float(np.mean(moving)) if moving else 0.0)


def _doubts(fit: float, score: float, next_score: float, alike: float, other_kind: bool) -> str:
    if fit == 0.0:
        return "" if alike == 1.0 else "nothing in the data tells"
    if other_kind:
        return "only one of the names is a gripper's"
    if alike == 1.0 and fit > CLEAR_FIT / 2 and score >= next_score - CLEAR_LEAD:
        return ""
    if abs(fit) < CLEAR_FIT:
        return "a weak fit"
    if fit < 0:
        return "they move against each other"
    if score - next_score < CLEAR_LEAD:
        return "hardly better than the next"
    return "their names differ in side" if alike < 0 else ""


def _correlate(
    actions: Sequence[np.ndarray], states: Sequence[np.ndarray], fps: float, differences: bool
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Best lag [rows], and (A, S) each: correlation of levels and of changes, nearness in value."""
    step = max(1, round(fps / 10))
    best: tuple[float, int, np.ndarray, np.ndarray, np.ndarray] | None = None
    for lag in range(min(round(LONGEST_LAG_S * fps), 15) + 1):
        a_parts, s_parts = _aligned(actions, states, lag, differences)
        if not a_parts:
            continue
        level = _correlation(_centered(a_parts), _centered(s_parts))
        change = _correlation(_changes(a_parts, step), _changes(s_parts, step))
        a, s = np.concatenate(a_parts), np.concatenate(s_parts)
        both = np.outer(_moves(a), _moves(s))
        level, change = level * both, change * both
        variance = a.var(axis=0)
        miss = np.stack([((a - s[:, [n]]) ** 2).mean(axis=0) for n in range(s.shape[1])], axis=1)
        near = np.clip(1 - miss / np.maximum(variance, 1e-12)[:, None], 0, 1) * (level != 0)
        good = float(((np.abs(level) + np.abs(change)).max(axis=1, initial=0.0)).sum())
        if best is None or good > best[0] + 1e-9:
            best = (good, lag, level, change, near)
    if best is None:
        empty = np.zeros((actions[0].shape[1], states[0].shape[1]))
        return 0, empty, empty, empty
    return best[1:]


def _aligned(
    actions: Sequence[np.ndarray], states: Sequence[np.ndarray], lag: int, differences: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Action rows, and the state rows (or steps) `lag` rows later, of episodes that are long enough."""
    a_parts, s_parts, rows = [], [], 0
    for action, state in zip(actions, states, strict=True):
        if differences:
            state = np.diff(state, axis=0)
        count = min(len(action), len(state) - lag)
        if count < 4 or rows > MOST_ROWS:
            continue
        a, s = action[:count], state[lag : lag + count]
        known = np.isfinite(a).all(axis=1) & np.isfinite(s).all(axis=1)
        if known.sum() >= 4:
            a_parts.append(a[known])
            s_parts.append(s[known])
            rows += int(known.sum())
    return a_parts, s_parts


def _centered(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([part - part.mean(axis=0) for part in parts])


def _changes(parts: list[np.ndarray], step: int) -> np.ndarray:
    return np.concatenate([part[step:] - part[:-step] for part in parts])


def _moves(values: np.ndarray) -> np.ndarray:
    """Which columns of (N, D) move, (D,)."""
    return values.std(axis=0) > np.maximum(_STILL * np.abs(values).max(axis=0, initial=0.0), 1e-9)


def _correlation(a: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Correlation of the columns of a (N, A) and s (N, S), -1 to 1; 0 where one of them is constant."""
    if not len(a):
        return np.zeros((a.shape[1], s.shape[1]))
    a, s = a - a.mean(axis=0), s - s.mean(axis=0)
    sizes = [np.sqrt((x**2).sum(axis=0)) for x in (a, s)]
    return np.clip((a.T @ s) / np.maximum(np.outer(*sizes), 1e-12), -1, 1)


def _slope(
    actions: Sequence[np.ndarray], states: Sequence[np.ndarray], action: int, state: int, lag: int,
    differences: bool,
) -> float:  # fmt: skip
    a, s = _aligned(actions, states, lag, differences)
    if not a:
        return 0.0
    x, y = _centered(a)[:, action], _centered(s)[:, state]
    size = float((x * x).sum())
    return float((x * y).sum() / size) if size > 1e-12 else 0.0
