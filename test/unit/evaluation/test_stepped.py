"""The simulated arm, moved on by one row per step."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import CommandError
from vla_adapter_ros.evaluation.policy_loop import measured_joints
from vla_adapter_ros.evaluation.stepped import SteppedArm
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint

CONTRACT = read_contract("franka_sim")


@pytest.fixture(scope="module")
def arm():
    arm = SteppedArm(CONTRACT)
    yield arm
    arm.close()


def begin(arm, number=0):
    plan = arm.suite.plans(number + 1, arm.suite.seed)[number]
    arm.begin(plan)
    return plan


def test_an_absolute_row_is_reached_a_row_later(arm):
    begin(arm)
    state = arm.state()
    row = np.append(state[:7], 1.0)
    for k in range(1, 16):
        row[1] = state[1] + 0.01 * k
        assert not arm.step(row)
    joints = measured_joints(arm.robot)
    assert arm.steps == 15
    assert joints["fr3_joint2"] == pytest.approx(row[1], abs=0.02)
    assert joints["fr3_joint1"] == pytest.approx(state[0], abs=0.005)


def test_the_same_rows_give_the_same_motion(arm):
    ends = []
    for _ in range(2):
        begin(arm)
        row = np.append(arm.state()[:7], 1.0)
        for _ in range(5):
            row[0] += 0.02
            arm.step(row)
        ends.append(np.array(list(measured_joints(arm.robot).values())))
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-9)


def test_the_shipped_policy_succeeds_and_that_is_said(arm):
    policy = VlaAdapterPolicy.from_pretrained(find_checkpoint("franka_sim_tiny"), device="cpu")
    results = []
    for number in range(3):
        plan = begin(arm, number)
        rows: list[np.ndarray] = []
        while not arm.over and arm.steps < arm.most_steps:
            if not rows:
                images = list(arm.images().values())
                rows = list(policy.predict(images, plan.instruction, arm.state())[:4])
            arm.step(rows.pop(0))
        results.append(result := arm.result())
        assert result.duration_s == pytest.approx(arm.steps / CONTRACT.rate_hz, abs=0.11)
        assert not result.success or result.note == f"{plan.target} lifted"
    assert sum(result.success for result in results) >= 2


@pytest.mark.parametrize("row", [np.zeros(3), np.full(8, np.nan)])
def test_a_row_that_is_none_is_refused(arm, row):
    begin(arm)
    with pytest.raises(CommandError, match="8 finite numbers"):
        arm.step(row)


def test_a_row_that_the_controller_refuses_ends_the_episode(arm):
    begin(arm)
    assert arm.step(np.append(np.full(7, 500.0), 1.0))
    assert arm.result().ending == "stopped" and arm.result().note
