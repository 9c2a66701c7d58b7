"""Low-rank adapters (LoRA) in the backbone: each linear layer learns an update of low rank, not its weights.

The policy (action queries, head and proprioception projector) trains beside them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapter
from vla_adapter_ros.training.setting_words import LoraTargets, PolicyPart

BACKBONE_PARTS = ("vision_backbone", "projector", "language_model")
_NAME = "default"  # the adapter's name inside the layers


def backbone_layers(network: VlaAdapter, targets: str = "all-linear") -> tuple[str, ...]:
    """Names of the layers that LoRA adapts: linear ones of the backbone, and the patch embeddings.

    Args:
        network: A network without adapters.
        targets: `all-linear` is what published checkpoints were trained with. `used-linear` leaves out
            the last ViT blocks and the attention pool, whose output nothing reads: their adapters get
            no gradient.

    Raises:
        TrainingError: another value of `targets`.
    """
    if targets not in LoraTargets.words():
        raise TrainingError(f"targets = {targets!r}: allowed are {LoraTargets.words()} or names of layers")
    unused = _unused(network) if targets == LoraTargets.USED_LINEAR else ()
    return tuple(
        name
        for name, module in network.named_modules()
        if _part(name) in BACKBONE_PARTS
        and (isinstance(module, nn.Linear) or name.endswith("patch_embed.proj"))
        and not name.startswith(unused)
    )


def add_lora(
    network: VlaAdapter,
    rank: int,
    alpha: float | None = None,
    dropout: float = 0.0,
    targets: str | Collection[str] = "all-linear",
) -> VlaAdapter:
    """Put low-rank adapters into the backbone; changes the network in place and returns it.

    Each chosen layer computes W x + alpha / rank * B A x. A (rank, in) starts Gaussian, B (out, rank)
    zero, so nothing changes at first. A, B and the policy train; everything else is frozen, also
    norms, biases and embeddings. Draws from torch's global generator.

    Args:
        network: A network without adapters.
        rank: Rank of the updates, >= 1. Published recipes use 64.
        alpha: Scale; default 2 * rank, as published.
        dropout: On the adapters' input, 0 to below 1.
        targets: `all-linear`, `used-linear` (see `backbone_layers`), or names of layers: full ones, or their
            ends, such as `q_proj` for all layers called so.

    Raises:
        TrainingError: a value that is not allowed, an unknown layer, or adapters are there already.
    """
    if has_lora(network):
        raise TrainingError("the network carries LoRA layers already: take a plain_copy first")
    if not isinstance(rank, int) or rank < 1:
        raise TrainingError(f"rank = {rank!r}: allowed is a whole number from 1")
    alpha = 2 * rank if alpha is None else alpha
    if not alpha > 0:
        raise TrainingError(f"alpha = {alpha!r}: allowed is more than 0")
    if not 0 <= dropout < 1:
        raise TrainingError(f"dropout = {dropout!r}: allowed is 0 to below 1")
    known = backbone_layers(network)
    names = (
        backbone_layers(network, targets)
        if targets in LoraTargets.words()
        else _chosen_layers(known, targets)
    )
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import

    settings = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # a fraction works, too
        lora_dropout=dropout,
        target_modules=list(names),
        init_lora_weights="gaussian",
    )
    inject_adapter_in_model(settings, network, _NAME)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(_part(name) in PolicyPart.words() or ".lora_" in name)
    return network


def _chosen_layers(known: Collection[str], targets: str | Collection[str]) -> tuple[str, ...]:
    targets = [targets] if isinstance(targets, str) else list(targets)
    unknown = [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in known)]
    if unknown or not targets:
        ends = ", ".join(sorted({name.rpartition(".")[2] for name in known}))
        raise TrainingError(
            f"LoRA targets {unknown}: allowed are {' or '.join(LoraTargets.words())}, or layers of the "
            f"backbone by their full names or their ends: {ends}"
        )
    return tuple(name for name in known if any(f".{name}".endswith(f".{t}") for t in targets))


def frozen_to_bf16(network: VlaAdapter) -> VlaAdapter:
    """Keep matrices that do not train in bf16; changes the network in place and returns it.

    Only linear layers, convolutions and embeddings: norms and single vectors stay as they are, since some
    kernels refuse a norm of another type than its input. What trains keeps its type.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
            own = list(module.parameters(recurse=False))
            if not any(parameter.requires_grad for parameter in own):
                for parameter in own:
                    parameter.data = parameter.data.to(torch.bfloat16)
    return network


def has_lora(network: nn.Module) -> bool:
    """Whether `add_lora` was applied."""
    return any(True for _ in _adapted(network))


def plain_copy(network: VlaAdapter) -> VlaAdapter:
    """A copy on the CPU in float32 for saving and evaluating, with W + alpha / rank * B A as the weights.

    The network itself is not changed, and no second copy of it is made where it trains.

    Raises:
        TrainingError: a merged weight is not finite.
    """
    state = {
        name.replace(".base_layer.", "."): value.detach().to("cpu", torch.float32, copy=True)
        for name, value in network.state_dict().items()
        if ".lora_" not in name
    }
    for name, layer in _adapted(network):
        state[f"{name}.weight"] += layer.get_delta_weight(_NAME).detach().to("cpu", torch.float32)
        if not bool(state[f"{name}.weight"].isfinite().all()):
            raise TrainingError(f"the LoRA update of {name} is not finite: it cannot be merged")
    with torch.device("meta"):
        plain = VlaAdapter(network.config)
    plain.load_state_dict(state, strict=True, assign=True)
    plain.language_model.restore_frequencies()
    return plain.requires_grad_(True).eval()


def _part(name: str) -> str:
    return name.split(".", 1)[0]


def _unused(network: VlaAdapter) -> tuple[str, ...]:
    """Prefixes of the layers that are there only so that checkpoints load completely."""
    keys = [f"vision_backbone.{vit.key}" for vit in network.config.vits]
    depths = [vit.depth for vit in network.config.vits]
    last = [f"{key}.blocks.{depth - 1}." for key, depth in zip(keys, depths, strict=True)]
    return (*last, *(f"{key}.attn_pool." for key in keys))


def _adapted(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Layers with an adapter, by name."""
    for name, module in network.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module
