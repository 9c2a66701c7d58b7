"""A stop exists from every state, and ends exactly at rest."""

from __future__ import annotations

import numpy as np
import pytest
from receiver import DT, LIMITS

from vla_adapter_ros.control.limiter import Limiter
from vla_adapter_ros.control.planner import PlainStop, Planner, Stop


def moving(velocity: float, acceleration: float) -> np.ndarray:
    ones = np.ones(7)
    return np.stack([0.1 * ones, velocity * ones, acceleration * ones])


@pytest.mark.parametrize("state", [moving(0.8, 0.0), moving(-1.0, 3.0), moving(0.0, -5.0)])
def test_a_plain_stop_keeps_the_limits_and_ends_at_rest(state):
    stop = PlainStop(state, LIMITS)
    path = np.array([stop.at(t) for t in np.arange(0.0, stop.duration + 0.01, 0.001)])
    np.testing.assert_allclose(path[0], state)
    assert not path[-1, 1:].any()
    assert (np.abs(path[:, 2]).max(0) <= LIMITS.acceleration * 1.001).all()
    np.testing.assert_allclose(np.diff(path[:-15, 0], axis=0), path[:-16, 1] * 0.001, atol=1e-5)
    low, high = stop.extent()
    assert (low <= path[:, 0].min(0) + 1e-4).all() and (high >= path[:, 0].max(0) - 1e-4).all()


def test_where_ruckig_finds_no_stop_there_is_one_all_the_same(monkeypatch):
    planner = Planner(LIMITS.planned(DT))
    assert isinstance(planner.stop(moving(0.8, 0.0)), Stop)
    monkeypatch.setattr(Planner, "_solve", lambda *_: None)
    limiter = Limiter(LIMITS, DT)
    limiter.restart(moving(0.8, 0.0))
    path = limiter.stop_path()
    assert isinstance(planner.stop(moving(0.8, 0.0)), PlainStop)
    assert len(path) > 3 and not path[-1][1:].any()


@pytest.mark.parametrize("seed", range(20))
def test_the_last_point_of_a_stop_is_exactly_at_rest(seed):
    rng = np.random.default_rng(seed)
    limiter = Limiter(LIMITS, DT)
    limiter.restart(np.stack([rng.normal(0, 0.1, 7), rng.uniform(-1, 1, 7), rng.uniform(-5, 5, 7)]))
    assert not limiter.stop_path()[-1][1:].any()
