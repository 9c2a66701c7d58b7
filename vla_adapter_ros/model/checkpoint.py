"""Checkpoint directories: the official layout, with what it lacks in `vla_adapter.json`.

config.json, preprocessor_config.json, generation_config.json   as published
model.safetensors (or its index, shards)   towers, projector, language model, queries
action_head--*checkpoint.pt                policy head; absent in a grounded backbone
proprio_projector--*checkpoint.pt          proprioception projector; absent in a backbone
dataset_statistics.json                    absent in a backbone
tokenizer.json ...                         tokenizer
vla_adapter.json                           not official: the whole `VlaAdapterConfig`
contract.yaml                              not official: the robot it was trained for, if known
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from vla_adapter_ros.contract import Contract, read_contract, write_contract
from vla_adapter_ros.errors import CheckpointError, ModelConfigError
from vla_adapter_ros.model.config import VlaAdapterConfig, config_from_dict
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.normalization import Statistics, read_statistics
from vla_adapter_ros.model.official import get_platform, read_official_config
from vla_adapter_ros.model.official_files import official_differences, official_files, with_dtype
from vla_adapter_ros.model.overrides import override
from vla_adapter_ros.model.tokenizer import Tokenizer
from vla_adapter_ros.model.weights import (
    INDEX,
    SINGLE,
    Weights,
    check_numbers,
    read_plain_pt,
    read_safetensors,
)
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import leaves, read_json

COMPONENTS = ("action_head", "proprio_projector")
OURS, STATISTICS, CONTRACT = "vla_adapter.json", "dataset_statistics.json", "contract.yaml"
_KEPT = ("config.json", "preprocessor_config.json", "generation_config.json")
IGNORED_WEIGHTS = ("language_model.lm_head.weight",)  # tied to the embedding, and never read


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a checkpoint directory holds. Without `statistics` it is a backbone: no head."""

    network: VlaAdapter
    config: VlaAdapterConfig
    tokenizer: Tokenizer
    statistics: Statistics | None = None
    contract: Contract | None = None
    kept_files: dict[str, bytes] = field(default_factory=dict)


def read_checkpoint(
    folder: str | Path,
    *,
    platform: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    statistics_name: str | None = None,
    attention: str | None = None,
    finite: bool = True,
) -> Checkpoint:
    """Read a checkpoint of this package or an official one. The weights keep the type they are stored in.

    Nothing in the directory is ever run: weights are read as plain tensors, and code files, backups of
    config.json and the adapter in lora_adapter/ are not looked at.

    Args:
        folder: The directory.
        platform: For official checkpoints, which do not store it: `libero`, `calvin`, ...
        preprocessing: Changes to single settings, see `overrides.OVERRIDES`.
        statistics_name: Which entry of the statistics to use, if there are several.
        attention: Attention implementation (`sdpa` or `eager`) in place of the stored one.
        finite: Whether weights that are not finite are refused.

    Raises:
        CheckpointError: incomplete, damaged, not finite, another layout, or a platform missing, unknown or
            in vain.
        ModelConfigError: an override that is not allowed.
        StatisticsError: the statistics are unusable.
    """
    folder = locate(folder)
    if not folder.is_dir():
        raise CheckpointError(f"no checkpoint directory at {folder}")
    files = find_components(folder)
    parts = {name: read_plain_pt(path) for name, path in files.items()}
    own = (folder / OURS).is_file()
    if not own and not files:
        raise CheckpointError(f"{folder} holds neither {OURS} nor a policy head: nothing to load")
    if own and platform is not None:
        raise CheckpointError(
            f"{folder} is a checkpoint of this package, which stores everything: platform {platform!r} is "
            "only for official ones"
        )
    statistics = read_statistics(folder / STATISTICS, statistics_name) if files else None
    if not own:
        get_platform(platform, folder)  # before gigabytes are read
    weights = _read_weights(folder)
    if own:
        config = read_own_config(folder / OURS)
    else:
        config = read_official_config(
            folder,
            platform,
            model=_shapes(weights),
            head=_shapes(parts["action_head"]),
            proprio=_shapes(parts["proprio_projector"]),
        )
    config = override(config, preprocessing, official=not own)
    if attention is not None:
        config = dataclasses.replace(config, attention=attention)
    for numbers in (weights, *parts.values()):
        check_numbers(numbers, folder, finite=finite)
    network = _load(config, weights, parts, folder)
    contract = read_contract(folder / CONTRACT) if (folder / CONTRACT).is_file() else None
    return Checkpoint(
        network=network,
        config=config,
        tokenizer=Tokenizer.from_folder(folder, config.prompt),
        statistics=statistics,
        contract=contract,
        kept_files={name: (folder / name).read_bytes() for name in _KEPT if _is_kept(folder / name)},
    )


