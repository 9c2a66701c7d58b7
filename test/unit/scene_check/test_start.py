"""The start pose against that of the demonstrations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.safety import SceneLimits
from vla_adapter_ros.dataset.start_pose import start_pose
from vla_adapter_ros.scene_check.start import compare_start
from vla_adapter_ros.scene_check.views import Verdict

CONTRACT = read_contract("franka_sim")
HOME = np.array([0.0, 0.3, 0.0, -2.4, 0.0, 2.6, 0.8, 0.04, 0.5, 0.0, 0.2])
POSE = start_pose(np.stack([HOME - 0.1, HOME, HOME + 0.2]), CONTRACT.state_names)


def moved(name: str, distance: float) -> np.ndarray:
    state = HOME.copy()
    state[CONTRACT.state_names.index(name)] += distance
    return state


@pytest.mark.parametrize("distance", [0.0, 0.2, 0.29, -0.19])
def test_within_the_range_and_a_little_beyond_is_the_same(distance):
    found = compare_start(POSE, CONTRACT, moved("fr3_joint2", distance))
    assert found.verdict is Verdict.SAME
    assert found.distance == pytest.approx(max(distance - 0.2, -0.1 - distance, 0.0))


def test_a_joint_elsewhere_is_named_with_value_range_and_distance():
    found = compare_start(POSE, CONTRACT, moved("fr3_joint2", 0.5))
    assert found.verdict is Verdict.CHANGED and found.distance == pytest.approx(0.3)
    assert found.text == (
        "fr3_joint2 is at 0.800 rad; demonstrations began at 0.200 to 0.500 rad, 0.300 rad away"
    )


def test_the_contract_sets_the_limit():
    limits = SceneLimits(start_pose_max=0.4)
    wide = replace(CONTRACT, safety=replace(CONTRACT.safety, scene=limits))
    assert compare_start(POSE, wide, moved("fr3_joint2", 0.5)).verdict is Verdict.SAME


def test_checkpoints_without_start_poses_and_unknown_values_are_unknown():
    assert compare_start({}, CONTRACT, HOME).verdict is Verdict.UNKNOWN
    assert compare_start(POSE, CONTRACT, np.full(len(HOME), np.nan)).verdict is Verdict.UNKNOWN
