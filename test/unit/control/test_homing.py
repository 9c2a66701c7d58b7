"""The motion home: slow, within limits and box, all joints together; who may ask for it and what ends it."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from receiver import CONTRACT, HOME, LIMITS, Arm, ToldArm, make_chunk
from test_motion_properties import Plane

from vla_adapter_ros.contract.schema import Workspace
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.homing import HOME_SPEED, home_target
from vla_adapter_ros.errors import ChunkError, CommandError

JOINTS = CONTRACT.arm_joints
TARGET = HOME + np.array([0.5, -0.2, 0.1, 0.4, -0.3, 0.0, 0.6])
AT_TARGET = dict(zip(JOINTS, TARGET.tolist(), strict=True))
ROBOT = dataclasses.replace(CONTRACT, home=AT_TARGET)


def ready(contract=ROBOT, **options) -> Arm:
    arm = Arm(MotionCore(contract, **options))
    arm.run(0.1)
    return arm


def on_the_way(**options) -> Arm:
    arm = ready(**options)
    done, message = arm.core.home()
    assert done, message
    arm.run(0.8)
    assert (arm.core.state, arm.tick.source) == ("homing", "home")
    assert np.abs(arm.position - HOME).max() > 0.005
    return arm


def arrive(arm: Arm) -> int:
    """Ticks until the arm is there."""
    ticks = arm.ticks
    while arm.core.state == "homing":
        arm.run(0.05)
    assert arm.core.reason == "home is reached"
    arm.check()
    return arm.ticks - ticks


def test_all_joints_arrive_together_slowly_and_within_the_limits():
    arm = ready()
    done, message = arm.core.home()
    assert done and message.startswith(f"goes home: {JOINTS[6]} moves by 0.60, in ")
    arm.run(3.0)
    assert (arm.core.state, arm.core.reason, arm.tick.source) == ("idle", "home is reached", "none")
    assert arm.core.refusal == ""
    np.testing.assert_allclose(arm.position, TARGET, atol=1e-6)
    arm.check()
    velocity, acceleration, _ = (np.abs(part).max(0) for part in arm.derivatives)
    assert (velocity <= HOME_SPEED * LIMITS.velocity * 1.001).all()
    assert (acceleration <= 0.1 * LIMITS.acceleration).all()
    path = np.array(arm.path)
    moves = TARGET != HOME
    gone = (path[:, moves] - HOME[moves]) / (TARGET - HOME)[moves]
    there = np.argmax(gone >= 0.99, axis=0)
    assert np.ptp(there) < 250  # [ms]: none waits at its end for another
    assert arm.states.count("homing") > 50 and arm.core.gripper_positions is None


def test_speed_slows_it_down_also_on_the_way():
    whole, slow = ready(), ready(speed=0.5)
    for arm in (whole, slow):
        assert arm.core.home(JOINTS, (HOME + 0.1).tolist())[0]
    ticks = arrive(whole)
    assert arrive(slow) == pytest.approx(2 * ticks, rel=0.2)
    arm = ready()
    assert arm.core.home(JOINTS, (HOME + 0.1).tolist())[0]
    arm.run(0.3)
    arm.core.set_speed(0.2)
    assert arrive(arm) > 1.5 * ticks
    np.testing.assert_allclose(arm.position, HOME + 0.1, atol=1e-6)


@pytest.mark.parametrize("kind", ["forward_position", "joint_state"])
def test_drivers_of_positions_are_brought_home_too(kind):
    command = dataclasses.replace(ROBOT.command, type=kind)
    core = MotionCore(dataclasses.replace(ROBOT, command=command))
    arm = ToldArm(core)
    arm.run(0.1)
    assert core.home()[0]
    arm.run(3.0)
    assert core.reason == "home is reached"
    np.testing.assert_allclose(arm.position, TARGET, atol=1e-3)


def test_a_pose_by_name_in_any_order_wins_over_the_contract():
    arm = ready()
    goal = HOME + 0.1
    names = JOINTS[::-1]
    assert arm.core.home(names, goal[::-1].tolist())[0]
    arm.run(2.5)
    np.testing.assert_allclose(arm.position, goal, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "positions", "why"),
    [
        (JOINTS[:6], TARGET[:6], r"home: joints .*allowed is each of .* once"),
        ((*JOINTS[:6], JOINTS[0]), TARGET, r"home: joints .* once"),
        (("elbow", *JOINTS[1:]), TARGET, r"home: joints \['elbow'"),
        (JOINTS, TARGET[:6], "home: 6 positions for 7 joints"),
        (JOINTS, np.append(TARGET[:6], np.nan), "only finite numbers"),
        (JOINTS, np.append(9.0, TARGET[1:]), rf"home: {JOINTS[0]} = 9: allowed is -"),
    ],
)
def test_a_pose_that_the_arm_does_not_have_is_refused(names, positions, why):
    arm = ready()
    done, message = arm.core.home(names, list(positions))
    assert not done and re.search(why, message), message
    arm.run(0.2)
    assert arm.core.state == "idle" and not arm.sent


def test_without_a_home_pose_it_says_what_to_do():
    with pytest.raises(CommandError, match="has no home pose: write its key home, or name a checkpoint"):
        home_target(dataclasses.replace(CONTRACT, home={}), (), ())


def boxed(box: Workspace, at: np.ndarray = TARGET) -> tuple[bool, str]:
    core = MotionCore(dataclasses.replace(ROBOT, workspace=box))
    core.set_kinematics(Plane())
    arm = Arm(core)
    arm.run(0.1)
    return core.home(JOINTS, at.tolist())


def test_the_box_holds_there_and_on_the_way():
    here, there = (Plane().pose(q).position for q in (HOME, TARGET))
    low, high = np.minimum(here, there) - 0.02, np.maximum(here, there) + 0.02
    assert boxed(Workspace(tuple(here - 0.02), tuple(here + 0.02)))[1].endswith("of the way")
    assert boxed(Workspace(tuple(low), tuple(high)))[0]
    tight = np.where(there > here, high - 0.03, high)
    assert "leave the workspace box" in boxed(Workspace(tuple(low), tuple(np.maximum(tight, here))))[1]


def test_who_leads_must_let_go_first():
    arm = ready(armed=False)
    assert arm.core.home() == (False, "not armed yet: call ~/arm")
    arm.core.arm()
    arm.core.accept_chunk(make_chunk(arm.now, np.tile(HOME, (8, 1))), arm.now)
    arm.run(0.1)
    assert arm.core.home() == (False, "a human or the policy leads: call ~/hold first")
    arm.run(1.2)  # starved: the arm rests, but the next chunk would move it
    assert arm.core.state == "holding"
    assert arm.core.home() == (False, "the policy carries out an instruction: call ~/hold first")
    arm.core.hold()
    arm.run(0.05)
    assert arm.core.home()[0]
    assert arm.core.home()[1].startswith("the arm goes home: wait until it is there")


def test_an_instruction_is_refused_on_the_way_and_over():
    arm = on_the_way()
    with pytest.raises(ChunkError, match="the arm goes home: wait"):
        arm.core.accept_chunk(make_chunk(arm.now, np.tile(TARGET, (30, 1))), arm.now)
    arm.run(2.5)
    assert arm.core.reason == "home is reached"
    with pytest.raises(ChunkError, match="which has ended"):
        arm.core.accept_chunk(make_chunk(arm.now, np.tile(TARGET, (30, 1)), sequence=1), arm.now)
    arm.core.accept_chunk(make_chunk(arm.now, np.tile(TARGET, (30, 1)), instruction_id=2), arm.now)
    arm.run(0.1)
    assert arm.tick.source == "policy"


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ("hold", "holding"),
        ("stop", "stopped"),
        ("empty", "idle"),
        ("silent", "holding"),
        ("fault", "holding"),
    ],
)
def test_what_ends_it_brings_the_arm_to_rest_for_good(what, state):
    arm = on_the_way()
    if what == "empty":
        arm.core.accept_chunk(make_chunk(arm.now, np.zeros((0, 7))), arm.now)
    elif what == "silent":
        arm.joint_states = False
    elif what == "fault":
        arm.core.foreign("/another_node publishes on /arm")
    else:
        getattr(arm.core, what)()
    arm.run(1.2)
    assert arm.core.state == state and arm.resting
    assert np.abs(arm.position - TARGET).max() > 0.1
    arm.joint_states = True
    arm.core.foreign("")
    there = arm.position
    arm.run(0.5)
    np.testing.assert_array_equal(arm.position, there)
    arm.check()


@pytest.mark.parametrize("offset", [0.02, 1.0])
def test_a_human_takes_the_arm_over_or_stops_it(offset):
    arm = on_the_way()
    command = np.append(arm.position + offset, 1.0)
    for _ in range(30):
        arm.core.accept_teleop(command, arm.now, arm.now)
        arm.run(0.01)
    assert (arm.core.state, arm.tick.source) == (("running", "human") if offset < 0.3 else ("gated", "none"))
    arm.run(1.0)
    assert arm.resting and np.abs(arm.position - TARGET).max() > 0.1
    assert arm.core.state in ("idle", "gated")
    arm.check()


def test_processor_lost_on_the_way():
    arm = on_the_way()
    arm.starve(0.3)
    arm.run(4.0)
    arm.check()
    assert arm.core.state in ("idle", "holding") and arm.resting


def test_cartesian_drivers_are_not_told_a_pose_of_joints():
    command = dataclasses.replace(ROBOT.command, type="cartesian_pose")
    core = MotionCore(dataclasses.replace(ROBOT, command=command))
    assert core.home()[1].startswith("command.type cartesian_pose: the robot solves its own kinematics")
