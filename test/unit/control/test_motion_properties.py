"""Whatever comes in, what the receiving controller makes of what is sent keeps every limit, at 1 kHz."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver import CONTRACT, DT, HOME, LIMITS, SAMPLE_S, Arm, make_chunk, with_safety
from reference_math import stopping_time

from vla_adapter_ros.contract.schema import Workspace
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.rotation import Pose
from vla_adapter_ros.errors import VlaAdapterError

QUICK = settings(max_examples=25, deadline=None, derandomize=True)
LONG = settings(max_examples=300, deadline=None)
OPEN = with_safety(first_target_max_distance=100.0, tracking_error_max=100.0)

VALID = st.tuples(
    st.just("valid"),
    st.integers(1, 60),  # ticks until the next event
    st.floats(-0.3, 0.1),  # stamp, relative
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.02, 0.2, 1.0]),  # scale of the rows
    st.sampled_from([0.0, 0.5, 3.0]),  # and of their drift per second
)
MALICIOUS = st.tuples(
    st.just("malicious"),
    st.integers(0, 30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e300, 1e6, 4.0]),
    st.sampled_from(
        ["rows", "stamp", "names", "width", "rate", "sequence", "space", "session", "empty", "row"]
    ),
)
HUMAN = st.tuples(
    st.just("human"),
    st.integers(1, 40),
    st.floats(-0.05, 0.05),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.01, 0.3, 3.0, np.nan]),
    st.just(0.0),
)
CALL = st.tuples(
    st.just("call"),
    st.integers(0, 30),
    st.just(0.0),
    st.just(0),
    st.sampled_from(["hold", "stop", "reset", "arm"]),
    st.just(0.0),
)
PLANS = st.lists(st.one_of(VALID, VALID, MALICIOUS, HUMAN, CALL), min_size=1, max_size=7)


class Plane:
    """Kinematics of an arm of two links of 0.4 m, turned in a plane by joints 1 and 2 alone."""

    low, high, velocity = LIMITS.low, LIMITS.high, LIMITS.velocity

    def pose(self, q: np.ndarray) -> Pose:
        a, b = q[0], q[0] + q[1]
        return Pose(np.array([0.4 * (np.cos(a) + np.cos(b)), 0.4 * (np.sin(a) + np.sin(b)), 0.5]), np.eye(3))

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        a, b = q[0], q[0] + q[1]
        rows = np.zeros((6, 7))
        rows[:2, 1] = -0.4 * np.sin(b), 0.4 * np.cos(b)
        rows[:2, 0] = rows[:2, 1] + [-0.4 * np.sin(a), 0.4 * np.cos(a)]
        rows[5, :2] = 1.0
        return rows


def perform(arm: Arm, event: tuple, sequence: int, rng: np.random.Generator) -> None:
    kind, _, offset, _, size, other = event
    core, now = arm.core, arm.now
    ramp = np.arange(8)[:, None] / CONTRACT.rate_hz
    if kind == "call":
        getattr(core, size)()
        return
    if kind == "human":
        core.accept_teleop(np.append(HOME + rng.normal(0, 1, 7) * size, rng.uniform(-1, 2)), now + offset)
        return
    if kind == "valid":
        rows = HOME + rng.normal(0, size, (8, 7)) + ramp * rng.normal(0, 1, 7) * other
        core.accept_chunk(make_chunk(now + offset, rows, sequence=sequence), now)
        return
    chunk = make_chunk(now, HOME + 0.3 * ramp, sequence=sequence)
    changes = {
        "rows": {"rows": np.full((8, 8), size)},
        "stamp": {"stamp": offset},
        "names": {"names": tuple(reversed(chunk.names))},
        "width": {"rows": chunk.rows[:, :5]},
        "rate": {"rate_hz": 0.0 if rng.random() < 0.5 else size},
        "sequence": {"sequence": sequence - 2},
        "space": {"space": "ee_pose"},
        "session": {"session_id": "other", "instruction_id": int(rng.integers(-5, 5))},
        "empty": {"rows": np.zeros((0, 8))},
        "row": {"rows": np.where(rng.random((8, 8)) < 0.1, size, chunk.rows)},
    }
    core.accept_chunk(dataclasses.replace(chunk, **changes[other]), now)


def play(arm: Arm, plan: list[tuple]) -> None:
    """Every event, the time after it, and then until nothing moves any more."""
    arm.run(0.05)
    for sequence, event in enumerate(plan):
        try:
            perform(arm, event, 2 * sequence, np.random.default_rng(event[3]))
        except VlaAdapterError:
            pass  # refusing is right
        arm.run(event[1] * DT)
    arm.run(CONTRACT.teleop.timeout_s + 0.8 + CONTRACT.command.command_delay_s + stopping_time(LIMITS, DT))
    assert arm.resting and arm.core.trajectory(arm.now) is None


def limits_hold(plan: list[tuple], splice: str, publish_every: int, jerk: float | None) -> None:
    contract = OPEN
    if jerk is not None:
        changed = {name: dataclasses.replace(limit, jerk=jerk) for name, limit in OPEN.limits.items()}
        contract = dataclasses.replace(OPEN, limits=changed)
    arm = Arm(MotionCore(contract, splice=splice), publish_every=publish_every)
    play(arm, plan)
    limits = Limits.of(contract)
    arm.check(limits)
    # Not even where one trajectory replaces another does the velocity step by more than dt allows.
    step = np.abs(np.diff(arm.derivatives[0], axis=0))
    assert (step <= limits.acceleration * SAMPLE_S * 1.001).all()


SPLICE, EVERY = st.sampled_from(["replace", "ensemble", "crossfade"]), st.sampled_from([1, 3, 4])
JERK = st.sampled_from([None, 60.0, 800.0])


@QUICK
@given(PLANS, SPLICE, EVERY, JERK)
def test_any_input_stays_within_limits(plan, splice, every, jerk):
    limits_hold(plan, splice, every, jerk)


@pytest.mark.slow
@pytest.mark.timeout(900)
@LONG
@given(PLANS, SPLICE, EVERY, JERK)
def test_any_input_stays_within_limits_long(plan, splice, every, jerk):
    limits_hold(plan, splice, every, jerk)


def _around(point: np.ndarray, by: list[float]) -> tuple[float, ...]:
    return tuple((point + np.array(by)).tolist())


def box_holds(plan: list[tuple]) -> None:
    kinematics = Plane()
    here = kinematics.pose(HOME).position
    workspace = Workspace(_around(here, [-0.15, -0.1, -0.1]), _around(here, [0.02, 0.12, 0.1]))
    arm = Arm(MotionCore(dataclasses.replace(OPEN, workspace=workspace)))
    arm.core.set_kinematics(kinematics)
    play(arm, plan)
    arm.check()
    points = np.array([kinematics.pose(q).position for q in arm.path[::5]])
    assert (points >= np.array(workspace.low) - 1e-6).all()
    assert (points <= np.array(workspace.high) + 1e-6).all()


@QUICK
@given(PLANS)
def test_any_input_stays_inside_the_box(plan):
    box_holds(plan)


@pytest.mark.slow
@pytest.mark.timeout(900)
@LONG
@given(PLANS)
def test_any_input_stays_inside_the_box_long(plan):
    box_holds(plan)


def test_the_box_is_reached_and_slid_along():
    """The check above would also pass if nothing moved: a human asks for the far side of a wall."""
    kinematics = Plane()
    here = kinematics.pose(HOME).position
    workspace = Workspace(_around(here, [-0.5, -0.05, -0.1]), _around(here, [0.5, 0.05, 0.1]))
    arm = Arm(MotionCore(dataclasses.replace(OPEN, workspace=workspace)))
    arm.core.set_kinematics(kinematics)
    arm.run(0.1)
    for _ in range(150):
        arm.core.accept_teleop(np.append(HOME + 0.6 * np.eye(7)[0], 1.0), arm.now)
        arm.run(DT)
    end = kinematics.pose(arm.position).position
    assert workspace.high[1] - 0.004 < end[1] <= workspace.high[1]
    assert arm.core.counters.workspace_limited > 50
    assert np.abs(arm.derivatives[0][-100:]).max() < 1e-3  # at rest there, not trembling
    arm.check()


def test_a_start_outside_the_limits_only_comes_back():
    start = HOME.copy()
    start[0] = LIMITS.high[0] + 0.05
    arm = Arm(MotionCore(OPEN), start=start)
    arm.run(0.05)
    for sequence in range(6):
        rows = np.tile(HOME + np.eye(7)[0] * (LIMITS.high[0] + 0.5 - HOME[0]), (8, 1))
        arm.core.accept_chunk(make_chunk(arm.now, rows, sequence=sequence), arm.now)
        arm.run(0.3)
    path = np.array(arm.path)[:, 0]
    outside = path[:-1] > LIMITS.high[0]
    assert outside.any() and (np.diff(path)[outside] <= 1e-12).all()
    assert path[-1] == pytest.approx(LIMITS.high[0], abs=1e-4)


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(5, 90), st.sampled_from(["stop", "hold"]))
def test_a_stop_from_any_state_ends_in_the_time_that_the_limits_allow(seed, ticks, call):
    rng = np.random.default_rng(seed)
    arm = Arm(MotionCore(OPEN))
    arm.run(0.05)
    for sequence in range(3):
        arm.core.accept_chunk(
            make_chunk(arm.now, HOME + rng.normal(0, 0.6, (8, 7)), sequence=sequence), arm.now
        )
        arm.run(ticks // 3 * DT)
    getattr(arm.core, call)()
    begin = len(arm.path)
    arm.run(1.0)
    moving = np.nonzero(np.abs(np.diff(np.array(arm.path[begin:]), axis=0)).max(1) > 1e-12)[0]
    took = (moving[-1] + 1) * SAMPLE_S if len(moving) else 0.0
    assert took <= 0.03 + 2 * DT + stopping_time(LIMITS, DT)
    arm.check()
