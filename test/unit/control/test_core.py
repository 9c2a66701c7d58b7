"""The controller without ROS: states, limits, hand-over, starvation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.errors import ChunkError, CommandError

CONTRACT = read_contract("franka_sim")
LIMITS = Limits.of(CONTRACT)
HOME = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8])
DT = 0.01


def make_chunk(stamp: float, arm_rows: np.ndarray, gripper: float = 1.0, **changes) -> Chunk:
    rows = np.column_stack([arm_rows, np.full(len(arm_rows), gripper)])
    chunk = Chunk(stamp, rows, CONTRACT.action_names, CONTRACT.rate_hz, "session", 1, 0)
    return dataclasses.replace(chunk, **changes)


def ramp(speed: float = 0.5, rows: int = 8, start: np.ndarray = HOME) -> np.ndarray:
    return start + np.arange(rows)[:, None] * speed / CONTRACT.rate_hz * np.eye(7)[0]


class Arm:
    """An arm that follows what is sent exactly, as a trajectory controller does."""

    def __init__(self, core: MotionCore, start: np.ndarray = HOME) -> None:
        self.core, self.now, self.position = core, 0.0, start.copy()
        self.path: list[np.ndarray] = [start.copy()]
        self.sent: list[tuple[float, np.ndarray, np.ndarray]] = []

    def run(self, seconds: float, joint_states: bool = True) -> None:
        for _ in range(round(seconds / DT)):
            self.now = round(self.now + DT, 9)
            if joint_states:
                self.core.measure(dict(zip(CONTRACT.arm_joints, self.position, strict=True)), self.now)
            self.tick = self.core.tick(self.now)
            trajectory = self.core.trajectory(self.now)
            if trajectory is not None:
                assert self.now < trajectory.times[0] < self.now + 1.5 * DT
                assert not trajectory.velocities[-1].any()
                assert np.isfinite(trajectory.positions).all()
                self.position = trajectory.positions[0]
                self.sent.append((trajectory.times[0], trajectory.positions[0], trajectory.velocities[0]))
            self.path.append(self.position.copy())


def test_follows_rows_at_their_time_plus_lead():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    rows = ramp()
    arm.core.accept_chunk(make_chunk(arm.now, rows), arm.now)
    start = arm.now
    arm.run(0.55)
    # Row 4 is commanded at start + 0.4 and reached lead_s later.
    reached = {round(t - start, 3): p for t, p, _ in arm.sent}[0.5]
    np.testing.assert_allclose(reached, rows[4], atol=0.01)


def test_starvation_is_a_soft_stop_with_a_reason():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    rows = ramp()
    arm.core.accept_chunk(make_chunk(arm.now, rows), arm.now)
    arm.run(1.5)
    assert arm.tick.state == "holding" and "no action chunk" in arm.tick.reason
    assert arm.core.counters.starved_ticks > 0
    # It brakes after the last row: v^2 / 2a, and no farther.
    beyond = arm.position[0] - rows[-1][0]
    assert 0 < beyond < 0.5**2 / (2 * LIMITS.acceleration[0]) + 0.01
    resting = arm.position
    arm.run(0.5)
    np.testing.assert_array_equal(arm.position, resting)
    assert arm.core.trajectory(arm.now) is None


def test_hand_over_is_continuous_in_position_and_velocity():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.5)), arm.now)
    arm.run(0.4)
    other = ramp(-0.2, start=ramp(0.5)[4] + 0.02)
    arm.core.accept_chunk(make_chunk(arm.now, other, sequence=1), arm.now)
    assert arm.core.counters.seam_step > 0.01
    arm.run(0.5)
    velocities = np.array([v for _, _, v in arm.sent])
    assert np.abs(np.diff(velocities, axis=0)).max() <= LIMITS.acceleration.max() * DT + 1e-9


def test_empty_chunk_stops():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(1.0)), arm.now)
    arm.run(0.4)
    arm.core.accept_chunk(make_chunk(arm.now, np.zeros((0, 7)), instruction_id=2), arm.now)
    stopped_at = arm.now
    arm.run(0.5)
    assert arm.tick.state == "idle"
    last_motion = max(t for t, _, v in arm.sent if v.any())
    assert last_motion - stopped_at < CONTRACT.command.lead_s + 1.0 / LIMITS.acceleration[0] + 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": np.full((8, 8), np.nan)}, "must be finite"),
        ({"names": tuple(reversed(CONTRACT.action_names))}, "columns"),
        ({"rate_hz": 20.0}, "20.0 Hz"),
        ({"stamp": 5.0}, "future"),
        ({"stamp": -5.0}, "too late"),
        ({"space": "ee_delta"}, "ee_delta"),
        ({"rows": np.zeros((8, 3))}, "shape"),
        ({"rows": np.full((8, 8), 0.9)}, "first target"),
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


def test_old_instruction_and_repeated_sequence_are_refused():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(), instruction_id=2, sequence=5), arm.now)
    for change in ({"instruction_id": 1, "sequence": 9}, {"instruction_id": 2, "sequence": 5}):
        with pytest.raises(ChunkError):
            arm.core.accept_chunk(make_chunk(arm.now, ramp(), **change), arm.now)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(), session_id="other"), arm.now)


def test_stale_joint_states_hold():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(1.0, rows=30)), arm.now)
    arm.run(0.3)
    arm.run(0.6, joint_states=False)
    assert arm.tick.state == "holding" and "joint states" in arm.tick.reason
    assert not arm.sent[-1][2].any()


def test_stop_is_latched_until_reset():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(1.0)), arm.now)
    arm.run(0.2)
    arm.core.stop()
    arm.run(0.5)
    resting = arm.position
    arm.core.accept_chunk(make_chunk(arm.now, ramp(start=resting), sequence=1), arm.now)
    arm.run(0.3)
    assert arm.tick.state == "stopped"
    np.testing.assert_array_equal(arm.position, resting)
    arm.core.reset()
    arm.core.accept_chunk(make_chunk(arm.now, ramp(start=resting), sequence=2), arm.now)
    arm.run(0.3)
    assert arm.tick.state == "running" and np.abs(arm.position - resting).max() > 0.01


def test_disarmed_does_not_move():
    arm = Arm(MotionCore(CONTRACT, armed=False))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp()), arm.now)
    arm.run(0.3)
    assert arm.tick.state == "disarmed"
    np.testing.assert_array_equal(arm.position, HOME)


def test_teleoperation_leads_and_is_the_reference_before_limiting():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    target = np.append(HOME + 0.3, 0.0)
    for _ in range(100):
        arm.core.accept_teleop(target, arm.now)
        arm.run(DT)
    assert arm.tick.source == "human"
    np.testing.assert_array_equal(arm.tick.reference, target)
    np.testing.assert_allclose(arm.position, target[:7], atol=2e-3)
    assert arm.core.gripper_position == CONTRACT.gripper.closed_position
    arm.run(CONTRACT.teleop.timeout_s + 0.1)
    assert arm.tick.source == "none" and arm.tick.state == "idle"
    with pytest.raises(CommandError):
        arm.core.accept_teleop(np.full(8, np.nan), arm.now)


def test_arm_moved_by_others_is_not_pulled_back():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.1), gripper=0.0), arm.now)
    arm.run(1.5)
    assert arm.core.gripper_position == CONTRACT.gripper.closed_position
    arm.position = elsewhere = HOME + 0.2
    arm.run(0.2)
    np.testing.assert_array_equal(arm.position, elsewhere)
    assert arm.core.gripper_position is None
    assert arm.tick.reference[-1] == CONTRACT.gripper.open
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.1, start=elsewhere), sequence=1), arm.now)
    arm.run(0.05)
    np.testing.assert_allclose(arm.position, elsewhere, atol=1e-3)


def test_clock_jump_holds():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp()), arm.now)
    arm.run(0.2)
    tick = arm.core.tick(arm.now - 3.0)
    assert tick.state == "holding" and "clock" in tick.reason
    assert arm.core.trajectory(arm.now - 3.0) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 60),  # ticks until the chunk
            st.floats(-0.3, 0.1),  # its stamp, relative
            st.integers(0, 2**32 - 1),
            st.sampled_from([0.05, 0.5, 5.0]),  # scale of its rows
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_chunks_stay_within_limits(plan):
    """Position, velocity and acceleration limits hold whatever valid chunks say."""
    contract = dataclasses.replace(
        CONTRACT, safety=dataclasses.replace(CONTRACT.safety, first_target_max_distance=100.0)
    )
    arm = Arm(MotionCore(contract))
    arm.run(0.05)
    for sequence, (ticks, offset, seed, scale) in enumerate(plan):
        rows = HOME + np.random.default_rng(seed).normal(0, scale, (8, 7))
        try:
            arm.core.accept_chunk(make_chunk(arm.now + offset, rows, sequence=sequence), arm.now)
        except ChunkError:
            pass  # too late or too far in the future: refusing is right
        arm.run(ticks * DT)
    arm.run(2.0)
    path = np.array(arm.path)
    velocity = np.diff(path, axis=0) / DT
    assert (path >= LIMITS.low - 1e-9).all() and (path <= LIMITS.high + 1e-9).all()
    assert (np.abs(velocity) <= LIMITS.velocity + 1e-6).all()
    assert (np.abs(np.diff(velocity, axis=0)) / DT <= LIMITS.acceleration * 1.0001 + 1e-6).all()
    assert not arm.core.trajectory(arm.now)
