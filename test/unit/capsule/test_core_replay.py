"""A core that is given a state in motion does what the first one did, to the last bit."""

from __future__ import annotations

import dataclasses
import json

import fuzz
import numpy as np
import pytest
from receiver import CONTRACT, HOME, Arm, make_chunk, ramp

from vla_adapter_ros.capsule import core_replay, recorded_core
from vla_adapter_ros.capsule.core_replay import CoreSettings, replay_core
from vla_adapter_ros.capsule.recorded_core import Call, RecordedCore
from vla_adapter_ros.capsule.values import from_plain, to_plain
from vla_adapter_ros.control import MotionCore, core_state
from vla_adapter_ros.control.chunk_intake import ChunkIntake
from vla_adapter_ros.control.core_state import freeze, restore
from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.planner import Planner
from vla_adapter_ros.errors import CapsuleError, ChunkError, CommandError


@pytest.fixture(autouse=True)
def short_ring(monkeypatch):
    monkeypatch.setattr(recorded_core, "SEGMENT_S", 0.3)
    monkeypatch.setattr(recorded_core, "KEPT_S", 1.2)


def through_json(value):
    return from_plain(json.loads(json.dumps(to_plain(value), allow_nan=False)))


def replayed(core: RecordedCore, change=lambda calls: calls):
    """The result of a replay of what a core remembers, as it comes out of a file."""
    snapshot, calls = core.recorded()
    if not isinstance(snapshot.kinematics, fuzz.Plane):  # a stand-in of the fuzz that no file knows
        snapshot = snapshot._replace(state=through_json(snapshot.state))
        calls = [Call(*(through_json(part) for part in call)) for call in calls]
    settings = CoreSettings(core.period_s, core._sources.timeline.splice)
    return replay_core(core.contract, settings, snapshot, change(calls))


def moving(core: RecordedCore) -> bool:
    """Whether the arm was in motion when the oldest snapshot was taken."""
    state = core.recorded()[0].state
    return bool(state["motion"]["_committed"]) and bool(state["limiter"]["state"][1:].any())


def in_motion(contract=CONTRACT, seconds=3.0, **options) -> Arm:
    """An arm that has followed chunks for a while, to and fro."""
    arm = Arm(RecordedCore(contract, **options))
    arm.run(0.1)
    for k in range(round(seconds / 0.3)):
        speed = 0.4 if k % 4 < 2 else -0.4
        chunk = make_chunk(arm.now, ramp(speed, 12, start=arm.position), sequence=k)
        arm.core.accept_chunk(chunk, arm.now)
        arm.run(0.3)
    return arm


@pytest.mark.parametrize(
    "splice", ["replace", *(pytest.param(s, marks=pytest.mark.slow) for s in ("ensemble", "crossfade"))]
)
def test_a_motion_is_replayed_from_its_middle(splice):
    arm = in_motion(splice=splice, seconds=1.5)
    assert moving(arm.core)
    result = replayed(arm.core)
    assert str(result) == f"identical: {result.ticks} of {result.ticks} ticks" and result.ticks >= 100


EVENTS = {
    "silent joints": lambda arm: setattr(arm, "joint_states", False),
    "tracking fault": lambda arm: setattr(arm, "sag", 1.0),
    "no processor": lambda arm: arm.starve(0.9),  # a fault
    "human": lambda arm: human(arm, 0.3),
    "stop": lambda arm: arm.core.stop(),
    "home": lambda arm: (
        arm.core.hold(), arm.run(0.6), arm.core.home(CONTRACT.arm_joints, (HOME + 0.2).tolist()),
    ),
    "hold": lambda arm: arm.core.hold(),
    "speed": lambda arm: arm.core.set_speed(0.3),
    "foreign": lambda arm: arm.core.foreign("another node"),
    "policy gone": lambda arm: arm.core.end_instruction("the policy is gone"),
    "activation": lambda arm: arm.core.activate(arm.now),
    "short gap": lambda arm: arm.starve(0.2),
    "refused chunk": lambda arm: refused(arm),
}  # fmt: skip
QUICK = 4  # of them


@pytest.mark.parametrize(
    "event",
    [pytest.param(name, marks=pytest.mark.slow if n >= QUICK else ()) for n, name in enumerate(EVENTS)],
)
def test_what_befalls_a_motion_is_replayed_before_within_and_after(event):
    arm = in_motion(seconds=0.6)
    EVENTS[event](arm)
    for _ in range(3):  # the event is in the middle of the ring, then before its beginning
        arm.run(0.5)
        result = replayed(arm.core)
        assert not result.text, str(result)


def human(arm: Arm, seconds: float) -> None:
    for k in range(round(seconds * 50)):
        command = np.append(arm.position + 0.002 * k, 1.0)
        arm.core.accept_teleop(command, arm.now, arm.now)
        arm.run(0.02)


def refused(arm: Arm) -> None:
    rows = ramp(0.4, 12, start=arm.position)
    rows[3, 2] = np.nan
    with pytest.raises(ChunkError):
        arm.core.accept_chunk(make_chunk(arm.now, rows, sequence=99), arm.now)


