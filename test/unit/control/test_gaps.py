"""The controller gets no processor for a while, in motion: what the driver is told then never jumps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from receiver import CONTRACT, DT, HOME, LIMITS, Arm, ToldArm, make_chunk

from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.execution import SHORT_GAP_TICKS
from vla_adapter_ros.control.limits import TOLERANCE
from vla_adapter_ros.errors import ChunkError

GAPS_S = [0.01, 0.02, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.45, 0.5, 0.51, 0.75, 1.5, 3.0]
SPEED = 0.8


def feed(arm, seconds: float, sequence: int) -> int:
    """Chunks every 0.2 s that swing joint 1, as a policy sends them; returns the next sequence."""
    for _ in range(round(seconds / 0.2)):
        times = arm.now + np.arange(8) / CONTRACT.rate_hz
        way = 0.4 * (1 - np.cos(SPEED / 0.4 * (times - 0.1)))
        rows = HOME + way[:, None] * np.eye(7)[0]
        try:
            arm.core.accept_chunk(make_chunk(arm.now, rows, sequence=sequence), arm.now)
        except ChunkError:
            pass  # a long gap has ended the instruction
        sequence += 1
        arm.run(0.2)
    return sequence


def told_arm(command: str) -> tuple[ToldArm, int]:
    """An arm in motion behind a driver that is told values; and the next sequence."""
    kind = dataclasses.replace(CONTRACT.command, type=command)
    arm = ToldArm(MotionCore(dataclasses.replace(CONTRACT, command=kind)))
    arm.run(0.1)
    return arm, feed(arm, 1.0, 0)


@pytest.mark.parametrize("gap", GAPS_S)
@pytest.mark.parametrize("phase", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3))])
def test_a_trajectory_goes_on_from_what_was_sent(gap, phase):
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    sequence = feed(arm, 1.0, 0)
    arm.run(phase * DT)
    assert np.abs(arm.derivatives[0][-20:, 0]).max() > 0.5
    arm.starve(gap)
    arm.run(DT)
    sequence = feed(arm, 1.0, sequence)
    arm.run(1.5)
    assert arm.resting
    arm.check()
    if gap > 0.51:
        assert arm.tick.state == "holding" and "no processor" in arm.tick.reason


@pytest.mark.parametrize("gap", GAPS_S)
def test_a_position_driver_is_told_no_step(gap):
    arm, sequence = told_arm("forward_position")
    before, stood = len(arm.told), len(arm.path)
    assert np.abs(np.diff(arm.told, axis=0)[-5:, 0]).max() > 0.5 * DT
    arm.starve(gap)
    arm.run(DT)
    feed(arm, 1.0, sequence)
    arm.run(1.5)
    if gap > SHORT_GAP_TICKS * DT + 1e-6:
        pushes = np.diff(arm.path[stood:], 2, axis=0) / DT**2
        assert (np.abs(pushes) <= LIMITS.acceleration * (1 + TOLERANCE)).all()
    steps = np.diff(arm.told, axis=0) / DT
    most = 1 + TOLERANCE
    assert (np.abs(steps) <= LIMITS.velocity * most).all()
    # In the gap the driver stood: it goes on as fast as before it, or begins anew from rest.
    pushes = np.delete(np.diff(steps, axis=0), range(before - 3, before + 1), axis=0) / DT
    assert (np.abs(pushes) <= LIMITS.acceleration * most).all()


@pytest.mark.parametrize("gap", GAPS_S)
def test_a_velocity_driver_begins_anew_where_the_arm_is(gap):
    arm, sequence = told_arm("forward_velocity")
    before = len(arm.told)
    arm.starve(gap)
    arm.run(DT)
    feed(arm, 1.0, sequence)
    arm.run(1.5)
    told, most = np.array(arm.told), 1 + TOLERANCE
    assert (np.abs(told) <= LIMITS.velocity * most).all()
    pushes = np.diff(told, axis=0) / DT
    if gap > 2 * DT:  # the driver went on as it was told, or stopped: nobody knows, so it is stopped first
        assert not told[before : before + 5].any()
        pushes = np.delete(pushes, before - 1, axis=0)
        assert (np.abs(pushes) <= LIMITS.acceleration * most).all()
