"""The controller without ROS: states, hand-over, starvation, faults, and how the arm gets going again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from receiver import CONTRACT, DT, HOME, LIMITS, Arm, make_chunk, ramp, with_safety
from reference_math import stopping_time

from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.errors import ChunkError, CommandError

LEAD = CONTRACT.command.command_delay_s
STOP = stopping_time(LIMITS, DT)


def running(speed: float = 0.5, rows: int = 30, seconds: float = 0.4, contract=CONTRACT, **options) -> Arm:
    """An arm in the middle of a chunk."""
    arm = Arm(MotionCore(contract, **options))
    arm.run(0.1)
    if contract.safety.deadman_topic:
        arm.core.deadman(True, arm.now)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(speed, rows)), arm.now)
    arm.run(seconds)
    assert arm.tick.state == "running" and arm.tick.source == "policy"
    return arm


def rests_within(arm: Arm, seconds: float) -> None:
    """The arm stands still from now + seconds on, and what was on the way there kept the limits."""
    arm.run(seconds)
    position = arm.path[-1]
    arm.run(0.5)
    np.testing.assert_allclose(arm.path[-500:], np.broadcast_to(position, (500, 7)), atol=1e-9)
    arm.check()


def test_follows_rows_at_their_time_plus_lead():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    rows = ramp(rows=12)
    arm.core.accept_chunk(make_chunk(arm.now, rows), arm.now)
    start = arm.now
    arm.run(0.9)
    # Row 9 is commanded at start + 0.9 and reached `command_delay_s` later; the start has faded out by then.
    np.testing.assert_allclose(arm.core.setpoint(start + 0.9 + LEAD).position, rows[9], atol=1e-3)
    assert arm.core.counters.jerk_limited == 0
    arm.run(0.1)
    due = arm.core.setpoint(arm.now)
    np.testing.assert_allclose(due.velocity, [0.5, 0, 0, 0, 0, 0, 0], atol=1e-2)
    np.testing.assert_allclose(arm.controller.sample(arm.now)[0], due.position, atol=1e-9)
    np.testing.assert_allclose(arm.core.measured_at(arm.now), arm.path[-10], atol=1e-9)
    arm.check()


@pytest.mark.parametrize("sag", [0.001, 0.002, 0.005, 0.01, 0.015])
def test_the_first_motion_does_not_jerk_by_what_the_arm_hangs_below_its_set_point(sag):
    arm = Arm(MotionCore(CONTRACT), sag=sag)
    arm.run(0.1)
    for sequence in range(3):
        rows = ramp(0.5, start=HOME + 0.1 * sequence * np.eye(7)[0])
        arm.core.accept_chunk(make_chunk(arm.now, rows, sequence=sequence), arm.now)
        arm.run(0.2)
    arm.run(2.0)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.5, start=arm.position), sequence=9), arm.now)
    arm.run(1.5)
    assert arm.resting and arm.position[0] > HOME[0] + 0.4
    arm.check()


def test_starvation_is_a_soft_stop_with_a_reason_and_the_next_chunk_resumes():
    arm = running(rows=8, seconds=0.7)
    last = ramp()[-1]
    arm.run(0.8)
    assert arm.tick.state == "holding" and "no action chunk" in arm.tick.reason
    assert arm.core.counters.starved_ticks > 0
    # It brakes after the last row: v^2 / 2a and the jerk's share, and no farther.
    beyond = arm.position[0] - last[0]
    assert 0 < beyond < 0.5 * STOP
    rests_within(arm, 0.0)
    assert arm.core.trajectory(arm.now) is None
    arm.core.accept_chunk(make_chunk(arm.now, ramp(start=arm.position), sequence=1), arm.now)
    arm.run(0.4)
    assert arm.tick.state == "running" and arm.position[0] > last[0] + beyond


def test_hand_over_is_continuous_in_position_velocity_and_acceleration():
    arm = running(rows=8)
    other = ramp(-0.2, start=ramp(0.5)[4] + 0.02)
    arm.core.accept_chunk(make_chunk(arm.now, other, sequence=1), arm.now)
    assert arm.core.counters.transition_step > 0.01 and arm.core.counters.transition_velocity > 0.5
    arm.run(0.6)
    velocity, _, _ = arm.derivatives
    assert np.abs(np.diff(velocity, axis=0)).max() <= LIMITS.acceleration.max() * 0.001
    np.testing.assert_allclose(arm.core.setpoint(arm.now + LEAD).position, other[6], atol=2e-3)
    arm.check()


@pytest.mark.parametrize("splice", ["replace", "ensemble", "crossfade"])
def test_every_splice_keeps_the_limits_and_noise_is_averaged(splice):
    rng = np.random.default_rng(0)
    arm = Arm(MotionCore(CONTRACT, splice=splice))
    arm.run(0.1)
    begin = arm.now
    for sequence in range(12):
        since = arm.now - begin
        rows = ramp(0.3, start=HOME + 0.3 * since * np.eye(7)[0]) + rng.normal(0, 0.004, 7)
        arm.core.accept_chunk(make_chunk(arm.now, rows, sequence=sequence), arm.now)
        arm.run(0.2)
    assert arm.tick.state == "running"
    wanted = HOME + (arm.now - begin) * 0.3 * np.eye(7)[0]
    np.testing.assert_allclose(arm.core.setpoint(arm.now + LEAD).position, wanted, atol=0.02)
    arm.check()


def test_unknown_splice():
    with pytest.raises(ChunkError, match=r"'blend'.*ensemble"):
        MotionCore(CONTRACT, splice="blend")


def test_empty_chunk_stops():
    arm = running(speed=1.0)
    arm.core.accept_chunk(make_chunk(arm.now, np.zeros((0, 7)), instruction_id=2), arm.now)
    rests_within(arm, LEAD + STOP)
    assert arm.tick.state == "idle"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": np.full((8, 8), np.nan)}, "must be finite"),
        ({"rows": np.full((8, 8), 1e9)}, "beyond"),
        ({"names": tuple(reversed(CONTRACT.action_names))}, "columns"),
        ({"rate_hz": 20.0}, "20.0 Hz"),
        ({"rate_hz": 0.0}, "0.0 Hz"),
        ({"stamp": 5.0}, "future"),
        ({"stamp": -5.0}, "too late"),
        ({"stamp": np.nan}, "stamp nan"),
        ({"space": "ee_delta"}, "ee_delta"),
        ({"rows": np.zeros((8, 3))}, "shape"),
        ({"rows": np.tile(np.append(HOME, 1.0), (1001, 1))}, "1001 rows"),
        ({"rows": np.tile(np.append(HOME, 1.0), (700, 1))}, "at most 60 s"),
        ({"rows": np.append(HOME + 0.6, 1.0)[None]}, "first target"),
    ],
)
def test_bad_chunks_are_refused_and_nothing_moves(change, words):
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    with pytest.raises(ChunkError, match=words):
        arm.core.accept_chunk(make_chunk(**{"stamp": arm.now, "arm_rows": ramp()} | change), arm.now)
    arm.run(0.3)
    assert arm.core.counters.rejected_chunks == 1
    np.testing.assert_array_equal(arm.position, HOME)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(), sequence=1), arm.now)
    arm.run(0.4)
    assert arm.position[0] > 0.02


def test_old_repeated_and_reversed_chunks_are_refused():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(), instruction_id=2, sequence=5), arm.now)
    for change in (
        {"instruction_id": 1, "sequence": 9},
        {"instruction_id": 2, "sequence": 5},
        {"instruction_id": 2, "sequence": 6, "stamp": arm.now - 0.05},
    ):
        with pytest.raises(ChunkError):
            arm.core.accept_chunk(make_chunk(**{"stamp": arm.now, "arm_rows": ramp()} | change), arm.now)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(), session_id="other"), arm.now)
    assert arm.core.newest_chunk == ("other", 1, 0)


def lose_joint_states(arm: Arm) -> None:
    arm.joint_states = False


def follow_badly(arm: Arm) -> None:
    arm.run(DT)
    names = CONTRACT.arm_joints
    arm.core.measure(dict(zip(names, arm.position + 0.4, strict=True)), arm.now)


def release_deadman(arm: Arm) -> None:
    arm.core.deadman(False, arm.now)


def send_nan(arm: Arm) -> None:
    with pytest.raises(ChunkError):
        arm.core.accept_chunk(make_chunk(arm.now, np.full((8, 7), np.nan), sequence=1), arm.now)


def send_absurd(arm: Arm) -> None:
    with pytest.raises(ChunkError):
        arm.core.accept_chunk(make_chunk(arm.now, np.full((8, 7), 1e6), sequence=1), arm.now)


@pytest.mark.parametrize(
    ("cause", "reason", "notice_s"),
    [
        (lose_joint_states, "joint states of", CONTRACT.safety.joint_state_timeout_s),
        (follow_badly, "away from its command", DT),
        (release_deadman, "deadman", 0.0),
        (send_nan, "must be finite", 0.0),
        (send_absurd, "beyond", 0.0),
        (lambda arm: arm.core.hold(), "hold requested", 0.0),
    ],
)
def test_a_fault_stops_within_the_margin_and_waits_for_an_explicit_call(cause, reason, notice_s):
    arm = running(speed=1.0, contract=with_safety(deadman_topic="/deadman", deadman_timeout_s=5.0))
    cause(arm)
    # The lead is cut: what is left is the margin of 30 ms, two ticks, and the stop itself.
    rests_within(arm, notice_s + 0.03 + 2 * DT + STOP)
    assert arm.tick.state == "holding" and reason in arm.tick.reason
    arm.joint_states = True
    arm.core.deadman(True, arm.now)
    arm.run(0.1)
    resting = arm.position
    for call in (lambda: None, arm.core.arm, arm.core.reset):  # none of them moves the arm again
        call()
        with pytest.raises(ChunkError, match="has ended"):
            arm.core.accept_chunk(make_chunk(arm.now, ramp(start=resting), sequence=9), arm.now)
        arm.run(0.3)
        np.testing.assert_array_equal(arm.position, resting)
    assert arm.core.state == "idle"
    arm.core.accept_chunk(make_chunk(arm.now, ramp(start=resting), instruction_id=2), arm.now)
    arm.run(0.4)
    assert arm.tick.state == "running" and arm.position[0] > resting[0] + 0.01
    arm.core.hold()
    arm.run(1.0)
    again = make_chunk(arm.now, ramp(start=arm.position), instruction_id=3)
    arm.core.accept_chunk(again, arm.now)  # a new instruction is an explicit call too
    arm.run(0.2)
    assert arm.tick.state == "running"
    arm.check()


def test_stop_is_latched_until_reset():
    arm = running(speed=1.0)
    arm.core.stop()
    rests_within(arm, 0.03 + 2 * DT + STOP)
    resting = arm.position
    done, message = arm.core.arm()
    assert not done and "call ~/reset first" in message
    with pytest.raises(ChunkError, match="instruction 1, which has ended: stop requested"):
        arm.core.accept_chunk(make_chunk(arm.now, ramp(start=resting), sequence=1), arm.now)
    for number in (8, 9):
        with pytest.raises(ChunkError, match="call ~/reset first"):
            arm.core.accept_chunk(make_chunk(arm.now, ramp(start=resting), instruction_id=number), arm.now)
        arm.core.accept_teleop(np.append(resting + 0.1, 1.0), arm.now)
        arm.run(0.3)
    assert arm.tick.state == "stopped"
    np.testing.assert_array_equal(arm.position, resting)
    arm.core.reset()
    with pytest.raises(ChunkError, match="has ended"):  # it was given while the arm was stopped
        arm.core.accept_chunk(make_chunk(arm.now, ramp(start=resting), instruction_id=9, sequence=1), arm.now)
    arm.run(0.5)
    np.testing.assert_array_equal(arm.position, resting)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(start=resting), instruction_id=10), arm.now)
    arm.run(0.4)
    assert arm.tick.state == "running" and np.abs(arm.position - resting).max() > 0.01


def test_an_instruction_from_before_the_last_stop_is_refused_and_its_policy_hears_so():
    arm = running(speed=0.3, rows=60)
    given = arm.now
    arm.core.stop()
    arm.core.reset()
    arm.run(1.0)
    late = make_chunk(arm.now, ramp(start=arm.position), instruction_id=2, instructed_at=given)
    with pytest.raises(ChunkError, match="too early: stop requested"):
        arm.core.accept_chunk(late, arm.now)
    assert arm.core.newest_chunk[:2] == ("session", 2) and arm.core.ended_instruction == 2
    fresh = make_chunk(arm.now, ramp(start=arm.position), instruction_id=3, instructed_at=arm.now)
    arm.core.accept_chunk(fresh, arm.now)
    # An empty text and a new one at once, while simulated time stands still.
    arm.core.accept_chunk(make_chunk(arm.now, np.zeros((0, 7)), instruction_id=4), arm.now)
    again = make_chunk(arm.now, ramp(start=arm.position), instruction_id=5, instructed_at=arm.now)
    arm.core.accept_chunk(again, arm.now)
    arm.run(0.4)
    assert arm.tick.state == "running"


def test_two_policies_do_not_undo_a_hold_and_a_dead_session_stays_dead():
    arm = running(speed=0.3, rows=60)
    other = make_chunk(arm.now, ramp(0.1, start=arm.position), session_id="other")
    arm.core.accept_chunk(other, arm.now)  # a new instruction of another policy takes the arm
    late = make_chunk(arm.now, ramp(0.3, start=arm.position), sequence=7)
    with pytest.raises(ChunkError, match="session session, which session other has replaced"):
        arm.core.accept_chunk(late, arm.now)
    arm.core.hold()
    rests_within(arm, 0.03 + 2 * DT + STOP)
    for chunk in (late, dataclasses.replace(other, sequence=1), late):
        with pytest.raises(ChunkError):
            arm.core.accept_chunk(dataclasses.replace(chunk, stamp=arm.now), arm.now)
        arm.run(0.2)
    assert arm.tick.state == "holding" and "hold requested" in arm.tick.reason


def test_disarmed_does_not_move():
    arm = Arm(MotionCore(CONTRACT, armed=False))
    arm.run(0.1)
    with pytest.raises(ChunkError, match="call ~/arm"):
        arm.core.accept_chunk(make_chunk(arm.now, ramp()), arm.now)
    arm.core.accept_teleop(np.append(HOME + 0.1, 1.0), arm.now)
    arm.core.hold()
    arm.run(0.3)
    assert arm.tick.state == "disarmed"
    np.testing.assert_array_equal(arm.position, HOME)
    arm.core.stop()
    arm.core.reset()
    assert arm.core.state == "disarmed"  # no way round `arm`
    arm.core.arm()
    assert arm.core.state == "idle"
    with pytest.raises(ChunkError, match="instruction 1, which has ended"):
        arm.core.accept_chunk(make_chunk(arm.now, ramp(), sequence=1), arm.now)


def test_a_far_first_target_is_approached_slowly_where_the_contract_says_so():
    arm = Arm(MotionCore(with_safety(first_target="ramp", first_target_max_distance=0.1)))
    arm.run(0.1)
    target = HOME + 0.5 * np.eye(7)[0]
    for sequence in range(20):
        arm.core.accept_chunk(make_chunk(arm.now, ramp(0.0, start=target), sequence=sequence), arm.now)
        arm.run(0.2)
    velocity, _, _ = arm.derivatives
    assert np.abs(velocity[:, 0]).max() < 0.21 * LIMITS.velocity[0]
    np.testing.assert_allclose(arm.position, target, atol=1e-3)
    begin = len(arm.path)
    for sequence in range(20, 30):
        rows = ramp(0.8, start=target + 0.16 * (sequence - 20) * np.eye(7)[0])
        arm.core.accept_chunk(make_chunk(arm.now, rows, sequence=sequence), arm.now)
        arm.run(0.2)
    assert np.abs(arm.derivatives[0][begin:, 0]).max() > 0.7  # arrived: full speed again
    arm.check()


def test_clock_set_back_stops_smoothly_and_set_forward_holds():
    arm = running(speed=1.0)
    before, velocity = arm.core.setpoint(arm.now).position, arm.core.setpoint(arm.now).velocity
    now = arm.now - 3.0
    tick = arm.core.tick(now)
    assert tick.state == "holding" and "clock" in tick.reason and tick.urgent
    stop = arm.core.trajectory(now)
    assert stop.times[0] == pytest.approx(now + DT)
    np.testing.assert_allclose(stop.positions[0], before + velocity * DT * 2, atol=2e-3)
    assert not stop.velocities[-1].any() and stop.times[-1] < now + 0.05 + STOP

    arm = running(speed=1.0)
    tick = arm.core.tick(arm.now + 60.0)
    assert tick.state == "holding" and "clock" in tick.reason
    assert arm.core.trajectory(arm.now + 60.0) is None


def test_missed_ticks_are_made_up_for():
    arm = running()
    arm.core.tick(arm.now + 5 * DT)
    assert arm.core.counters.missed_ticks == 4
    assert arm.core.setpoint(arm.now + 5 * DT + LEAD).position[0] > 0.1


def test_bad_joint_states_are_refused():
    arm = Arm(MotionCore(CONTRACT))
    for value, words in ((np.nan, "finite"), (1000.0, "1000, the contract's limits are")):
        with pytest.raises(CommandError, match=words):
            arm.core.measure(dict.fromkeys(CONTRACT.arm_joints, value), 0.0)
    arm.joint_states = False
    arm.run(0.1)
    assert arm.tick.state == "idle" and "no joint state of" in arm.tick.reason and "1000" in arm.tick.reason
    done, message = arm.core.arm()
    assert not done and "no joint state" in message


def test_joint_states_are_merged_by_joint_and_each_joint_has_its_age():
    arm = Arm(MotionCore(CONTRACT))
    arm.joint_states = False
    joints = CONTRACT.arm_joints
    for part in (joints[:3], joints[3:]):
        assert "no joint state" in arm.core.tick(arm.now).reason
        arm.core.measure({joint: HOME[joints.index(joint)] for joint in part}, arm.now)
    arm.core.tick(DT)
    assert arm.core.refusal == ""
    for k in range(2, 40):
        arm.core.measure({joint: HOME[joints.index(joint)] for joint in joints[3:]}, k * DT)
        reason = arm.core.tick(k * DT).reason
    assert "joint states of fr3_joint1 are older" in reason and arm.core.refusal == reason


def test_arm_moved_by_others_is_not_pulled_back():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.1), gripper=0.0), arm.now)
    arm.run(1.5)
    assert arm.core.gripper_positions == (CONTRACT.grippers[0].closed_position,)
    elsewhere = HOME + 0.2
    arm.position = elsewhere
    arm.controller.hold(elsewhere)
    arm.path.clear()
    arm.run(0.2)
    np.testing.assert_array_equal(arm.position, elsewhere)
    assert arm.core.gripper_positions is None
    assert arm.tick.command[-1] == CONTRACT.grippers[0].open
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.1, start=elsewhere), sequence=1), arm.now)
    arm.run(0.05)
    np.testing.assert_allclose(arm.position, elsewhere, atol=1e-3)
    arm.check()


def test_today_s_clock_costs_no_accuracy():
    """At 1.7e9 s a float resolves 0.2 us; jerk would notice, so points come in exact numbers as well."""
    arm = Arm(MotionCore(CONTRACT), begin=1.7e9)
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp()), arm.now)
    arm.run(0.4)
    trajectory = arm.core.trajectory(arm.now)
    np.testing.assert_allclose(np.diff(trajectory.offsets), DT, rtol=1e-12)
    assert trajectory.start_ns % round(DT * 1e9) == arm.core.trajectory(arm.now + DT).start_ns % round(
        DT * 1e9
    )


def test_latency_is_counted_from_the_image():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.3)
    arm.core.accept_chunk(make_chunk(arm.now - 0.09, ramp()), arm.now)
    arm.run(0.1)
    p50, p99 = arm.core.counters.latency_percentiles()
    assert p50 == p99 == pytest.approx(0.09 + DT)


def test_scaled_columns_are_recorded_as_they_came():
    dimensions = tuple(
        dataclasses.replace(d, scale=0.5) if d.name != "gripper" else d for d in CONTRACT.action.dimensions
    )
    contract = dataclasses.replace(
        CONTRACT, action=dataclasses.replace(CONTRACT.action, dimensions=dimensions)
    )
    arm = Arm(MotionCore(contract))
    arm.run(0.1)
    np.testing.assert_allclose(arm.tick.command[:7], 2 * HOME)
    rows = ramp(rows=30)
    arm.core.accept_chunk(make_chunk(arm.now, 2 * rows), arm.now)
    start = arm.now
    arm.run(0.8)
    np.testing.assert_allclose(arm.tick.command[:7], 2 * rows[8], atol=1e-2)
    np.testing.assert_allclose(arm.core.setpoint(start + 0.8 + LEAD).position, rows[8], atol=5e-3)


def test_a_joint_state_from_the_future_does_not_hide_those_that_follow():
    arm = running()
    far = dict(zip(CONTRACT.arm_joints, HOME + 1.0, strict=True))
    with pytest.raises(CommandError, match=r"100\.00 s in the future"):
        arm.core.measure(far, arm.now + 100.0)
    arm.run(0.3)
    assert arm.tick.state == "running"
    np.testing.assert_allclose(arm.core.measured_at(arm.now), arm.path[-10], atol=1e-9)
