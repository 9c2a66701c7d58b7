"""A harness's images, in the policy's order."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.harnesses.observations import images_in_order
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint


@pytest.fixture(scope="module")
def policy():
    return VlaAdapterPolicy.from_pretrained(find_checkpoint("franka_sim_tiny"))


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
