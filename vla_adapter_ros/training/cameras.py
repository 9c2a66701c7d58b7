"""Fits a backbone to another number of cameras."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapter, VlaAdapterConfig, VlaAdapterPolicy

CAMERAS = (1, 2, 3)
_POSITIONS = ".pos_embed"  # of a convolution stem: one set per view


def with_cameras(policy: VlaAdapterPolicy, count: int) -> VlaAdapterPolicy:
    """The same model for another number of cameras; as it is if that is its own.

    Vision transformers share all weights between views, so only the sizes change. A convolution stem has
    positions of its own for each view: the first views keep theirs, further ones start as copies of the last.
    The gated group grows with the patches if it was as large as all of them; official checkpoints keep 512.

    Args:
        policy: A backbone, or a policy whose head is kept.
        count: Cameras, 1 to 3.

    Raises:
        TrainingError: another number.
    """
    config = policy.config
    if count not in CAMERAS:
        raise TrainingError(f"{count} cameras: allowed are {list(CAMERAS)}")
    if count == config.num_images:
        return policy
    tasks = config.num_task_tokens
    if tasks == config.num_patches:
        tasks = count * config.patches_per_image
    config = dataclasses.replace(config, num_images=count, num_task_tokens=tasks)
    state = policy.network.state_dict()
    if config.stem:
        (name,) = (key for key in state if key.endswith(f"{config.stem.key}{_POSITIONS}"))
        positions = state[name]
        extra = max(0, count - len(positions))
        state[name] = torch.cat([positions[:count], positions[-1:].repeat(extra, 1, 1)])
    return policy.replace(network=rebuild(config, state), config=config, contract=None)


def rebuild(config: VlaAdapterConfig, state: Mapping[str, Tensor]) -> VlaAdapter:
    """A network of other settings around the same tensors, in inference mode."""
    with torch.device("meta"):
        network = VlaAdapter(config)
    network.load_state_dict(state, assign=True)
    network.language_model.restore_frequencies()
    return network.eval()
