"""How a human takes the arm and gives it back: by commands, by moving a leader arm, by a clutch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from receiver import CONTRACT, DT, HOME, Arm, make_chunk, ramp

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.errors import ChunkError, CommandError

TIMEOUT = CONTRACT.teleop.timeout_s


def with_teleop(**changes) -> Contract:
    return dataclasses.replace(CONTRACT, teleop=dataclasses.replace(CONTRACT.teleop, **changes))


def start(arm: Arm, instruction: int = 1, sequence: int = 0) -> None:
    chunk = make_chunk(arm.now, ramp(0.3, 30, arm.position), instruction_id=instruction, sequence=sequence)
    arm.core.accept_chunk(chunk, arm.now)


def stream(arm: Arm, leader: np.ndarray, seconds: float, speed: float = 0.0) -> np.ndarray:
    """A leader arm that streams always: from `leader` on at `speed` in joint 2; returns where it ends."""
    for _ in range(round(seconds / DT)):
        leader = leader + speed * DT * np.eye(7)[1]
        arm.core.accept_teleop(np.append(leader, 1.0), arm.now, arm.now)
        arm.run(DT)
    return leader


def leader_arm(hand_back: str | None = None) -> tuple[Arm, np.ndarray]:
    """A policy leads while a leader arm streams from elsewhere, at rest."""
    arm = Arm(MotionCore(with_teleop(takeover="motion", hand_back=hand_back)))
    arm.run(0.1)
    leader = stream(arm, HOME + 0.02, 0.5)
    assert arm.tick.source == "none" and arm.tick.state == "idle"
    start(arm)
    leader = stream(arm, leader, 0.5)
    assert arm.tick.source == "policy"
    return arm, leader


def test_a_leader_that_streams_at_rest_leaves_the_arm_to_the_policy_and_takes_it_by_moving():
    arm, leader = leader_arm()
    leader = stream(arm, leader, 0.4, speed=0.3)
    assert arm.tick.source == "human"
    leader = stream(arm, leader, 2.0)
    assert arm.tick.source == "human"  # hand_back is instruct: at rest it still leads
    np.testing.assert_allclose(arm.position, leader, atol=1e-3)
    with pytest.raises(ChunkError, match="has ended"):
        arm.core.accept_chunk(make_chunk(arm.now, ramp(0.3, 30, arm.position), sequence=1), arm.now)
    start(arm, instruction=2)  # the person's act that hands the arm back
    leader = stream(arm, leader, 0.3)
    assert arm.tick.source == "policy"
    arm.check()


def test_with_hand_back_auto_a_leader_at_rest_has_let_go():
    arm, leader = leader_arm("auto")
    leader = stream(arm, leader, 0.4, speed=0.3)
    assert arm.tick.source == "human"
    leader = stream(arm, leader, TIMEOUT + 0.1)
    assert arm.tick.source != "human"
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.3, 30, arm.position), sequence=1), arm.now)
    leader = stream(arm, leader, 0.3)
    assert arm.tick.source == "policy"  # and the same instruction goes on
    arm.check()


def test_a_clutch_takes_the_arm_and_gives_it_back():
    arm = Arm(MotionCore(with_teleop(takeover="topic", takeover_topic="/clutch")))
    arm.run(0.1)
    start(arm)
    stream(arm, HOME, 0.3, speed=0.3)
    assert arm.tick.source == "policy"
    arm.core.clutch(True)
    stream(arm, arm.position, 0.3, speed=0.2)
    assert arm.tick.source == "human"
    arm.core.clutch(False)
    stream(arm, arm.position, 0.3, speed=0.2)
    assert arm.tick.source == "none" and "give a new instruction" in arm.tick.reason
    arm.check()


@pytest.mark.parametrize("call", ["arm", "reset", "activate"])
def test_a_human_who_commands_already_must_let_go_before_an_arm_that_was_just_allowed_to_move(call):
    arm = Arm(MotionCore(CONTRACT, armed=False))
    arm.run(0.1)
    if call == "reset":
        arm.core.arm()
        arm.core.stop()
    stream(arm, HOME + 0.1, 0.3)
    if call == "activate":
        arm.core.activate(arm.now)
        arm.run(DT)  # joint states are new, too
        arm.core.arm()
    else:
        assert getattr(arm.core, call)()[0]
    stream(arm, HOME + 0.1, 1.0)
    np.testing.assert_array_equal(arm.position, HOME)
    assert arm.tick.state == "idle" and "let go" in arm.tick.reason
    arm.run(TIMEOUT + 0.1)
    stream(arm, HOME + 0.1, 1.0)
    assert arm.tick.source == "human" and arm.position[1] > HOME[1] + 0.05


@pytest.mark.parametrize("offset", [5.0, 1.0, 0.2, -1.0, -1e9])
def test_a_stamp_of_another_clock_is_refused_and_never_moves_the_arm_later(offset):
    arm = Arm(MotionCore(CONTRACT), begin=100.0)
    arm.run(0.1)
    for _ in range(30):
        with pytest.raises(CommandError, match=r"in the future|old.*teleop.time: receive"):
            arm.core.accept_teleop(np.append(HOME + 0.2, 1.0), arm.now + offset, arm.now)
        arm.run(DT)
    arm.run(6.0)
    np.testing.assert_array_equal(arm.position, HOME)


def test_letting_go_is_measured_by_receipt():
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    for _ in range(30):
        arm.core.accept_teleop(np.append(HOME + 0.05, 1.0), arm.now + 0.09, arm.now)
        arm.run(DT)
    assert arm.tick.source == "human"
    arm.run(TIMEOUT + 2 * DT)
    assert arm.tick.source == "none"