def write_checkpoint(checkpoint: Checkpoint, folder: str | Path, *, dtype: torch.dtype) -> None:
    """Write a checkpoint; an older one in the same directory is replaced file by file.

    Every file is complete or absent at any moment, and `vla_adapter.json` comes last. A caller that
    needs the whole directory to appear at once writes to a temporary one and renames it.

    Args:
        checkpoint: What to write.
        folder: Directory; made if missing.
        dtype: Type in which the weights are stored.

    Raises:
        CheckpointError: the network carries LoRA layers, which no reader of checkpoints knows.
    """
    if any(".lora_" in name for name, _ in checkpoint.network.named_parameters()):
        raise CheckpointError(
            "the network carries LoRA layers: merge them first (training.adapters.plain_copy)"
        )
    folder = locate(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (
        OURS,
        STATISTICS,
        CONTRACT,
        INDEX,
        *(path.name for path in folder.glob("model-*-of-*.safetensors")),
        *(p.name for c in COMPONENTS for p in _component_files(folder, c)),
    ):
        (folder / stale).unlink(missing_ok=True)
    parts = _split(checkpoint.network.state_dict(), dtype)
    _replace(folder / SINGLE, lambda path: save_file(parts["model"], path, metadata={"format": "pt"}))
    if checkpoint.statistics is not None:
        for name in COMPONENTS:
            state = {f"module.{key}": value for key, value in parts[name].items()}
            _replace(folder / f"{name}--checkpoint.pt", lambda path, state=state: torch.save(state, path))
        entry = {checkpoint.statistics.name: checkpoint.statistics.to_dict()}
        _write_json(folder / STATISTICS, entry)
    if checkpoint.contract is not None:
        write_contract(checkpoint.contract, folder / CONTRACT)
    checkpoint.tokenizer.save(folder)
    stored_as = str(dtype).removeprefix("torch.")
    made = official_files(
        checkpoint.config, checkpoint.statistics, pad_id=checkpoint.tokenizer.pad_id, dtype=stored_as
    )
    kept = dict(checkpoint.kept_files)
    if official_differences(checkpoint.config):
        kept.pop("config.json", None)  # with it the published code would compute something else
    if "config.json" in kept:
        kept["config.json"] = with_dtype(kept["config.json"], stored_as)
    for name, data in {**made, **kept}.items():
        _replace(folder / name, lambda path, data=data: path.write_bytes(data))
    _write_json(folder / OURS, checkpoint.config.to_dict())


def _is_kept(path: Path) -> bool:
    """Whether a file is written again as it is; a link out of the directory is not followed."""
    return path.is_file() and not leaves(path, path.parent)


def find_components(folder: Path) -> dict[str, Path]:
    """The files of head and proprioception projector; empty for a backbone, which has no statistics either.

    Official rule: the one file whose name holds the component's name and "checkpoint".

    Raises:
        CheckpointError: several files for a component, or some of what belongs together is missing.
    """
    found: dict[str, Path] = {}
    for name in COMPONENTS:
        files = _component_files(folder, name)
        if len(files) > 1:
            raise CheckpointError(f"{folder} holds several files for {name}: {[p.name for p in files]}")
        if files:
            found[name] = files[0]
    needed = {f"{name}--*checkpoint.pt": name in found for name in COMPONENTS}
    needed[STATISTICS] = (folder / STATISTICS).is_file()
    if len(set(needed.values())) != 1:
        missing = [name for name, there in needed.items() if not there]
        raise CheckpointError(f"{folder} is incomplete: it lacks {' and '.join(missing)}")
    return found


def _component_files(folder: Path, name: str) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and name in p.name and "checkpoint" in p.name)


def _read_weights(folder: Path) -> Weights:
    return {key: value for key, value in read_safetensors(folder).items() if key not in IGNORED_WEIGHTS}


def _shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in weights.items()}


def read_own_config(path: Path) -> VlaAdapterConfig:
    """Read `vla_adapter.json`.

    Raises:
        CheckpointError: damaged, or with an unknown key or a value that is not allowed.
    """
    try:
        return config_from_dict(read_json(path))
    except (OSError, ValueError, ModelConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def _load(config: VlaAdapterConfig, model: Weights, parts: dict[str, Weights], folder: Path) -> VlaAdapter:
    """Build without memory, then put the stored tensors in place; every name must fit."""
    with torch.device("meta" if parts else "cpu"):
        network = VlaAdapter(config)
    state = dict(model)
    for name, weights in parts.items():
        state |= {f"{name}.{key}": value for key, value in weights.items()}
    dtype = state["action_queries.weight"].dtype if "action_queries.weight" in state else torch.float32
    if not parts:  # a backbone: its head is new, in the type of the stored weights
        network = network.to(dtype)
        head = {k: v for k, v in network.state_dict().items() if k.split(".")[0] in COMPONENTS}
        state |= head
    _check_names(network.state_dict(), state, folder)
    network.load_state_dict(state, strict=True, assign=True)
    network.language_model.restore_frequencies()
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network.eval()


def _check_names(expected: Weights, found: Weights, folder: Path) -> None:
    missing, unexpected = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    shapes = [
        f"{key}: {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f"{folder}: weights do not fit the configuration; missing {_few(missing)}, "
            f"unexpected {_few(unexpected)}, of another shape {_few(shapes)}"
        )


def _few(names: Iterable[str], limit: int = 5) -> str:
    names = list(names)
    return f"{names[:limit]}" + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _split(state: Weights, dtype: torch.dtype) -> dict[str, Weights]:
    parts: dict[str, Weights] = {"model": {}, **{name: {} for name in COMPONENTS}}
    for key, value in state.items():
        part = key.split(".")[0]
        name, key = (part, key.removeprefix(f"{part}.")) if part in COMPONENTS else ("model", key)
        parts[name][key] = value.detach().to("cpu", dtype, copy=True).contiguous()
    return parts


def _write_json(path: Path, data: Any) -> None:
    text = json.dumps(data, indent=2) + "\n"
    _replace(path, lambda target: target.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Any) -> None:
    """Let `write` fill a temporary file, then put it in place at once."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        temporary.chmod(0o644)  # safetensors leaves a file that only its owner can read
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:  # a full disk, in each library's words
        temporary.unlink(missing_ok=True)
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} cannot be written: {reason}") from error
