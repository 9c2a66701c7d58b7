"""A joint that stays behind its command, as a gripper that squeezes a cube does, is never let go of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from receiver import CONTRACT, DT, HOME, LIMITS, ToldArm, make_chunk, with_safety

from vla_adapter_ros.control import MotionCore

BLOCKED = 6  # the joint that squeezes
DEPTH = 0.25  # how far its command lies behind where it is blocked [rad]


class Squeezing(ToldArm):
    """Closes its last joint on something that gives way nowhere below its start."""

    moved_by = 0.0
    """How far somebody else has moved the first joint [rad]."""

    def measured(self) -> np.ndarray:
        measured = self.position + self.moved_by * np.eye(7)[0]
        measured[BLOCKED] = max(measured[BLOCKED], HOME[BLOCKED])
        return measured


def squeezing(allowed: float = 0.5) -> Squeezing:
    kind = dataclasses.replace(CONTRACT.command, type="forward_position")
    contract = dataclasses.replace(with_safety(tracking_error_max=allowed), command=kind)
    arm = Squeezing(MotionCore(contract))
    arm.run(0.1)
    return arm


def squeeze(arm: Squeezing, seconds: float, sequence: int, **changes) -> None:
    """A policy that closes the last joint, holds it closed and moves the first one."""
    for number in range(round(seconds / 0.2)):
        times = arm.now + np.arange(8) / CONTRACT.rate_hz
        rows = HOME + 0.3 * np.sin(times)[:, None] * np.eye(7)[0]
        rows[:, BLOCKED] -= np.minimum(DEPTH, 0.4 * times)
        chunk = make_chunk(arm.now, rows, sequence=sequence + number, **changes)
        arm.core.accept_chunk(chunk, arm.now)
        arm.run(0.2)


def steps(arm: Squeezing) -> np.ndarray:
    """Change of each joint's command from tick to tick [rad/s]."""
    return np.diff(np.array(arm.told), axis=0) / DT


@pytest.mark.parametrize("gap", [0.03, 0.05, 0.1, 0.3])
def test_after_a_gap_the_command_goes_on_where_it_was(gap):
    arm = squeezing()
    squeeze(arm, 1.6, 0)
    before = len(arm.told)
    assert arm.told[-1][BLOCKED] == pytest.approx(HOME[BLOCKED] - DEPTH, abs=1e-3)
    arm.starve(gap)
    squeeze(arm, 1.0, 100)
    told = np.array(arm.told[before - 1 :])
    assert told[:, BLOCKED].max() < HOME[BLOCKED] - DEPTH + 1e-3, "it keeps squeezing"
    assert (np.abs(steps(arm)) <= LIMITS.velocity * 1.001).all()
    assert np.ptp(told[:, 0]) > 0.05, "the arm goes on"


def test_after_a_hold_the_next_motion_keeps_squeezing():
    arm = squeezing()
    squeeze(arm, 1.6, 0)
    arm.core.hold()
    arm.run(1.0)
    before = len(arm.told)
    squeeze(arm, 1.6, 0, instruction_id=2)
    told = np.array(arm.told[before - 1 :])
    assert told[:, BLOCKED].max() < HOME[BLOCKED] - DEPTH + 1e-3
    assert np.ptp(told[:, 0]) > 0.05 and (np.abs(steps(arm)) <= LIMITS.velocity * 1.001).all()


def test_an_arm_that_somebody_else_has_moved_begins_where_it_is():
    arm = squeezing()
    squeeze(arm, 1.6, 0)
    arm.core.hold()
    arm.run(1.0)
    arm.moved_by = 0.2
    arm.run(1.0)  # the arm rests again
    measured = arm.measured()
    rows = measured + 0.02 * np.arange(8)[:, None] * np.eye(7)[0]
    arm.core.accept_chunk(make_chunk(arm.now, rows, instruction_id=2), arm.now)
    arm.run(0.3)
    begins = np.array([told for told in arm.told if abs(told[0] - measured[0]) < 1e-6])
    assert len(begins), "the first command is where the arm is"


def test_a_joint_that_stays_behind_by_more_than_allowed_begins_where_it_is():
    arm = squeezing(allowed=0.2)
    for _ in range(8):
        try:
            squeeze(arm, 0.2, 0)
        except Exception:
            break
    arm.run(1.0)
    assert arm.tick.state == "holding" and "away from its command" in arm.tick.reason
    assert not arm.core._motion.holds(arm.measured())
