"""A harness's images, as a policy needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.model import VlaAdapterPolicy


def images_in_order(
    policy: VlaAdapterPolicy, images: Mapping[str, np.ndarray], names: Sequence[str] = ()
) -> list[np.ndarray]:
    """A harness's images in the order that the policy was trained with.

    Args:
        policy: Says by its contract how its cameras are called.
        images: By the harness's names, uint8 (H, W, 3).
        names: Of the harness, in the policy's order; empty: the contract's if all are there, else the first
            ones as they came.

    Raises:
        ObservationError: an image is missing.
    """
    count = policy.config.num_images
    if not names and policy.contract is not None and set(policy.contract.camera_names) <= set(images):
        names = policy.contract.camera_names
    names = names or list(images)[:count]
    if len(names) != count or not set(names) <= set(images):
        raise ObservationError(
            f"images {list(images)} for cameras {list(names)}: needed are {count} of those sent"
        )
    return [np.asarray(images[name]) for name in names]
