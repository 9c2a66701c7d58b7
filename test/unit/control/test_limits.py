"""Plans of piecewise constant jerk keep the full limits once they are sampled and joined by quintics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver import CONTRACT, LIMITS
from reference_math import stopping_time

from vla_adapter_ros.control.limits import Limits, stoppable_velocity
from vla_adapter_ros.control.planner import Planner
from vla_adapter_ros.control.quintic import control_points, state_at

DT = 0.01


def test_jerk_is_the_contract_s_or_a_multiple_of_the_acceleration():
    assert LIMITS.jerk[0] == CONTRACT.limits["fr3_joint1"].jerk
    assert (Limits.of(CONTRACT).jerk > LIMITS.acceleration).all()


def test_the_tighter_limit_wins():
    class Ranges:
        low = LIMITS.low + np.array([1.0, -1.0, 0, 0, 0, 0, -np.inf])
        high = LIMITS.high + np.array([-0.5, 2.0, 0, 0, 0, 0, np.inf])
        velocity = LIMITS.velocity * np.array([0.5, 2.0, 1, 1, 1, 1, np.inf])

    tight = LIMITS.tightened(Ranges)
    assert tight.low[0] == LIMITS.low[0] + 1 and tight.low[1] == LIMITS.low[1]
    assert tight.high[0] == LIMITS.high[0] - 0.5 and tight.high[6] == LIMITS.high[6]
    assert tight.velocity[0] == LIMITS.velocity[0] / 2 and tight.velocity[1] == LIMITS.velocity[1]


@pytest.mark.parametrize("dt", [0.002, 0.01, 0.02])
def test_planned_limits_are_usable(dt):
    planned = LIMITS.planned(dt)
    assert (planned.low < planned.high).all() and (planned.low >= LIMITS.low).all()
    for name in ("velocity", "acceleration", "jerk"):
        share = getattr(planned, name) / getattr(LIMITS, name)
        assert (share > 0.1).all() and (share < 1.0).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5), st.booleans())
def test_a_tick_s_quintic_keeps_the_full_jerk_wherever_the_plan_switches(cuts, up):
    """Any pattern of full jerk, either way, within one tick."""
    planned = LIMITS.planned(DT)
    jerk, sign = planned.jerk[:1], 1.0 if up else -1.0
    times = np.concatenate([[0.0], np.sort(cuts), [1.0]]) * DT
    state = np.zeros((3, 1))
    for step in np.diff(times):
        p, v, a = state
        j = sign * jerk
        state = np.stack(
            [p + v * step + a * step**2 / 2 + j * step**3 / 6, v + a * step + j * step**2 / 2, a + j * step]
        )
        sign = -sign
    points = control_points(np.zeros((3, 1)), state, DT)
    push = np.array([state_at(points, DT, t)[2, 0] for t in np.linspace(0, DT, 200)])
    assert np.abs(np.diff(push)).max() / (DT / 199) <= LIMITS.jerk[0]
    reserve = LIMITS.acceleration[0] - planned.acceleration[0]
    assert np.abs(push).max() <= jerk[0] * DT + reserve


def test_a_stop_needs_no_more_room_and_time_than_announced():
    planned = LIMITS.planned(DT)
    planner, rng = Planner(planned), np.random.default_rng(0)
    for _ in range(200):
        velocity = rng.uniform(-1, 1, 7) * planned.velocity
        push = rng.uniform(-1, 1, 7) * planned.acceleration
        push *= np.abs(velocity + push * np.abs(push) / (2 * planned.jerk)) <= planned.velocity
        stop = planner.stop(np.stack([np.ones(7), velocity, push]))
        assert stop.duration <= stopping_time(LIMITS, DT)
        path = np.array([stop.at(t)[0] for t in np.linspace(0, stop.duration, 100)])
        low, high = stop.extent()
        assert (path >= low - 1e-9).all() and (path <= high + 1e-9).all()
        assert not stop.at(stop.duration)[1:].any()
    room = rng.uniform(0.1, 1.0, 7)
    fast = np.minimum(stoppable_velocity(room, planned), planned.velocity)
    stop = planner.stop(np.stack([np.zeros(7), fast, np.zeros(7)]))
    assert (stop.at(stop.duration)[0] <= room + 1e-9).all()
