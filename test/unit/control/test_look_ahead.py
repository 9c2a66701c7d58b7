"""The look ahead sees where the controller will have brought the arm, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.core_state import freeze
from vla_adapter_ros.control.look_ahead import LookAhead

CONTRACT = read_contract("franka_sim")
TICK_S, PUBLISH_EVERY = 0.01, 4
HOME = np.array([CONTRACT.home[joint] for joint in CONTRACT.arm_joints])


def joints(position: np.ndarray) -> dict[str, float]:
    return dict(zip(CONTRACT.arm_joints, position.tolist(), strict=True)) | {"fr3_finger_joint1": 0.04}


def follow(core: MotionCore, ticks: int, position: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Let an arm follow the core, always as far off as `away`; returns where it is then (J,)."""
    for tick in range(ticks):
        now = tick * TICK_S
        core.measure(joints(position + away), now)
        if tick == 10:
            rows = HOME + np.arange(20)[:, None] * 0.03 * np.eye(7)[1]
            rows = np.column_stack([rows, np.ones(20)])
            core.accept_chunk(Chunk(now, rows, CONTRACT.action_names, CONTRACT.rate_hz), now)
        core.tick(now)
        if tick % PUBLISH_EVERY == 0:
            core.trajectory(now)
        if (ahead := core.setpoint(now + TICK_S)) is not None:
            position = ahead.position
    return position


@pytest.mark.parametrize("away", [0.0, 0.02])
@pytest.mark.parametrize("ahead", [10, 40])
def test_it_sees_what_comes(away, ahead):
    off = away * np.eye(7)[3]
    now_ticks = 60  # a whole number of trajectories
    core = MotionCore(CONTRACT, TICK_S, armed=True)
    here = follow(core, now_ticks, HOME, off)
    now = now_ticks * TICK_S
    core.measure(joints(here + off), now)
    before = freeze(core)
    seen = LookAhead(CONTRACT, TICK_S, PUBLISH_EVERY).motion(before, here + off, now, ahead)
    assert repr(freeze(core)) == repr(before), "the core goes on as if nobody had looked"
    there = follow(MotionCore(CONTRACT, TICK_S, armed=True), now_ticks + ahead, HOME, off)
    assert np.abs(there - here).max() > 0.02
    assert seen is not None and len(seen.times) == len(seen.positions) == ahead + 1
    np.testing.assert_allclose(seen.positions[0], here + off, atol=1e-9)
    np.testing.assert_allclose(seen.positions[-1], there + off, atol=1e-3)
    steps = np.diff(seen.positions, axis=0) / TICK_S
    np.testing.assert_allclose(steps, (seen.velocities[1:] + seen.velocities[:-1]) / 2, atol=0.02)
    assert np.all(seen.grippers == 0.04)


def test_an_arm_at_rest_stays():
    core = MotionCore(CONTRACT, TICK_S, armed=True)
    core.measure(joints(HOME), 0.0)
    core.tick(0.0)
    assert LookAhead(CONTRACT, TICK_S, PUBLISH_EVERY).motion(freeze(core), HOME, 0.0, 20) is None
