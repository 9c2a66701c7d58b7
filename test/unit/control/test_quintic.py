"""Quintics, and the smoothest way through rows."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.control.quintic import (
    _smoothing,
    control_points,
    peaks,
    sampled_peaks,
    smooth_states,
    state_at,
)

RNG = np.random.default_rng(0)


def sampled(points: np.ndarray, duration: float) -> np.ndarray:
    return np.array([state_at(points, duration, t) for t in np.linspace(0, duration, 400)])


def squared_jerk(states: np.ndarray, period: float) -> float:
    points = control_points(states[:-1], states[1:], period)
    paths = [sampled(p, period)[:, 2] for p in points]
    return float(sum((np.diff(path, axis=0) ** 2).sum() for path in paths))


def test_ends_derivatives_and_bounds():
    start, end, duration = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)), 0.3
    points = control_points(start, end, duration)
    np.testing.assert_allclose(state_at(points, duration, 0.0), start, atol=1e-12)
    np.testing.assert_allclose(state_at(points, duration, duration), end, atol=1e-9)
    path = sampled(points, duration)
    dt = duration / 399
    for order in (0, 1):
        slope = (path[2:, order] - path[:-2, order]) / (2 * dt)
        np.testing.assert_allclose(slope, path[1:-1, order + 1], atol=2e-3 * np.abs(slope).max())
    velocity, acceleration, jerk = peaks(points, duration)
    assert (np.abs(path[:, 1]).max(0) <= velocity + 1e-9).all()
    assert (np.abs(path[:, 2]).max(0) <= acceleration + 1e-9).all()
    assert (np.abs(np.diff(path[:, 2], axis=0)).max(0) / dt <= jerk + 1e-6).all()
    for bound, nearly in zip((velocity, acceleration, jerk), sampled_peaks(points, duration), strict=True):
        assert (nearly <= bound + 1e-9).all() and (nearly > 0.2 * bound).all()
    np.testing.assert_allclose(sampled_peaks(points, duration)[0], np.abs(path[:, 1]).max(0), rtol=0.02)


def test_constant_jerk_is_bounded_exactly():
    jerk, duration = 7.0, 0.01
    end = np.array([[jerk * duration**3 / 6], [jerk * duration**2 / 2], [jerk * duration]])
    assert peaks(control_points(np.zeros((3, 1)), end, duration), duration)[2] == pytest.approx(jerk)


@pytest.mark.parametrize("count", [2, 3, 8, 25])
def test_lines_and_parabolas_have_no_jerk(count):
    t = np.arange(count)[:, None] / 10.0
    rows = 0.3 + 2.0 * t + (0.5 * t**2 if count > 2 else 0.0)
    states = smooth_states(rows, 10.0)
    np.testing.assert_array_equal(states[:, 0], rows)
    np.testing.assert_allclose(states[:, 1], 2.0 + (t if count > 2 else 0.0), atol=1e-3)
    np.testing.assert_allclose(states[:, 2], 1.0 if count > 2 else 0.0, atol=1e-2)


def test_no_other_states_at_the_rows_have_less_jerk():
    rows = RNG.normal(size=(8, 1))
    best = smooth_states(rows, 10.0)
    least = squared_jerk(best, 0.1)
    for _ in range(20):
        other = best.copy()
        other[:, 1:] += RNG.normal(size=(8, 2, 1)) * [[1.0], [10.0]]
        assert squared_jerk(other, 0.1) > least
    central = best.copy()
    central[1:-1, 1] = (rows[2:] - rows[:-2]) * 5
    central[1:-1, 2] = (rows[2:] - 2 * rows[1:-1] + rows[:-2]) * 100
    assert squared_jerk(central, 0.1) > 2 * least


def test_one_row_rests():
    assert not smooth_states(np.ones((1, 3)), 10.0)[:, 1:].any()


def test_a_long_chunk_is_smoothed_in_time_that_grows_with_its_rows():
    """The same curve as that of a part of it, far from the part's ends; 3000 unknowns need no dense solve."""
    rows = np.random.default_rng(0).normal(size=(1000, 3)).cumsum(0)
    states = smooth_states(rows, 10.0)
    np.testing.assert_allclose(states[40:60], smooth_states(rows[:100], 10.0)[40:60], rtol=1e-6, atol=1e-6)
    assert all(np.asarray(part).nbytes < 100_000 for part in _smoothing(1000))
