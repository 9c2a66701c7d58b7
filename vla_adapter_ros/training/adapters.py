"""What of a network trains: everything, low-rank adapters in the backbone, or the policy alone.

The policy is the action queries, the head and the proprioception projector; it trains in every mode.
In the frozen mode nothing else does (the paper's frozen backbone; the published code has no switch for
it). With LoRA each linear layer of the backbone learns an update of low rank instead of its weights.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapter
from vla_adapter_ros.training.settings import POLICY_PARTS, TARGETS
from vla_adapter_ros.untrusted import is_finite, read_json, short

BACKBONE_PARTS = ("vision_backbone", "projector", "language_model")
ADAPTER, ADAPTER_CONFIG, POLICY = "adapter_model.safetensors", "adapter_config.json", "policy.safetensors"
_NAME = "default"  # the adapter's name inside the layers; in files it is left out
_PREFIX = "base_model.model."


def train_all(network: VlaAdapter) -> VlaAdapter:
    """Let every parameter train (full fine-tuning); changes the network in place and returns it."""
    return network.requires_grad_(True)


def freeze_backbone(network: VlaAdapter) -> VlaAdapter:
    """Let only the policy train; changes the network in place and returns it.

    Gradients still pass through the language model, because the action queries are its input.

    Raises:
        TrainingError: the network carries adapters: merge them first.
    """
    if has_lora(network):
        raise TrainingError("a network with LoRA layers cannot be frozen: use merge_lora first")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(_part(name) in POLICY_PARTS)
    return network


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
    if targets not in TARGETS:
        raise TrainingError(f"targets = {targets!r}: allowed are {TARGETS} or names of layers")
    unused = _unused(network) if targets == "used-linear" else ()
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
        raise TrainingError("the network carries LoRA layers already: use merge_lora first")
    if not isinstance(rank, int) or rank < 1:
        raise TrainingError(f"rank = {rank!r}: allowed is a whole number from 1")
    alpha = 2 * rank if alpha is None else alpha
    if not alpha > 0:
        raise TrainingError(f"alpha = {alpha!r}: allowed is more than 0")
    if not 0 <= dropout < 1:
        raise TrainingError(f"dropout = {dropout!r}: allowed is 0 to below 1")
    known = backbone_layers(network)
    names = backbone_layers(network, targets) if targets in TARGETS else _chosen_layers(known, targets)
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import

    settings = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(names),
        init_lora_weights="gaussian",
    )
    inject_adapter_in_model(settings, network, _NAME)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(_part(name) in POLICY_PARTS or ".lora_" in name)
    return network


def _chosen_layers(known: Collection[str], targets: str | Collection[str]) -> tuple[str, ...]:
    targets = [targets] if isinstance(targets, str) else list(targets)
    unknown = [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in known)]
    if unknown or not targets:
        ends = ", ".join(sorted({name.rpartition(".")[2] for name in known}))
        raise TrainingError(
            f"LoRA targets {unknown}: allowed are {' or '.join(TARGETS)}, or layers of the backbone by their "
            f"full names or their ends: {ends}"
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


def merge_lora(network: VlaAdapter) -> VlaAdapter:
    """A plain copy with W + alpha / rank * B A as weights; the network itself goes on training.

    The copy has the parameter names of before, so it can be saved, and the published loader reads it.
    All its parameters require gradients, and it is in evaluation mode.

    Raises:
        TrainingError: the network carries no adapters, or a merged weight is not finite.
    """
    if not has_lora(network):
        raise TrainingError("the network carries no LoRA layers: there is nothing to merge")
    plain = copy.deepcopy(network)
    for name, layer in list(_adapted(plain)):
        try:
            layer.merge(safe_merge=True)
        except ValueError:
            raise TrainingError(f"the LoRA update of {name} is not finite: it cannot be merged") from None
        owner, _, last = name.rpartition(".")
        setattr(plain.get_submodule(owner), last, layer.get_base_layer())
    del plain.peft_config
    return train_all(plain).eval()


def plain_copy(network: VlaAdapter) -> VlaAdapter:
    """A copy on the CPU in float32 for saving and judging, with adapters merged as in `merge_lora`.

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
    return train_all(plain).eval()