@pytest.mark.parametrize("seed", [pytest.param(n, marks=pytest.mark.slow) for n in range(30, 90)])
def test_a_random_life_is_replayed(seed, monkeypatch):
    monkeypatch.setattr(fuzz, "MotionCore", RecordedCore)
    life = fuzz.Life(seed)
    life.arm.run(0.1)
    for _ in range(10):
        event = [life.chunk, life.odd, life.human, life.call, life.starve, life.device][life.rng.integers(6)]
        event()
        life.arm.run(0.3)
        result = replayed(life.arm.core)
        assert not result.text, str(result)


def test_kinematics_come_back_from_the_urdf():
    if fuzz.kinematics() is None:
        pytest.skip("kinematics need pinocchio")
    contract = dataclasses.replace(fuzz.read_contract("franka_sim_ee"), cameras={})
    core = RecordedCore(contract)
    core.set_kinematics(fuzz.kinematics())
    arm = Arm(core)
    arm.run(0.1)
    for k in range(6):
        rows = np.column_stack([np.full((8, 6), 0.002), np.ones(8)])
        chunk = make_chunk(arm.now, rows[:, :6], names=contract.action_names, sequence=k, rows=rows)
        core.accept_chunk(dataclasses.replace(chunk, space=contract.action.space), arm.now)
        arm.run(0.3)
    assert moving(core)
    snapshot, calls = core.recorded()
    snapshot = type(snapshot)(*(through_json(part) for part in snapshot))
    result = replay_core(contract, CoreSettings(core.period_s, "replace"), snapshot, calls)
    assert not result.text, str(result)


READS = {
    "accept_chunk",  # consists of others
    "chunk_rows",  # touches no state
    "measured_at",
}


def test_every_call_that_may_change_the_core_is_remembered_and_repeated():
    public = {
        name
        for name, member in vars(MotionCore).items()
        if callable(member) and not name.startswith("_") and not isinstance(member, property)
    }
    assert public - READS == {*vars(RecordedCore)} & public
    assert {*core_replay._CALLS} == public - READS


def test_the_state_has_every_part_of_the_core():
    core = MotionCore(CONTRACT)
    to_plain(freeze(core))  # an object that is neither a part nor a value cannot be written
    known = {id(part) for part in core_state._parts(core).values()}
    waiting, seen = [core], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or not type(thing).__module__.startswith("vla_adapter_ros.control"):
            continue
        seen.add(id(thing))
        constant = isinstance(thing, (MotionCore, ChunkIntake, Limits, Planner, Ending, EndedBy))
        assert constant or id(thing) in known, f"{thing} is no part: see control/core_state.py"
        for value in vars(thing).values():
            waiting += [
                item for item in (value if isinstance(value, list) else [value]) if hasattr(item, "__dict__")
            ]


def test_the_first_tick_that_differs_is_told_with_both_values():
    arm = in_motion(seconds=0.9)
    core = arm.core
    for _ in range(20):
        arm.run(0.01)
        core.setpoint(arm.now)
    snapshot, calls = core.recorded()
    place = [n for n, call in enumerate(calls) if call.name == "setpoint"][10]
    right = calls[place].outcome
    wrong = dataclasses.replace(right, position=right.position + np.array([0, 0, 1e-15, 0, 0, 0, 0]))
    calls[place] = calls[place]._replace(outcome=wrong)
    result = replay_core(CONTRACT, CoreSettings(core.period_s, "replace"), snapshot, calls)
    assert result.identical == result.ticks - 9  # the tick before, and all that came before it
    assert result.at == pytest.approx(calls[place].arguments[0])
    assert "setpoint.position[2] is np.float64(" in result.text and result.text.endswith(" here")


def test_another_core_is_found_out():
    arm = in_motion(seconds=0.9)
    snapshot, calls = arm.core.recorded()
    weaker = {name: dataclasses.replace(limit, jerk=50.0) for name, limit in CONTRACT.limits.items()}
    other = dataclasses.replace(CONTRACT, limits=weaker)
    result = replay_core(other, CoreSettings(arm.core.period_s, "replace"), snapshot, calls)
    assert result.text and result.identical < result.ticks


def test_a_flood_leaves_nothing_that_cannot_be_replayed(monkeypatch):
    monkeypatch.setattr(recorded_core, "MOST_BYTES", 200_000)
    arm = in_motion(seconds=0.3)
    for _ in range(2000):
        arm.core.measure({"panda_joint1": 0.0}, arm.now, arm.now)
    assert arm.core.recorded() is None
    arm.run(0.2)
    assert not replayed(arm.core).text


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call("__init__", ()), "call '__init__': allowed is one of"),
        (Call("tick", ("now",)), "do not fit this version"),
        (Call("measure", (7,)), "do not fit this version"),
        (Call("refuse_chunk", (("SystemExit", ""),)), "do not fit this version"),
        (Call("set_kinematics", (3,)), "do not fit this version"),
    ],
)
def test_calls_of_strangers_are_refused(call, words):
    arm = in_motion(seconds=0.6)
    snapshot, _ = arm.core.recorded()
    with pytest.raises(CapsuleError, match=words):
        replay_core(CONTRACT, CoreSettings(0.01, "replace"), snapshot, [call])


def test_the_state_of_another_version_is_refused():
    state = freeze(MotionCore(CONTRACT))
    with pytest.raises(CommandError, match=r"state of clock has .*'days'.*: allowed are"):
        restore(MotionCore(CONTRACT), state | {"clock": {**state["clock"], "days": 3}})
    with pytest.raises(CommandError, match=r"allowed are .*'timeline'"):
        restore(MotionCore(CONTRACT), {"clock": {}})
