"""Where the training episodes of a checkpoint begin."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.resources import checkpoints_folder
from vla_adapter_ros.dataset.start_pose import (
    TRAINING_RECORD,
    StartRange,
    middle_of,
    plain_start_pose,
    read_start_pose,
    start_pose,
)
from vla_adapter_ros.errors import CheckpointError


def test_what_is_written_is_read_again(tmp_path):
    state = np.array([[0.0, 2.0], [1.0, 2.0], [5.0, 2.0]])
    pose = start_pose(state, ("reach", "width"))
    assert pose == {"reach": StartRange(0.0, 1.0, 5.0), "width": StartRange(2.0, 2.0, 2.0)}
    (tmp_path / TRAINING_RECORD).write_text(json.dumps({"start_pose": plain_start_pose(pose)}))
    assert read_start_pose(tmp_path) == pose


def test_the_middle_is_told_by_joint():
    contract = read_contract("franka_sim")
    state = np.arange(11.0) * np.array([[1.0], [2.0], [4.0]])
    pose = start_pose(state, contract.state_names)
    assert middle_of(pose, contract) == {joint: 2.0 * n for n, joint in enumerate(contract.arm_joints)}
    assert middle_of({}, contract) == {}


def test_checkpoints_of_earlier_versions_hold_none(tmp_path):
    assert read_start_pose(tmp_path) == {}
    assert read_start_pose(checkpoints_folder() / "grounded_tiny") == {}


@pytest.mark.parametrize(
    "values",
    [
        None,
        {"min": 1.0, "max": 2.0},
        {"min": 1.0, "median": 0.5, "max": 2.0},
        {"min": float("nan"), "median": 0.5, "max": 2.0},
        {"min": 0.0, "median": "left", "max": 2.0},
        {"min": 0.0, "median": 1.0, "max": 2.0, "mean": 1.0},
    ],
)
def test_a_damaged_record_is_told(tmp_path, values):
    (tmp_path / TRAINING_RECORD).write_text(json.dumps({"start_pose": {"reach": values}}))
    with pytest.raises(CheckpointError, match=r"training\.json: start_pose\.reach = .*: finite numbers min"):
        read_start_pose(tmp_path)


def test_a_record_that_is_no_mapping_is_told(tmp_path):
    (tmp_path / TRAINING_RECORD).write_text("[1]")
    with pytest.raises(CheckpointError, match="start_pose = None: a mapping is needed"):
        read_start_pose(tmp_path)
