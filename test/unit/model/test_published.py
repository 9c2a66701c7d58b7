"""Official checkpoints as their published evaluations use them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.normalization import finish_gripper
from vla_adapter_ros.model.published import as_evaluated, platform_of, rows_to_execute


@pytest.fixture(scope="module")
def policy():
    return VlaAdapterPolicy.from_pretrained(find_checkpoint("franka_sim_tiny"))


def test_libero_is_turned_before_and_its_gripper_is_the_simulators(policy):
    preprocessing = dataclasses.replace(policy.config.preprocessing, rotate_180=True)
    output = dataclasses.replace(policy.config.output, gripper_columns=(-1,))
    config = dataclasses.replace(
        policy.config, name="official-libero", preprocessing=preprocessing, output=output
    )
    official = policy.replace(config=config, contract=None)
    changed = as_evaluated(official)
    assert official.config.preprocessing.rotate_180 and not changed.config.preprocessing.rotate_180
    rows = np.zeros((3, official.config.action_dim))
    rows[:, -1] = [0.9, 0.2, 0.5]
    assert finish_gripper(rows, changed.config.output)[:, -1].tolist() == [-1.0, 1.0, 0.0]
    assert rows_to_execute(official) == official.config.chunk


def test_a_checkpoint_of_ours_stays_as_it_is(policy):
    assert platform_of(policy) is None and as_evaluated(policy) is policy
    assert rows_to_execute(policy) == 4
    short = SimpleNamespace(config=SimpleNamespace(name="tiny", chunk=2))
    assert rows_to_execute(short) == 2
