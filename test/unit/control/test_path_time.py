"""Path time: the clock's until a speed is set, then slower, without steps in its first two derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.control.path_time import RAMP_S, PathTime
from vla_adapter_ros.errors import CommandError

TIMES = np.arange(-1.0, 12.0, 1e-3)


def changed() -> PathTime:
    """Slowed down, told something else before the ramp is over, and sped up again."""
    path_time = PathTime()
    path_time.set_speed(0.1, 1.0)
    path_time.set_speed(0.7, 1.4)
    path_time.set_speed(0.4, 1.5)  # takes the place of 0.7, which had not begun
    path_time.set_speed(1.0, 6.0)
    return path_time


def test_without_a_speed_it_is_the_clock_to_the_last_bit():
    path_time, state = PathTime(), np.random.default_rng(0).normal(size=(3, 7))
    path_time.set_speed(1.0, 3.0)
    for time in (0.1 + 0.2, 1e9 / 7):
        assert path_time.at(time) == time == path_time.time_of(time)
    assert path_time.in_time(state, 4.0) is state


def test_it_passes_at_the_speed_and_changes_without_steps():
    path_time = changed()
    path = np.array([path_time.at(t) for t in TIMES])
    speed, begin = np.diff(path) / 1e-3, TIMES[:-1]
    assert speed[begin < 0.999] == pytest.approx(1.0)
    assert speed[(begin > 2.0 + RAMP_S) & (begin < 5.9)] == pytest.approx(0.4)
    assert speed[begin > 6.0 + RAMP_S] == pytest.approx(1.0)
    assert 0.1 - 1e-9 <= speed.min() and speed.max() <= 1.0 + 1e-9
    slope = np.diff(speed) / 1e-3
    assert np.abs(slope).max() <= 1.5 * 0.9 / RAMP_S + 1e-3
    assert np.abs(np.diff(slope)).max() <= 6 * 0.9 / RAMP_S**2 * 1e-3 + 1e-5


def test_there_and_back():
    path_time = changed()
    assert [path_time.time_of(path_time.at(t)) for t in TIMES] == pytest.approx(TIMES, abs=1e-9)
    assert path_time.between(0.0, 11.0) == path_time.at(11.0) - path_time.at(0.0)


def test_states_in_time_are_derivatives_of_the_path():
    path_time, w = changed(), 3.0

    def position(time: float) -> float:
        return np.sin(w * path_time.at(time))

    for time in (0.5, 1.2, 1.7, 2.3, 4.0, 6.6, 9.0):
        p = path_time.at(time)
        inside = np.array([[np.sin(w * p)], [w * np.cos(w * p)], [-(w**2) * np.sin(w * p)]])
        h = 1e-4
        first = (position(time + h) - position(time - h)) / (2 * h)
        second = (position(time + h) - 2 * position(time) + position(time - h)) / h**2
        assert path_time.in_time(inside, time)[:, 0] == pytest.approx(
            [position(time), first, second], abs=1e-4
        )


def test_a_start_value_counts_from_the_first_moment():
    path_time = PathTime(0.5)
    assert (path_time.at(-2.0), path_time.at(0.0), path_time.at(8.0)) == (-1.0, 0.0, 4.0)
    assert path_time.speed_at(3.0) == 0.5 and path_time.time_of(-1.0) == -2.0
    path_time.set_speed(1.0, 8.0)
    assert path_time.at(8.0) == 4.0 and path_time.between(20.0, 21.0) == pytest.approx(1.0)


def test_a_day_of_changes_is_remembered_as_far_as_anybody_asks():
    path_time = PathTime()
    for k in range(1000):
        path_time.set_speed(0.2 + 0.8 * (k % 2), 2.0 * k)
    now = 2000.0
    assert path_time.at(now) - path_time.at(now - 8.0) == pytest.approx(8.0 * 0.6, abs=0.5)


@pytest.mark.parametrize("speed", [0.0, 0.09, 1.01, -1.0, float("nan"), float("inf")])
def test_other_speeds_are_refused_and_change_nothing(speed):
    path_time = PathTime(0.5)
    with pytest.raises(CommandError, match=r"speed = .*: allowed is 0\.1 to 1"):
        path_time.set_speed(speed, 1.0)
    assert path_time.speed == 0.5 and path_time.at(9.0) == 4.5
