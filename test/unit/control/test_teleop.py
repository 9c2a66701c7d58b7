"""A human leads, the policy leads, and nothing jumps in between."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from receiver import CONTRACT, DT, HOME, LIMITS, Arm, make_chunk, ramp, with_safety

from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.teleop import TeleopStream
from vla_adapter_ros.errors import CommandError

DIRECT = dataclasses.replace(CONTRACT, teleop=dataclasses.replace(CONTRACT.teleop, route="direct"))
JOINT_DELTA = dataclasses.replace(CONTRACT, action=dataclasses.replace(CONTRACT.action, space="joint_delta"))


def lead(arm: Arm, targets, gripper: float = 1.0) -> None:
    """One command per tick."""
    for target in targets:
        arm.core.accept_teleop(np.append(target, gripper), arm.now)
        arm.run(DT)


def test_a_human_leads_and_the_command_is_before_limiting():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    lead(arm, [HOME + 0.3] * 120, gripper=0.0)
    assert arm.tick.source == "human" and arm.tick.state == "running"
    np.testing.assert_array_equal(arm.tick.command, np.append(HOME + 0.3, 0.0))
    np.testing.assert_allclose(arm.position, HOME + 0.3, atol=1e-3)
    assert arm.core.gripper_positions == (CONTRACT.grippers[0].closed_position,)
    arm.run(CONTRACT.teleop.timeout_s + 0.1)
    assert arm.tick.source == "none" and arm.tick.state == "idle"
    with pytest.raises(CommandError):
        arm.core.accept_teleop(np.full(8, np.nan), arm.now)
    with pytest.raises(CommandError):
        arm.core.accept_teleop(np.zeros(8), np.nan)
    arm.check()


def test_a_moving_hand_is_followed_without_lag_and_smoothly():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    begin = arm.now
    wave = lambda t: HOME + 0.2 * (1 - np.cos(2.0 * t)) * np.eye(7)[0]  # noqa: E731
    lead(arm, [wave(k * DT) for k in range(300)])
    times = np.arange(100, 290) * DT
    there = np.array(
        [arm.core.setpoint(begin + t + CONTRACT.command.command_delay_s).position for t in times]
    )
    error = np.abs(there - np.array([wave(t) for t in times]))[-150:]
    assert error.max() < 0.02  # the velocity is smoothed over 50 ms
    jerk = arm.derivatives[2][1000:, 0]
    assert np.sqrt(np.mean(jerk**2)) < 10 * 0.2 * 2.0**3
    arm.check()


def test_hand_over_and_back_without_a_jump():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.6)), arm.now)
    arm.run(0.5)
    here = arm.core.setpoint(arm.now + CONTRACT.command.command_delay_s).position
    lead(arm, [here + 0.05 * np.eye(7)[1]] * 45)
    assert arm.tick.source == "human"
    np.testing.assert_allclose(arm.position, here + 0.05 * np.eye(7)[1], atol=0.03)
    for sequence in range(1, 6):
        arm.core.accept_chunk(make_chunk(arm.now, ramp(0.5, start=arm.position), sequence=sequence), arm.now)
        arm.run(0.2)
    assert arm.tick.source == "policy"
    arm.check()


def test_a_far_command_does_not_yank_the_arm():
    arm = Arm(MotionCore(with_safety(first_target_max_distance=0.2)))
    arm.run(0.1)
    lead(arm, [HOME + 0.5] * 50)
    assert arm.tick.state == "gated" and "human's command" in arm.tick.reason
    np.testing.assert_array_equal(arm.position, HOME)
    lead(arm, [HOME + 0.1] * 100)
    assert arm.tick.state == "running"
    np.testing.assert_allclose(arm.position, HOME + 0.1, atol=2e-3)


def test_a_far_command_is_approached_slowly_where_the_contract_says_so():
    arm = Arm(MotionCore(with_safety(first_target="ramp", first_target_max_distance=0.2)))
    arm.run(0.1)
    lead(arm, [HOME + 0.5 * np.eye(7)[0]] * 200)
    assert np.abs(arm.derivatives[0][:, 0]).max() < 0.21 * LIMITS.velocity[0]
    np.testing.assert_allclose(arm.position[0], HOME[0] + 0.5, atol=5e-3)
    arm.check()


def test_after_a_fault_a_human_must_let_go_first():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    lead(arm, [HOME + 0.1] * 30)
    arm.core.hold()
    lead(arm, [HOME + 0.2] * 60)
    assert arm.tick.state == "holding" and arm.tick.source == "none"
    arm.run(CONTRACT.teleop.timeout_s + 0.05)
    lead(arm, [HOME + 0.2] * 80)
    assert arm.tick.source == "human"
    np.testing.assert_allclose(arm.position, HOME + 0.2, atol=2e-3)
    arm.check()


def test_on_the_direct_route_the_controller_yields_and_takes_over_where_the_arm_is():
    arm = Arm(MotionCore(DIRECT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.3)), arm.now)
    arm.run(1.3)
    sent = arm.sent
    arm.path.clear()
    away = arm.position + 0.4
    for k in range(100):
        arm.controller.hold(arm.position + (away - arm.position) * k / 99)  # the human's own driver
        arm.core.accept_teleop(np.append(away, 0.0), arm.now)
        arm.run(DT)
    assert arm.tick.source == "human" and arm.tick.state == "running"
    assert arm.sent == sent and arm.core.setpoint(arm.now) is None
    np.testing.assert_array_equal(arm.tick.command, np.append(away, 0.0))
    arm.run(CONTRACT.teleop.timeout_s + 0.1)
    assert arm.tick.source == "none"
    arm.path.clear()
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.3, start=away), sequence=1), arm.now)
    arm.run(0.6)
    assert arm.tick.source == "policy" and arm.sent > sent
    assert arm.position[0] > away[0] + 0.05
    arm.check()


def test_deltas_are_rows_of_one_period():
    arm = Arm(MotionCore(JOINT_DELTA))
    arm.run(0.1)
    for _ in range(100):  # 0.02 rad per 0.1 s, for 1 s
        arm.core.accept_teleop(np.append(0.02 * np.eye(7)[0], 1.0), arm.now)
        arm.run(DT)
    arm.run(0.5)  # the last row goes on for its period, then nothing more is asked for
    np.testing.assert_allclose(arm.position[0], HOME[0] + 0.2 + 0.02 * 0.9, atol=4e-3)
    np.testing.assert_array_equal(arm.tick.command[:7], np.zeros(7))
    arm.check()


def test_stream_velocity_and_that_it_ends():
    stream = TeleopStream(CONTRACT)
    for k in range(200):
        target = HOME + 0.4 * k * DT
        stream.accept_target(np.append(target, 1.0), target, k * DT)
    np.testing.assert_allclose(stream.velocity, 0.4, rtol=1e-3)
    np.testing.assert_allclose(stream.at(1.99 + 0.05)[0], target + 0.02, rtol=1e-3)
    assert not stream.at(2.3)[1].any()
