"""The loop between a policy and the simulated arm."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

from cube_oracle import CONTRACT, ROWS, Oracle

from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.policy_loop import run_policy
from vla_adapter_ros.simulation.robot import SimulatedRobot


@pytest.fixture(scope="module")
def robot():
    robot = SimulatedRobot(CONTRACT, "raycast")
    yield robot
    robot.close()


def test_every_frame_is_seen_when_asked_for_and_the_motion_is_the_same(robot):
    text = f"pick up the {robot.reset(6).names[0]} cube"
    few = run_policy(CONTRACT, robot, Oracle(robot), text, longest_s=1.0)
    robot.reset(6)
    all_frames = run_policy(CONTRACT, robot, Oracle(robot), text, longest_s=1.0, every_frame=True)
    np.testing.assert_allclose(few.stamps, [0.0, 0.4, 0.8], atol=1e-9)
    np.testing.assert_allclose(all_frames.stamps, np.arange(10) / 10, atol=1e-9)
    np.testing.assert_allclose(all_frames.rows[[0, 4, 8]], few.rows, atol=1e-6)
    assert np.abs(few.rows[2] - few.rows[0]).max() > 0.05  # it has moved


def test_a_late_policy_that_decides_for_later_has_its_rows_carried_out_slower(robot):
    told = []

    def predict(images, text, state, committed):
        told.append(committed)
        steps = np.arange(1, ROWS + 1)[:, None] * np.array([0.0, 0.02, *[0.0] * 5])
        return np.column_stack([state[:7] + steps, np.ones(ROWS)])

    def late_policy(most_rows):
        return SimpleNamespace(config=SimpleNamespace(chunk=ROWS, max_delay_rows=most_rows), predict=predict)

    speeds = {}
    for most_rows, full_pace_rows in ((4, 2.0), (4, math.inf), (0, 2.0)):
        robot.reset(6)
        told.clear()
        run = run_policy(
            CONTRACT, robot, late_policy(most_rows), "go on", longest_s=2.4, latency=Latency(0.4),
            full_pace_rows=full_pace_rows,
        )  # fmt: skip
        assert run.refused == ""
        speeds[most_rows, full_pace_rows] = np.abs(np.diff(run.path[-60:, 1])).mean() / 0.01
        if most_rows and math.isfinite(full_pace_rows):
            assert run.late == (0.5, 0.4, 2)
            np.testing.assert_allclose(np.diff(run.stamps), 0.8, atol=1e-9)
            # Rows are as far apart as at full pace.
            np.testing.assert_allclose(np.diff(told[-1][:, 1]), 0.02, atol=2e-3)
    assert speeds[4, 2.0] == pytest.approx(speeds[4, math.inf] / 2, rel=0.1)
