"""What a harness sends, in the policy's order; which steps are the harness's own."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.harnesses.observations import (
    for_harness,
    images_in_order,
    platform_of,
    rows_to_execute,
)
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint


@pytest.fixture(scope="module")
def policy():
    return VlaAdapterPolicy.from_pretrained(find_checkpoint("franka_sim_tiny"))


@pytest.fixture
def official(policy):
    """As if it had been trained for LIBERO."""
    preprocessing = dataclasses.replace(policy.config.preprocessing, rotate_180=True)
    output = dataclasses.replace(policy.config.output, gripper_columns=(-1,))
    config = dataclasses.replace(
        policy.config, name="official-libero", preprocessing=preprocessing, output=output
    )
    return policy.replace(config=config, contract=None)


def picture(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("sent", "names", "seen"),
    [
        ({"gripper": 1, "third_view": 2, "other": 3}, (), [2, 1]),  # by the contract's names
        ({"agentview": 1, "wrist": 2}, (), [1, 2]),  # as they come
        ({"wrist": 1, "agentview": 2}, ("agentview", "wrist"), [2, 1]),
    ],
)
def test_images_come_in_the_order_of_training(policy, sent, names, seen):
    images = {name: picture(value) for name, value in sent.items()}
    assert [int(image[0, 0, 0]) for image in images_in_order(policy, images, names)] == seen


@pytest.mark.parametrize(
    ("sent", "names"), [(["one"], ()), (["one", "two"], ("one", "three")), (["one", "two"], ("one",))]
)
def test_an_image_that_is_missing_is_named(policy, sent, names):
    with pytest.raises(ObservationError, match="needed are 2"):
        images_in_order(policy, dict.fromkeys(sent, picture(0)), names)


def test_libero_is_turned_by_the_harness_and_its_gripper_is_the_simulators(official):
    changed = for_harness(official)
    assert official.config.preprocessing.rotate_180 and not changed.config.preprocessing.rotate_180
    rows = np.zeros((3, official.config.action_dim))
    rows[:, -1] = [0.9, 0.2, 0.5]
    from vla_adapter_ros.model.normalization import finish_gripper

    assert finish_gripper(rows, changed.config.output)[:, -1].tolist() == [-1.0, 1.0, 0.0]
    assert rows_to_execute(official) == official.config.chunk


def test_a_checkpoint_of_ours_stays_as_it_is(policy):
    assert platform_of(policy) is None and for_harness(policy) is policy
    assert rows_to_execute(policy) == 4
    short = SimpleNamespace(config=SimpleNamespace(name="tiny", chunk=2))
    assert rows_to_execute(short) == 2
