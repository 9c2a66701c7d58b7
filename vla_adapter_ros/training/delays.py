"""Fits a policy or backbone to chunks that begin later than its images."""

from __future__ import annotations

import dataclasses

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.cameras import rebuild

_STATE = "proprio_projector.fc1.weight"


def with_delays(policy: VlaAdapterPolicy, most_rows: int, told: bool) -> VlaAdapterPolicy:
    """The same model for other delays.

    What is newly told of committed rows counts nothing at first: a head that is kept predicts as before.

    Args:
        policy: A backbone, or a policy whose head is kept.
        most_rows: How many rows after its image a chunk may begin.
        told: Whether the network is told these rows.

    Raises:
        TrainingError: the head of a policy is a diffusion head, which cannot be told any.
    """
    before = policy.config
    config = dataclasses.replace(before, max_delay_rows=most_rows, committed_rows=told)
    if told and not config.head.kind.is_bridge:
        raise TrainingError(f"committed_rows with a {config.head.kind} head: allowed are base and pro")
    if config.state_width == before.state_width:
        return policy.replace(config=config)
    state = policy.network.state_dict()
    old = state[_STATE]
    wide = old.new_zeros(len(old), config.state_width)
    wide[:, : config.proprio_dim] = old[:, : config.proprio_dim]
    return policy.replace(network=rebuild(config, state | {_STATE: wide}), config=config)
