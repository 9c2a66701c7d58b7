"""A policy's motion at another speed: the same path, slower, within the limits, smooth when it changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from receiver import CONTRACT, DT, HOME, LIMITS, SAMPLE_S, Arm, make_chunk

from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.path_time import PathTime
from vla_adapter_ros.control.timeline import ChunkTimeline, SmoothRows
from vla_adapter_ros.errors import ChunkError

SWING = 0.3 * np.array([1.0, 0.4, 0.0, -0.5, 0.0, 0.3, 0.0])
RATE = CONTRACT.rate_hz


def place(path_s: float) -> np.ndarray:
    """Where the policy wants the arm after so much path time [s]."""
    return HOME + SWING * (1 - np.cos(1.5 * max(path_s, 0.0)))


def follow(speed: float, seconds: float, *, changes: dict[float, float] | None = None, **options) -> Arm:
    """An arm that a policy leads along `place`, which looks at where the arm is on it, 4 rows apart."""
    core = MotionCore(CONTRACT, speed=speed, **options)
    arm, told = Arm(core), dict(changes or {})
    arm.run(0.1)
    begun, asked, sequence = arm.now, -np.inf, 0
    path_time = core._sources.path_time
    while arm.now < begun + seconds - 1e-9:
        for at in [at for at in told if arm.now >= begun + at]:
            assert core.set_speed(told.pop(at))[0]
        passed = path_time.between(begun, arm.now)
        if passed >= asked + 4 / RATE - 1e-6:
            asked = passed
            rows = np.array([place(passed + k / RATE) for k in range(8)])
            core.accept_chunk(make_chunk(arm.now, rows, sequence=sequence), arm.now)
            sequence += 1
        arm.run(0.01)
    return arm


def moving(arm: Arm) -> np.ndarray:
    path = np.array(arm.path)
    return path[np.abs(path - HOME).max(axis=1) > 1e-6]


@pytest.mark.parametrize("speed", [0.5, pytest.param(0.2, marks=pytest.mark.slow)])
def test_the_path_is_the_same_and_takes_longer(speed):
    whole, slow = follow(1.0, 1.2), follow(speed, 1.0 / speed)
    for arm, its in ((whole, 1.0), (slow, speed)):
        arm.check()
        assert arm.core.counters.starved_ticks == 0
        times = SAMPLE_S * np.arange(len(arm.path)) + DT - 0.1 - CONTRACT.command.command_delay_s
        wanted = np.array([place(its * time) for time in times])
        assert np.abs(np.array(arm.path) - wanted)[times > 0.5].max() < 0.01  # of a swing of 0.6 rad
    distance = np.abs(moving(slow)[::10, None] - moving(whole)[None, ::4]).max(axis=2).min(axis=1)
    assert distance.max() < 0.005
    peak = np.abs(whole.derivatives[0]).max()
    assert np.abs(slow.derivatives[0]).max() == pytest.approx(speed * peak, rel=0.1)


@pytest.mark.parametrize(
    "splice", ["replace", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ensemble", "crossfade"))]
)
def test_a_change_in_motion_is_smooth(splice):
    arm = follow(1.0, 3.2, changes={0.6: 0.2, 1.2: 1.0, 1.4: 0.5}, splice=splice)
    arm.check()
    assert arm.core.speed == 0.5
    steady = follow(1.0, 2.4, splice=splice)
    path, at = moving(arm), moving(steady)
    assert np.abs(path[::10, None] - at[None, ::4]).max(axis=2).min(axis=1).max() < 0.01
    _, acceleration, jerk = arm.derivatives
    calm, calm_jerk = (np.abs(part).max() for part in steady.derivatives[1:])
    assert np.abs(acceleration).max() < 1.5 * calm + 1.0
    assert np.abs(jerk).max() < max(1.5 * calm_jerk, LIMITS.jerk.min() / 4)


def test_at_full_speed_not_a_bit_differs():
    plain, told = follow(1.0, 0.8), follow(1.0, 0.8, changes={0.5: 1.0})
    np.testing.assert_array_equal(plain.path, told.path)


def test_rows_last_longer_before_an_arm_starves():
    core = MotionCore(CONTRACT, speed=0.25)
    arm = Arm(core)
    arm.run(0.1)
    rows = np.array([place(k / RATE) for k in range(8)])  # 0.7 s
    core.accept_chunk(make_chunk(arm.now, rows), arm.now)
    arm.run(2.7)
    assert core.state == "running" and core.counters.starved_ticks == 0
    arm.run(0.5)
    assert core.state == "holding" and core.counters.starved_ticks > 0
    np.testing.assert_allclose(arm.position, rows[-1], atol=3e-3)
    with pytest.raises(ChunkError, match=r"too late: its last row was due 0\.050 s ago"):
        core.accept_chunk(make_chunk(arm.now - 3.0, rows, sequence=1), arm.now)
    core.accept_chunk(make_chunk(arm.now - 2.0, rows, sequence=1), arm.now)  # 0.5 s of its 0.7 are gone


@pytest.mark.parametrize("reference", ["commanded", "measured"])
def test_deltas_add_up_to_what_was_executed(reference):
    action = dataclasses.replace(CONTRACT.action, space="joint_delta", delta_reference=reference)
    core = MotionCore(dataclasses.replace(CONTRACT, action=action), speed=0.5)
    arm = Arm(core)
    arm.run(0.1)
    step, recorded, sequence = 0.02 * np.eye(7)[0], np.zeros(7), 0
    for tick in range(200):  # 2 s: ten rows' worth of way at half speed
        if tick % 40 == 0:
            chunk = make_chunk(arm.now, np.tile(step, (8, 1)), space="joint_delta", sequence=sequence)
            core.accept_chunk(chunk, arm.now)
            sequence += 1
        arm.run(0.01)
        if tick % 10 == 0:  # a frame at the contract's rate
            recorded += arm.tick.command[:7]
    gone = arm.position - HOME
    assert recorded[0] == pytest.approx(10 * 0.02)
    # The first row waits until the arm has settled; what is decided is due `command_delay_s` later.
    assert gone[0] == pytest.approx(10 * 0.02, abs=0.03)
    arm.check()


def test_a_human_is_not_slowed_down():
    def lead(speed: float) -> np.ndarray:
        core = MotionCore(CONTRACT, speed=speed)
        arm = Arm(core)
        arm.run(0.1)
        for k in range(100):
            core.accept_teleop(np.append(place(0.01 * k), 1.0), arm.now, arm.now)
            arm.run(0.01)
        assert arm.tick.source == "human"
        return np.array(arm.path)

    np.testing.assert_array_equal(lead(1.0), lead(0.1))


def test_a_slow_policy_stops_a_fast_arm_as_soon_as_a_fast_one():
    def excursion(speed: float) -> float:
        timeline = ChunkTimeline(LIMITS, path_time=PathTime(speed))
        moving = np.stack([HOME, np.eye(7)[0], np.zeros(7)])  # 1 rad/s
        timeline.take_over(SmoothRows(make_chunk(0.0, np.tile(HOME, (8, 1))), 7), 0.0, moving)
        return max(np.abs(timeline.at(t)[0] - HOME).max() for t in np.arange(0.0, 0.7, 0.01))

    assert excursion(0.1) == pytest.approx(excursion(1.0))


def test_a_speed_that_is_not_allowed_is_refused_in_a_sentence():
    core = MotionCore(CONTRACT)
    assert core.set_speed(0.05) == (False, "speed = 0.05: allowed is 0.1 to 1")
    assert core.speed == 1.0
    assert core.set_speed(0.3) == (True, "the policy's motion is carried out at 0.3 times its own speed")
    assert core.speed == 0.3
