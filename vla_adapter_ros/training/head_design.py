"""Gives a training's start a head of another design."""

from __future__ import annotations

import dataclasses

import torch

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.model import VlaAdapter, VlaAdapterConfig, VlaAdapterPolicy
from vla_adapter_ros.model.config import select_hidden_layers
from vla_adapter_ros.model.config_enums import ConditionGroups
from vla_adapter_ros.model.experimental.bridge_designs import with_bridge_design, with_conditions
from vla_adapter_ros.training.setting_words import (
    BridgeOption,
    ConditionOption,
    GateOption,
    HeadOption,
    LayerOption,
)
from vla_adapter_ros.training.settings import FinetuneSettings

_QUERIES = "action_queries.weight"


def with_head_design(policy: VlaAdapterPolicy, settings: FinetuneSettings) -> VlaAdapterPolicy:
    """The same backbone, without a head where another one is asked for than it has.

    What is new draws from torch's global generator: further ActionQuery tokens, and later the head.

    Args:
        policy: A backbone, or a policy.
        settings: Its design; `auto` and 0 leave it as it is.

    Raises:
        ModelConfigError: parts that do not fit together, such as a gate of a diffusion head.
    """
    before = policy.config
    config = designed(before, settings)
    if config.head_hidden_layers == before.head_hidden_layers:  # the same layers, whether listed or not
        same = dataclasses.replace(config.head, hidden_layers=before.head.hidden_layers)
        config = dataclasses.replace(config, head=same)
    if config == before:
        return policy
    network, state = VlaAdapter(config), policy.backbone_state()
    queries = network.action_queries.weight.detach().clone()
    queries *= state[_QUERIES].float().std() / queries.std().clamp(min=1e-12)
    kept = min(before.num_queries, config.num_queries)
    queries[:kept] = state[_QUERIES][:kept]
    with torch.no_grad():
        network.load_state_dict(state | {_QUERIES: queries}, strict=False)
    network = network.to(device=policy.network.device, dtype=policy.network.dtype).eval()
    return policy.replace(network=network, config=config, statistics=None)


def designed(config: VlaAdapterConfig, settings: FinetuneSettings) -> VlaAdapterConfig:
    """The configuration with another head.

    Raises:
        ModelConfigError: parts that do not fit together.
    """
    if settings.bridge is not BridgeOption.AUTO:
        config = with_bridge_design(config, settings.bridge)
    if settings.conditions is not ConditionOption.AUTO:
        config = with_conditions(config, ConditionGroups(settings.conditions))
    head = config.head
    if settings.head is not HeadOption.AUTO:
        kind = HeadKind(settings.head)
        head = dataclasses.replace(head, kind=kind, film_weights=head.film_weights and kind is HeadKind.PRO)
    if settings.condition_layers is not LayerOption.AUTO:
        layers = select_hidden_layers(str(settings.condition_layers), config.llm.layers, head.blocks)
        head = dataclasses.replace(head, hidden_layers=layers)
    if settings.gate is not GateOption.AUTO:
        fixed = settings.gate in (GateOption.SHUT, GateOption.OPEN)
        head = dataclasses.replace(
            head,
            gate=float(settings.gate) if fixed else None,
            gate_per_head=settings.gate is GateOption.PER_HEAD,
        )
    chunk, queries = settings.chunk or config.chunk, settings.queries or config.num_queries
    return dataclasses.replace(config, head=head, chunk=chunk, num_queries=queries)
