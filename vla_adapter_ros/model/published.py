"""Official checkpoints as their published evaluations use them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vla_adapter_ros.choices import EXECUTION_HORIZON, PlatformName
from vla_adapter_ros.model.checkpoint_files import CONFIG
from vla_adapter_ros.model.official import OFFICIAL_NAME
from vla_adapter_ros.model.overrides import override
from vla_adapter_ros.model.policy import VlaAdapterPolicy

# LIBERO's images are turned before they come here, and its simulator takes -1 to open the gripper and 1 to
# close it; CALVIN's takes 1 to open it and -1 to close it.
_EVALUATED: Mapping[PlatformName, Mapping[str, Any]] = {
    PlatformName.LIBERO: {"rotate_180": False, "gripper_binarize": True, "gripper_invert": True},
    PlatformName.CALVIN: {"gripper_binarize": True},
}


def platform_of(policy: VlaAdapterPolicy) -> PlatformName | None:
    """The benchmark or robot that an official checkpoint was trained for; None: of a checkpoint of ours."""
    name = policy.config.name
    return PlatformName(name[len(OFFICIAL_NAME) :]) if name.startswith(OFFICIAL_NAME) else None


def as_evaluated(policy: VlaAdapterPolicy) -> VlaAdapterPolicy:
    """The policy for upright images, with rows that its benchmark's simulator takes; one of ours as it is."""
    platform = platform_of(policy)
    changes = _EVALUATED.get(platform) if platform is not None else None
    return policy.replace(config=override(policy.config, changes, official=False)) if changes else policy


def open_evaluated(
    folder: Path,
    platform: PlatformName,
    *,
    device: str | torch.device = "cpu",
    statistics_name: str | None = None,
) -> VlaAdapterPolicy:
    """Open a checkpoint as the published evaluation on a benchmark uses it; one of ours as it is.

    Args:
        folder: The checkpoint.
        platform: The benchmark, for an official checkpoint.
        device: Where it computes.
        statistics_name: Which statistics are used, if there are several.

    Raises:
        CheckpointError, StatisticsError: it cannot be had.
    """
    own = (folder / CONFIG).is_file()
    return as_evaluated(
        VlaAdapterPolicy.from_pretrained(
            folder,
            platform=None if own else platform,
            device=device,
            dtype=None,
            statistics_name=statistics_name,
        )
    )


def rows_to_execute(policy: VlaAdapterPolicy) -> int:
    """Rows executed of each chunk: all of an official checkpoint, as in its evaluation, else 4."""
    chunk = policy.config.chunk
    return chunk if platform_of(policy) is not None else min(EXECUTION_HORIZON, chunk)
