"""The shadow score against numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.schema import ActionDimension
from vla_adapter_ros.control.shadow import ShadowScore
from vla_adapter_ros.errors import CommandError

CONTRACT = read_contract("franka_sim")


def test_root_mean_square_and_largest_per_dimension():
    score = ShadowScore(CONTRACT)
    assert score.samples == 0 and not score.rms.any() and not score.largest.any()
    human = np.zeros(8)
    for first, grip in ((0.3, 1.0), (-0.4, 0.0)):
        policy = human.copy()
        policy[0], policy[7] = first, grip
        score.note(policy, human)
    assert score.samples == 2
    assert score.rms[[0, 7]] == pytest.approx([np.sqrt(0.125), np.sqrt(0.5)])
    assert score.largest[[0, 1, 7]] == pytest.approx([0.4, 0.0, 1.0])
    score.clear()
    assert score.samples == 0 and not score.largest.any()


def test_orientations_are_compared_as_rotations():
    columns = [ActionDimension(name, "m") for name in "xyz"]
    columns += [ActionDimension(name, "rad", 2.0) for name in ("rx", "ry", "rz")]
    columns += [ActionDimension("gripper", "1")]
    action = dataclasses.replace(CONTRACT.action, space="ee_pose", dimensions=tuple(columns))
    score = ShadowScore(dataclasses.replace(CONTRACT, action=action))
    # Half a turn but for 0.01 rad, to either side: 0.02 rad apart, not 6.26. Values are half the angle.
    policy = np.array([0.1, 0, 0, (np.pi - 0.01) / 2, 0, 0, 1])
    human = np.array([0.0, 0, 0, -(np.pi - 0.01) / 2, 0, 0, 1])
    score.note(policy, human)
    assert score.rms == pytest.approx([0.1, 0, 0, 0.01, 0, 0, 0], abs=1e-9)


@pytest.mark.parametrize("bad", [np.zeros(7), np.full(8, np.nan)])
def test_bad_actions_are_refused(bad):
    score = ShadowScore(CONTRACT)
    with pytest.raises(CommandError, match="expected finite values"):
        score.note(np.zeros(8), bad)
    assert score.samples == 0
