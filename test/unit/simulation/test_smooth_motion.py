"""What a script wishes for, as an arm can follow it."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.simulation.smooth_motion import HAND_ACCELERATION, SmoothMotion

PERIOD_S, LEAD_S = 0.02, 0.1
VELOCITY, ACCELERATION = np.array([1.0, 2.0]), np.array([4.0, 10.0])


def motion() -> SmoothMotion:
    return SmoothMotion(LEAD_S, np.zeros(2), VELOCITY, ACCELERATION)


def follow(wishes: np.ndarray) -> np.ndarray:
    """What is commanded (T, 2) for wishes (T, 2), one per period."""
    moved, commands = motion(), []
    for n, wish in enumerate(wishes):
        moved.lead(n * PERIOD_S, np.zeros(3))
        commands.append(moved.follow(wish))
    return np.array(commands)


def test_the_lead_changes_as_a_hand_would() -> None:
    moved, wanted = motion(), np.array([0.03, 0.0, -0.01])
    leads = np.array([moved.lead(n * PERIOD_S, wanted) for n in range(30)])
    changes = np.linalg.norm(np.diff(leads, axis=0), axis=1)
    assert changes.max() <= HAND_ACCELERATION * PERIOD_S * LEAD_S + 1e-12
    assert np.allclose(leads[-1], wanted) and np.all(np.diff(leads[:, 0]) >= -1e-12)


@pytest.mark.parametrize("far", [0.001, 0.1, 2.0])
def test_a_step_is_reached_within_the_limits_and_not_overshot(far: float) -> None:
    commands = follow(np.tile([far, -far], (300, 1)))
    velocity = np.diff(np.vstack([np.zeros(2), commands]), axis=0) / PERIOD_S
    acceleration = np.diff(np.vstack([np.zeros(2), velocity]), axis=0) / PERIOD_S
    assert np.all(np.abs(velocity) <= VELOCITY) and np.all(np.abs(acceleration) <= ACCELERATION + 1e-9)
    assert np.allclose(commands[-1], [far, -far], atol=1e-3)
    assert np.abs(commands).max() <= far * 1.02 + 0.01


def test_what_an_arm_can_follow_is_followed_at_once() -> None:
    times = np.arange(200) * PERIOD_S
    wishes = np.stack([0.2 - 0.2 * np.cos(times), 0.1 - 0.1 * np.cos(2 * times)], axis=1)
    assert np.allclose(follow(wishes), wishes, atol=1e-9)


def test_time_that_stands_still_moves_nothing() -> None:
    moved = motion()
    for time in (0.0, 0.02):
        moved.lead(time, np.ones(3))
        first = moved.follow(np.ones(2))
    lead = moved.lead(0.02, np.zeros(3)).copy()
    assert np.array_equal(moved.follow(-np.ones(2)), first) and np.array_equal(
        lead, moved.lead(0.01, np.zeros(3))
    )