def save_adapter(network: VlaAdapter, folder: str | Path) -> None:
    """Write what LoRA training changes, to go on later: adapters, their settings, and the policy.

    adapter_model.safetensors, adapter_config.json  the adapters, in the layout of the library peft
    policy.safetensors                              action queries, head, proprioception projector

    Raises:
        TrainingError: the network carries no adapters.
    """
    if not has_lora(network):
        raise TrainingError("the network carries no LoRA layers: there is no adapter to save")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    adapter, policy = {}, {}
    for name, value in network.state_dict().items():
        value = value.detach().cpu().contiguous()
        if ".lora_" in name:
            adapter[_PREFIX + name.replace(f".{_NAME}.", ".")] = value
        elif _part(name) in POLICY_PARTS:
            policy[name] = value
    for file, tensors in ((ADAPTER, adapter), (POLICY, policy)):
        temporary = folder / f".{file}.tmp"
        save_file(tensors, temporary, metadata={"format": "pt"})
        temporary.chmod(0o644)
        os.replace(temporary, folder / file)
    network.peft_config[_NAME].save_pretrained(folder)


def load_adapter(network: VlaAdapter, folder: str | Path) -> VlaAdapter:
    """Put a saved adapter on the network that it was trained on; changes it in place and returns it.

    Args:
        network: The same network as at `add_lora`, without adapters.
        folder: What `save_adapter` wrote.

    Raises:
        TrainingError: a file is missing or damaged, or it belongs to another network.
    """
    folder = Path(folder)
    adapter, policy = _read(folder / ADAPTER), _read(folder / POLICY)
    try:
        settings: dict[str, Any] = read_json(folder / ADAPTER_CONFIG)
        rank, alpha, dropout = (settings[key] for key in ("r", "lora_alpha", "lora_dropout"))
        if type(rank) is not int or not 0 < rank < 10**5 or not is_finite(alpha) or not is_finite(dropout):
            raise ValueError(f"r = {short(rank)}, lora_alpha = {short(alpha)}, dropout = {short(dropout)}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder / ADAPTER_CONFIG}: no settings of an adapter: {error}") from None
    weights = {name.removeprefix(_PREFIX): value for name, value in adapter.items()}
    layers = [name.removesuffix(".lora_A.weight") for name in weights if name.endswith(".lora_A.weight")]
    plain = {name for name, _ in network.named_parameters() if _part(name) in POLICY_PARTS}
    if plain != set(policy):
        raise TrainingError(
            f"{folder / POLICY} belongs to another network: {sorted(plain ^ set(policy))[:5]}"
        )
    add_lora(network, rank, alpha, dropout, layers)
    inner = {name.replace(".weight", f".{_NAME}.weight"): value for name, value in weights.items()}
    expected = {name for name in network.state_dict() if ".lora_" in name}
    if expected != set(inner):
        names = sorted(expected ^ set(inner))[:5]
        raise TrainingError(f"{folder / ADAPTER} belongs to another network or is incomplete: {names}")
    try:
        network.load_state_dict({**inner, **policy}, strict=False)
    except RuntimeError as error:
        raise TrainingError(f"{folder} belongs to another network: {error}") from None
    return network


def _part(name: str) -> str:
    return name.split(".", 1)[0]


def _unused(network: VlaAdapter) -> tuple[str, ...]:
    """Prefixes of the layers that are there only so that checkpoints load completely."""
    keys = [f"vision_backbone.{vit.key}" for vit in network.config.vits]
    depths = [vit.depth for vit in network.config.vits]
    last = [f"{key}.blocks.{depth - 1}." for key, depth in zip(keys, depths, strict=True)]
    return (*last, *(f"{key}.attn_pool." for key in keys))


def _adapted(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers with an adapter, by name."""
    for name, module in network.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path} is missing or damaged: {error}") from None
