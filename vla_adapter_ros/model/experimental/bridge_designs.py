"""The designs that the paper compares: which hidden states the policy reads, and of which layer."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.config import VlaAdapterConfig, select_hidden_layers
from vla_adapter_ros.model.config_enums import ConditionGroups, LayerChoice, TokenOrder


class BridgeDesign(NamedTuple):
    """What the policy reads of the language model: which states, and of which layer."""

    conditions: ConditionGroups
    layer: LayerChoice


BRIDGE_DESIGNS = {
    "last_raw": BridgeDesign(ConditionGroups.RAW, LayerChoice.LAST),
    "middle_raw": BridgeDesign(ConditionGroups.RAW, LayerChoice.MIDDLE),
    "all_raw": BridgeDesign(ConditionGroups.RAW, LayerChoice.ALL),
    "last_query": BridgeDesign(ConditionGroups.QUERY, LayerChoice.LAST),
    "all_query": BridgeDesign(ConditionGroups.QUERY, LayerChoice.ALL),
    "bridge": BridgeDesign(ConditionGroups.BOTH, LayerChoice.ALL),
}
"""The four earlier designs that the paper compares, queries of all layers, and the paper's own."""


def with_bridge_design(config: VlaAdapterConfig, design: str) -> VlaAdapterConfig:
    """The same model with another way of reading the language model, by its name in `BRIDGE_DESIGNS`.

    Raw designs on a causal language model get the token order `text_first` too: in the official order
    the patches come before the instruction and never see it, so the policy would not know its task.

    Raises:
        ModelConfigError: unknown name.
    """
    if design not in BRIDGE_DESIGNS:
        raise ModelConfigError(f"bridge design = {design!r}: allowed is one of {list(BRIDGE_DESIGNS)}")
    conditions, layer = BRIDGE_DESIGNS[design]
    hidden_layers = select_hidden_layers(layer, config.llm.layers, config.head.blocks)
    head = dataclasses.replace(config.head, hidden_layers=hidden_layers)
    return with_conditions(dataclasses.replace(config, head=head), conditions)


def with_conditions(config: VlaAdapterConfig, conditions: ConditionGroups) -> VlaAdapterConfig:
    """The same model whose head reads these states, in a token order that lets it know its task."""
    head = dataclasses.replace(config.head, conditions=conditions)
    blind = conditions is ConditionGroups.RAW and not config.llm.bidirectional
    order = TokenOrder.TEXT_FIRST if blind else config.token_order
    return dataclasses.replace(config, head=head, token_order=order)
