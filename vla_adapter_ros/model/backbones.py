"""Start from a published vision-language model: its weights, with fresh action queries and a fresh head.

Two layouts are known:

- Prismatic: a `.pt` file, `{"model": {"vision_backbone": ..., "llm_backbone": ..., "projector": ...}}`,
  or the run directory that holds it as `checkpoints/latest-checkpoint.pt`. Models that were trained
  with frozen vision towers lack `vision_backbone`; the towers then come from files of their own.
- OpenVLA, as published for transformers: a directory of safetensors, with nearly the names of this package.

Names after github.com/TRI-ML/prismatic-vlms (its modules and `save_checkpoint`) and
github.com/openvla/openvla (its conversion script for transformers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.head import ActionHead, ProprioProjector
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.policy import VlaAdapterPolicy
from vla_adapter_ros.model.tokenizer import Tokenizer
from vla_adapter_ros.model.weights import (
    Weights,
    check_numbers,
    read_plain_pt,
    read_safetensors,
    read_safetensors_file,
)
from vla_adapter_ros.paths import locate

PARTS = ("vision_backbone", "llm_backbone", "projector")
LATEST = Path("checkpoints") / "latest-checkpoint.pt"
FRESH = ("action_queries", "action_head", "proprio_projector")

_RENAMED = (
    (r"^vision_backbone\.dino_featurizer\.", "vision_backbone.featurizer."),
    (r"^vision_backbone\.siglip_featurizer\.", "vision_backbone.fused_featurizer."),
    (r"^llm_backbone\.llm\.", "language_model."),
    (r"^projector\.projector\.0\.", "projector.fc1."),
    (r"^projector\.projector\.2\.", "projector.fc2."),
    (r"^projector\.projector\.4\.", "projector.fc3."),
    (r"\.gamma$", ".scale_factor"),  # transformers used to rename gamma by itself, so it was avoided
)
# The word head is never run; older versions stored the rotary frequencies, which follow from the sizes.
_IGNORED = re.compile(r"^language_model\.lm_head\.|\.rotary_emb\.inv_freq$")


def read_backbone(
    path: str | Path,
    config: VlaAdapterConfig,
    *,
    tokenizer: str | Path | None = None,
    towers: Mapping[str, str | Path] | None = None,
    dtype: torch.dtype | None = None,
) -> VlaAdapterPolicy:
    """Read a published backbone; its head is new, so fine-tune it before `predict`.

    Draws queries and head from torch's global generator; seed it for a repeatable start.

    Args:
        path: Prismatic `.pt` file or run directory, or OpenVLA directory.
        config: What the weights must fit, e.g. `preset("0.5b")`, `preset("llama2-7b")`,
            `preset("openvla-7b")`.
        tokenizer: Folder with `tokenizer.json`; default: `path`, if it is a directory.
        towers: Only where the file lacks the vision towers: for each tower's key (`featurizer`,
            `fused_featurizer`) a safetensors or `.pt` file with timm's names. Position embeddings of
            another image size are resampled.
        dtype: Type of all weights; default: that of the stored word embedding.

    Returns:
        A policy without statistics: a backbone, as `VlaAdapterPolicy.with_new_head` takes it.

    Raises:
        CheckpointError: missing, damaged, or weights that do not fit `config`; the message names them.
    """
    path = locate(path)
    words_folder = tokenizer if tokenizer is not None else path
    if words_folder is path and not path.is_dir():
        raise CheckpointError(f"{path} is a file without a tokenizer: name the tokenizer's folder")
    weights = _read(path)
    check_numbers(weights, path)
    if towers:
        weights |= _read_towers(towers, weights, config)
    if not any(key.startswith("vision_backbone.") for key in weights):
        raise CheckpointError(
            f"{path} holds no vision towers: name a file for each of {[vit.key for vit in config.vits]}"
        )
    words = Tokenizer.from_folder(words_folder, config.prompt)
    return VlaAdapterPolicy(_build(config, weights, path, dtype), config, words)


def rename(weights: Weights) -> Weights:
    """Published names to those of this package; what the network does not have is left out.

    Raises:
        CheckpointError: two names become one.
    """
    renamed: Weights = {}
    for key, value in weights.items():
        name = key
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        if _IGNORED.search(name):
            continue
        if name in renamed:
            raise CheckpointError(f"{key!r} becomes {name!r}, which is there already")
        renamed[name] = value
    return renamed


def resample_positions(positions: Tensor, tokens: int) -> Tensor:
    """Position embeddings of a square grid (1, T, width) to (1, tokens, width), bicubic with antialias.

    As the towers' library does when the image size changes (DINOv2 was published for 518 pixels).

    Raises:
        CheckpointError: either count is not a square.
    """
    before, after = (int(count**0.5) for count in (positions.shape[1], tokens))
    if before**2 != positions.shape[1] or after**2 != tokens:
        raise CheckpointError(f"position embeddings of {positions.shape[1]} to {tokens} tokens: need squares")
    if before == after:
        return positions
    grid = positions.float().unflatten(1, (before, before)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(after, after), mode="bicubic", antialias=True)
    return grid.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)


def _read(path: Path) -> Weights:
    if path.is_dir() and not (path / LATEST).is_file():
        return rename(read_safetensors(path))
    state = read_plain_pt(path / LATEST if path.is_dir() else path, nested=True)
    model = state.get("model")
    if not isinstance(model, dict):
        raise CheckpointError(f"{path} has no 'model', but {_few(state)}: no Prismatic checkpoint")
    missing, unknown = {"llm_backbone", "projector"} - set(model), set(model) - set(PARTS)
    if missing or unknown:
        raise CheckpointError(
            f"{path} holds the parts {sorted(model)}: needed are {list(PARTS[1:])}, allowed is {PARTS[0]!r}"
        )
    return rename({f"{part}.{key}": value for part in model for key, value in _tensors(model, part, path)})


def _tensors(model: dict[str, Any], part: str, path: Path) -> Iterable[tuple[str, Tensor]]:
    entries = model[part]
    if not isinstance(entries, dict) or not all(isinstance(value, Tensor) for value in entries.values()):
        raise CheckpointError(f"{path}: {part!r} holds something else than named tensors")
    return entries.items()


def _read_towers(towers: Mapping[str, str | Path], weights: Weights, config: VlaAdapterConfig) -> Weights:
    found: Weights = {}
    sizes = {vit.key: vit.tokens for vit in config.vits}
    for key, file in towers.items():
        prefix = f"vision_backbone.{key}."
        if key not in sizes:
            raise CheckpointError(f"vision tower {key!r}: the configuration has {list(sizes)}")
        if any(name.startswith(prefix) for name in weights):
            raise CheckpointError(f"vision tower {key!r} is in the checkpoint already: leave {file} out")
        file = Path(file)
        state = read_plain_pt(file) if file.suffix in (".pt", ".bin") else read_safetensors_file(file)
        found |= rename({prefix + name: value for name, value in state.items()})
        if (name := prefix + "pos_embed") in found:
            found[name] = resample_positions(found[name], sizes[key])
    return found


def _build(config: VlaAdapterConfig, weights: Weights, path: Path, dtype: torch.dtype | None) -> VlaAdapter:
    """Build without memory, put the stored tensors in place, and make the rest new."""
    with torch.device("meta"):
        network = VlaAdapter(config)
    expected = {k: v.shape for k, v in network.state_dict().items() if k.split(".")[0] not in FRESH}
    missing, unexpected = set(expected) - set(weights), set(weights) - set(expected)
    shapes = [
        f"{key}: {tuple(weights[key].shape)} instead of {tuple(shape)}"
        for key, shape in expected.items()
        if key in weights and weights[key].shape != shape
    ]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f"{path} does not fit configuration '{config.name}': missing {_few(missing)}, "
            f"unexpected {_few(unexpected)}, of another shape {_few(shapes)}"
        )
    dtype = dtype or weights["language_model.model.embed_tokens.weight"].dtype
    network.load_state_dict(
        {key: value.to(dtype) for key, value in weights.items()}, strict=False, assign=True
    )
    hidden = config.llm.hidden
    network.action_queries = nn.Embedding(config.num_queries, hidden)
    nn.init.normal_(network.action_queries.weight, std=config.llm.init_std)
    network.action_head = ActionHead(config)
    network.proprio_projector = ProprioProjector(config.state_width, hidden)
    network = network.to(dtype)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network.eval()


def _few(names: Iterable[str], limit: int = 5) -> str:
    names = sorted(names)
    return f"{names[:limit]}" + (f" and {len(names) - limit} more" if len(names) > limit else "")
