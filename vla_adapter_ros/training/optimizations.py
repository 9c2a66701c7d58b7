"""Less memory or time for the same steps: activations computed again, faster layers, compiled layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from vla_adapter_ros.model.config_enums import Attention
from vla_adapter_ros.model.experimental.diffusion_head import DitBlock
from vla_adapter_ros.model.head import BridgeBlock
from vla_adapter_ros.model.vision import SelfAttention, VitBlock
from vla_adapter_ros.training.adapters import has_lora

LAYERS = (VitBlock, Qwen2DecoderLayer, LlamaDecoderLayer, BridgeBlock, DitBlock)


def repeated_layers(model: nn.Module) -> list[nn.Module]:
    """The blocks of vision towers, language model and policy head, in the model's order."""
    return [module for module in model.modules() if isinstance(module, LAYERS)]


@contextmanager
def recomputed_activations(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Inside, each block keeps its inputs only, and is run again in the backward pass.

    The gradients are the same, dropout included. One more forward pass is the price.
    """
    layers = repeated_layers(model) if wanted else []
    for layer in layers:
        layer.forward = functools.partial(_again, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own shows again


def _again(forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    return checkpoint(forward, *inputs, use_reentrant=False, **named)


def apply_training_optimizations(network: nn.Module, device: torch.device) -> None:
    """Replace layers by faster ones that compute the same in training; changes the network in place.

    Adapters of linear layers are added to the output in place (see `lora_product`). On a CPU the towers'
    attention is written out: forward and backward together take half the time of the fused kernel.
    """
    if has_lora(network):
        from vla_adapter_ros.training.lora_product import fuse  # peft takes seconds to import

        fuse(network)
    if device.type == "cpu":
        for module in network.modules():
            if isinstance(module, SelfAttention):
                module.attention = Attention.EAGER


def compile_layers(model: nn.Module) -> None:
    """Give each block to torch.compile, which makes one kind of block once; the first steps take longer."""
    for layer in repeated_layers(model):
        layer.compile(dynamic=False)
