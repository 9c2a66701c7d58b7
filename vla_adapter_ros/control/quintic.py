"""Quintics between two states, and the smoothest one through timed rows.

A state is float64 (3, J): position, velocity and acceleration. A quintic is
kept by its six control points (Bernstein form, (6, J)): the curve and its
derivatives lie within the hull of theirs, which bounds them without sampling.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_SMOOTHNESS = 1e-5  # weight of acceleration beside jerk: decides where rows are too few for jerk to

# Control points of the derivatives from those of the curve, at unit duration.
_D1 = 5.0 * np.diff(np.eye(6), axis=0)
_D2 = 4.0 * np.diff(np.eye(5), axis=0) @ _D1
_D3 = 3.0 * np.diff(np.eye(4), axis=0) @ _D2
# Control points (6) from both ends' position, velocity, acceleration, at unit duration.
_ENDS = np.array(
    [
        [1, 0, 0, 0, 0, 0],
        [1, 1 / 5, 0, 0, 0, 0],
        [1, 2 / 5, 1 / 20, 0, 0, 0],
        [0, 0, 0, 1, -2 / 5, 1 / 20],
        [0, 0, 0, 1, -1 / 5, 0],
        [0, 0, 0, 1, 0, 0],
    ]
)


def control_points(start: np.ndarray, end: np.ndarray, duration: float) -> np.ndarray:
    """Control points (..., 6, J) of the quintic between two states (..., 3, J), `duration` [s] apart."""
    scale = np.array([[1.0], [duration], [duration**2]])
    return _ENDS[:, :3] @ (start * scale) + _ENDS[:, 3:] @ (end * scale)


def peaks(points: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds of |velocity|, |acceleration| and |jerk| of a quintic: (..., J) each; never too low."""
    return (
        np.abs(_D1 @ points).max(-2) / duration,
        np.abs(_D2 @ points).max(-2) / duration**2,
        np.abs(_D3 @ points).max(-2) / duration**3,
    )


def sampled_peaks(points: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `peaks`, from samples: nearer to the truth for long curves, but possibly a little too low."""
    return (
        np.abs(_SAMPLES[0] @ points).max(-2) / duration,
        np.abs(_SAMPLES[1] @ points).max(-2) / duration**2,
        np.abs(_SAMPLES[2] @ points).max(-2) / duration**3,
    )


def state_at(points: np.ndarray, duration: float, time: float) -> np.ndarray:
    """State (3, J) at `time` [s] from the quintic's start."""
    s = time / duration
    return np.stack(
        [
            _bernstein(5, s) @ points,
            _bernstein(4, s) @ (_D1 @ points) / duration,
            _bernstein(3, s) @ (_D2 @ points) / duration**2,
        ]
    )


def smooth_states(rows: np.ndarray, rate_hz: float) -> np.ndarray:
    """States at timed rows whose quintics have the least squared jerk of all curves through the rows.

    Args:
        rows: float64 (H, J), H >= 1.
        rate_hz: Rows per second.

    Returns:
        float64 (H, 3, J). One row is at rest.
    """
    if len(rows) == 1:
        return np.stack([rows, np.zeros_like(rows), np.zeros_like(rows)], axis=1)
    inverse, pull = _smoothing(len(rows))
    # What the rows ask of velocity and acceleration at each row, then a solve by elimination, block by block.
    asked = np.zeros((len(rows), 2, rows.shape[1]))
    asked[:-1] -= np.einsum("ij,hjk->hik", _ROW_HERE, np.stack([rows[:-1], rows[1:]], axis=1))
    asked[1:] -= np.einsum("ij,hjk->hik", _ROW_NEXT, np.stack([rows[:-1], rows[1:]], axis=1))
    for k in range(1, len(rows)):
        asked[k] -= pull[k].T @ asked[k - 1]
    states = np.empty_like(asked)
    states[-1] = inverse[-1] @ asked[-1]
    for k in range(len(rows) - 2, -1, -1):
        states[k] = inverse[k] @ asked[k] - pull[k + 1] @ states[k + 1]
    scale = np.array([[rate_hz], [rate_hz**2]])
    return np.concatenate([rows[:, None], states * scale], axis=1)


def _bernstein(degree: int, s: float) -> np.ndarray:
    r = 1.0 - s
    if degree == 5:
        return np.array([r**5, 5 * s * r**4, 10 * s**2 * r**3, 10 * s**3 * r**2, 5 * s**4 * r, s**5])
    if degree == 4:
        return np.array([r**4, 4 * s * r**3, 6 * s**2 * r**2, 4 * s**3 * r, s**4])
    if degree == 3:
        return np.array([r**3, 3 * s * r**2, 3 * s**2 * r, s**3])
    return np.array([r**2, 2 * s * r, s**2])


# From control points to velocity, acceleration and jerk at 17 places, at unit duration.
_SAMPLES = [
    np.array([_bernstein(degree, s) for s in np.linspace(0, 1, 17)]) @ derivative
    for degree, derivative in ((4, _D1), (3, _D2), (2, _D3))
]


def _segment_cost() -> np.ndarray:
    """Squared jerk of one segment of unit duration as a quadratic form (6, 6) of both ends' states.

    Integrals of products of Bernstein polynomials. A little squared acceleration decides where rows are
    too few for jerk to.
    """
    jerk = np.array([[6, 3, 1], [3, 4, 3], [1, 3, 6]]) / 30
    push = np.array([[20, 10, 4, 1], [10, 12, 9, 4], [4, 9, 12, 10], [1, 4, 10, 20]]) / 140
    third, second = _D3 @ _ENDS, _D2 @ _ENDS
    return third.T @ jerk @ third + _SMOOTHNESS * second.T @ push @ second


_COST = _segment_cost()
_HERE, _NEXT = [1, 2], [4, 5]  # velocity and acceleration at a segment's ends
_ROW_HERE, _ROW_NEXT = _COST[np.ix_(_HERE, [0, 3])], _COST[np.ix_(_NEXT, [0, 3])]


@lru_cache(maxsize=64)
def _smoothing(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The elimination of the block-tridiagonal system of `count` rows, unit rate.

    Returns:
        Inverses of the pivots (H, 2, 2), and those times the coupling from the row before (H, 2, 2).
    """
    coupling = _COST[np.ix_(_HERE, _NEXT)]
    inverse, pull = np.zeros((count, 2, 2)), np.zeros((count, 2, 2))
    for k in range(count):
        pivot = np.zeros((2, 2))
        if k < count - 1:
            pivot += _COST[np.ix_(_HERE, _HERE)]
        if k > 0:
            pull[k] = inverse[k - 1] @ coupling
            pivot += _COST[np.ix_(_NEXT, _NEXT)] - coupling.T @ pull[k]
        inverse[k] = np.linalg.inv(pivot)
    return inverse, pull
