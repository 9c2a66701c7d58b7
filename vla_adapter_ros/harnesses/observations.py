"""What a harness sends, as a policy needs it; and what a policy returns, as the harness needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.choices import EXECUTION_HORIZON, PlatformName
from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.official import OFFICIAL_NAME
from vla_adapter_ros.model.overrides import override

# Harnesses turn LIBERO's images upright themselves, and hand the gripper's value on to the simulator.
_IN_HARNESSES: Mapping[PlatformName, Mapping[str, Any]] = {
    PlatformName.LIBERO: {"rotate_180": False, "gripper_binarize": True, "gripper_invert": True},
}


def platform_of(policy: VlaAdapterPolicy) -> PlatformName | None:
    """The benchmark or robot that an official checkpoint was trained for; None: of a checkpoint of ours."""
    name = policy.config.name
    return PlatformName(name[len(OFFICIAL_NAME) :]) if name.startswith(OFFICIAL_NAME) else None


def for_harness(policy: VlaAdapterPolicy) -> VlaAdapterPolicy:
    """The policy without the steps that the harness does itself, and with those that it expects."""
    platform = platform_of(policy)
    changes = _IN_HARNESSES.get(platform) if platform is not None else None
    return policy.replace(config=override(policy.config, changes, official=False)) if changes else policy


def rows_to_execute(policy: VlaAdapterPolicy) -> int:
    """Rows executed of each chunk: all of an official checkpoint, as in its evaluation, else 4."""
    chunk = policy.config.chunk
    return chunk if platform_of(policy) is not None else min(EXECUTION_HORIZON, chunk)


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
