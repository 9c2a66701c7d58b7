"""The joint trajectory controller's rules, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_adapter_ros.simulation.trajectory_controller import TrajectoryController, TrajectoryError

A, B = "a", "b"


def controller(a: float = 0.0, b: float = 0.0) -> TrajectoryController:
    return TrajectoryController((A, B), np.array([a, b]))


def test_it_holds_until_a_trajectory_comes() -> None:
    position, velocity = controller(0.3, -0.2).sample(7.0)
    assert position.tolist() == [0.3, -0.2] and velocity.tolist() == [0.0, 0.0]


def test_positions_alone_give_straight_lines() -> None:
    c = controller()
    c.accept_trajectory((A, B), 0.0, [1.0, 2.0], [[1.0, 2.0], [1.0, 0.0]], now=10.0)
    position, velocity = c.sample(10.25)
    assert position == pytest.approx([0.25, 0.5]) and velocity == pytest.approx([1.0, 2.0])
    position, velocity = c.sample(11.5)
    assert position == pytest.approx([1.0, 1.0]) and velocity == pytest.approx([0.0, -2.0])


def test_velocities_give_a_cubic() -> None:
    c = controller()
    c.accept_trajectory((A, B), 0.0, [2.0], [[1.0, -1.0]], [[0.0, 0.0]], now=0.0)
    for t in np.linspace(0, 2, 9):
        s = t / 2
        position, velocity = c.sample(t)
        assert position == pytest.approx([3 * s**2 - 2 * s**3, -(3 * s**2 - 2 * s**3)])
        assert velocity[0] == pytest.approx((6 * s - 6 * s**2) / 2)


def test_accelerations_give_a_quintic() -> None:
    c = controller()
    c.accept_trajectory((A, B), 0.0, [2.0], [[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]], now=0.0)
    for t in np.linspace(0, 2, 9):
        s = t / 2
        position, velocity = c.sample(t)
        assert position[0] == pytest.approx(10 * s**3 - 15 * s**4 + 6 * s**5)
        assert velocity[0] == pytest.approx((30 * s**2 - 60 * s**3 + 30 * s**4) / 2)


def test_a_quintic_meets_all_three_values_at_its_points() -> None:
    c = controller(0.1, 0.2)
    rows = [[0.3, -0.1], [0.5, 0.4]]
    c.accept_trajectory(
        (A, B), 0.0, [0.5, 0.9], rows, [[0.7, -0.4], [0.0, 0.0]], [[2.0, 1.0], [0.0, 0.0]], now=0.0
    )
    position, velocity = c.sample(0.5)
    assert position == pytest.approx(rows[0]) and velocity == pytest.approx([0.7, -0.4])
    slopes = [(c.sample(0.5 + e)[1] - c.sample(0.5)[1]) / e for e in (-1e-6, 1e-6)]
    assert slopes[0] == pytest.approx([2.0, 1.0], abs=1e-3)
    assert slopes[1] == pytest.approx([2.0, 1.0], abs=1e-3)


def test_the_last_point_is_held() -> None:
    c = controller()
    c.accept_trajectory((A, B), 0.0, [1.0], [[1.0, 2.0]], now=0.0)
    for t in (1.0, 1.5, 100.0):
        position, velocity = c.sample(t)
        assert position.tolist() == [1.0, 2.0] and velocity.tolist() == [0.0, 0.0]


def test_joints_are_matched_by_name() -> None:
    c = controller()
    c.accept_trajectory((B, A), 0.0, [1.0], [[2.0, 1.0]], [[0.0, 0.0]], now=0.0)
    assert c.sample(1.0)[0].tolist() == [1.0, 2.0]


def test_a_stamp_moves_the_trajectory_in_time() -> None:
    c = controller()
    c.accept_trajectory((A, B), 5.0, [1.0], [[1.0, 1.0]], now=4.0)
    assert c.sample(5.0)[0] == pytest.approx([0.5, 0.5])  # from now, 4 s, to the first point at 6 s
    assert c.sample(6.0)[0] == pytest.approx([1.0, 1.0])


def test_points_in_the_past_are_skipped() -> None:
    c = controller()
    c.accept_trajectory((A, B), 1.0, [0.5, 1.0, 2.0], [[5.0, 5.0], [1.0, 1.0], [2.0, 2.0]], now=2.25)
    assert c.sample(2.25)[0] == pytest.approx([1.25, 1.25])
    assert c.sample(2.75)[0] == pytest.approx([1.75, 1.75])


def test_a_replacement_starts_from_the_desired_state() -> None:
    c = controller()
    c.accept_trajectory((A, B), 0.0, [2.0], [[2.0, 2.0]], [[0.0, 0.0]], now=0.0)
    before = c.sample(1.0)
    c.accept_trajectory((A, B), 0.0, [1.0], [[0.0, 0.0]], [[0.0, 0.0]], now=1.0)
    after = c.sample(1.0)
    assert after[0] == pytest.approx(before[0]) and after[1] == pytest.approx(before[1])
    assert before[1][0] > 1.0  # in motion
    assert c.sample(2.0)[0] == pytest.approx([0.0, 0.0])


@given(
    knots=st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=8),
    switch=st.floats(0.0, 0.75),
)
@settings(max_examples=50, deadline=None)
def test_sending_the_rest_again_changes_nothing(knots: list[float], switch: float) -> None:
    """A sender that repeats the points still to come must not move the arm off its path."""
    times = 0.1 * np.arange(1, len(knots) + 1)
    positions = np.array([[k, -k] for k in knots])
    velocities = np.gradient(positions, 0.1, axis=0)
    velocities[-1] = 0.0
    once, again = controller(), controller()
    once.accept_trajectory((A, B), 1.0, times, positions, velocities, now=1.0)
    again.accept_trajectory((A, B), 1.0, times, positions, velocities, now=1.0)
    left = times > switch
    if left.sum() == 0:
        return
    again.accept_trajectory((A, B), 1.0, times[left], positions[left], velocities[left], now=1.0 + switch)
    for t in np.linspace(1.0 + switch, 2.0, 20):
        assert again.sample(t)[0] == pytest.approx(once.sample(t)[0], abs=1e-9)


NAN = float("nan")


@pytest.mark.parametrize(
    ("names", "start", "times", "positions", "velocities", "accelerations", "text"),
    [
        ((A,), 0.0, [1.0], [[1.0]], None, None, "joints"),
        ((A, "c"), 0.0, [1.0], [[1.0, 1.0]], None, None, "joints"),
        ((A, A), 0.0, [1.0], [[1.0, 1.0]], None, None, "joints"),
        ((A, B), 0.0, [], [], None, None, "no points"),
        ((A, B), 0.0, [1.0, 1.0], [[1.0, 1.0]] * 2, None, None, "rising"),
        ((A, B), 0.0, [1.0, 0.5], [[1.0, 1.0]] * 2, None, None, "rising"),
        ((A, B), 0.0, [-0.1], [[1.0, 1.0]], None, None, "rising"),
        ((A, B), 0.0, [NAN], [[1.0, 1.0]], None, None, "finite"),
        ((A, B), NAN, [1.0], [[1.0, 1.0]], None, None, "finite"),
        ((A, B), 0.0, [1.0], [[1.0, NAN]], None, None, "not finite"),
        ((A, B), 0.0, [1.0], [[1.0, 1.0]], [[0.0, NAN]], None, "not finite"),
        ((A, B), 0.0, [1.0], [[1.0]], None, None, "positions of sizes"),
        ((A, B), 0.0, [1.0], [[]], None, None, "missing"),
        ((A, B), 0.0, [1.0, 2.0], [[1.0, 1.0]] * 2, [[0.0, 0.0], []], None, "velocities of sizes"),
        ((A, B), 0.0, [1.0], [[1.0, 1.0]], [[0.0, 0.1]], None, "last velocities"),
        ((A, B), 0.0, [1.0], [[1.0, 1.0]], None, [[0.0, 0.0]], "without velocities"),
        ((A, B), 0.5, [1.0], [[1.0, 1.0]], None, None, "past"),
    ],
)
def test_bad_trajectories_are_refused_and_the_old_one_goes_on(
    names, start, times, positions, velocities, accelerations, text
) -> None:
    c = controller()
    c.accept_trajectory((A, B), 2.0, [1.0], [[1.0, 1.0]], now=2.0)
    with pytest.raises(TrajectoryError, match=text):
        c.accept_trajectory(names, start, times, positions, velocities, accelerations, now=2.5)
    assert c.sample(2.75)[0] == pytest.approx([0.75, 0.75])


def test_hold_drops_the_trajectory() -> None:
    c = controller()
    c.accept_trajectory((A, B), 0.0, [1.0], [[1.0, 1.0]], now=0.0)
    c.hold(np.array([0.2, 0.1]))
    assert c.sample(0.5)[0].tolist() == [0.2, 0.1]
    with pytest.raises(TrajectoryError, match="finite"):
        c.hold(np.array([0.2, NAN]))


def tolerant(**settings) -> TrajectoryController:
    c = TrajectoryController((A, B), np.zeros(2), **settings)
    c.accept_trajectory((A, B), 0.0, [1.0], [[1.0, 1.0]], now=0.0)
    return c


def test_leaving_the_path_holds_where_the_arm_is() -> None:
    c = tolerant(path_tolerance=0.1)
    assert c.check_tolerances(0.5, np.array([0.45, 0.55])) == ""
    assert "b is 0.150 from the path: allowed is 0.1" in c.check_tolerances(0.5, np.array([0.5, 0.35]))
    assert c.sample(0.9)[0].tolist() == [0.5, 0.35]
    c.accept_trajectory((A, B), 0.0, [1.0], [[1.0, 1.0]], now=2.0)  # and moves again
    assert c.sample(3.0)[0].tolist() == [1.0, 1.0]


def test_the_goal_may_be_reached_a_little_late() -> None:
    c = tolerant(goal_tolerance=0.05, goal_time_s=0.3)
    assert c.check_tolerances(0.5, np.zeros(2)) == "" and c.check_tolerances(1.2, np.zeros(2)) == ""
    assert "from the goal" in c.check_tolerances(1.4, np.array([1.0, 0.8]))
    assert c.sample(2.0)[0].tolist() == [1.0, 0.8]
    late = tolerant(goal_tolerance=0.05, goal_time_s=0.3)
    assert late.check_tolerances(1.4, np.array([1.0, 0.96])) == ""


def test_without_tolerances_nothing_is_dropped() -> None:
    c = tolerant()
    assert (
        c.check_tolerances(0.5, np.array([9.0, 9.0])) == ""
        and c.check_tolerances(5.0, np.array([9.0, 9.0])) == ""
    )
    assert c.sample(5.0)[0].tolist() == [1.0, 1.0]


def test_a_replacement_may_start_from_the_measured_state() -> None:
    """Then the set-point jumps back by the tracking error, which is why it should not be set so."""
    c = TrajectoryController((A, B), np.zeros(2), from_desired=False)
    still = np.zeros(2), np.zeros(2)
    c.accept_trajectory((A, B), 0.0, [1.0], [[1.0, 1.0]], now=0.0, measured=still)
    with pytest.raises(TrajectoryError, match="needs that state"):
        c.accept_trajectory((A, B), 0.0, [1.0], [[2.0, 2.0]], [[0.0, 0.0]], now=0.5)
    measured = np.array([0.4, 0.4]), np.array([0.9, 0.9])
    c.accept_trajectory((A, B), 0.0, [1.0], [[2.0, 2.0]], [[0.0, 0.0]], now=0.5, measured=measured)
    position, velocity = c.sample(0.5)
    assert position.tolist() == [0.4, 0.4] and velocity == pytest.approx([0.9, 0.9])
