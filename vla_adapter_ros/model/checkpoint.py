"""Checkpoint directories: the official layout, with what it lacks in `vla_adapter.json`.

config.json, preprocessor_config.json, generation_config.json   as published
model.safetensors                          towers, projector, language model, queries
action_head--*checkpoint.pt                policy head; absent in a grounded backbone
proprio_projector--*checkpoint.pt          proprioception projector; absent in a backbone
dataset_statistics.json                    absent in a backbone
tokenizer.json ...                         tokenizer
vla_adapter.json                           ours: the whole `VlaAdapterConfig`
contract.yaml                              ours: the robot it was trained for, if known
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vla_adapter_ros.contract import Contract, read_contract, write_contract
from vla_adapter_ros.errors import CheckpointError, ModelConfigError
from vla_adapter_ros.model.config import VlaAdapterConfig, config_from_dict
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.normalization import Statistics, read_statistics
from vla_adapter_ros.model.official import find_platform, official_files, read_official_config
from vla_adapter_ros.model.tokenizer import Tokenizer

COMPONENTS = ("action_head", "proprio_projector")
OURS, WEIGHTS, STATISTICS, CONTRACT = (
    "vla_adapter.json", "model.safetensors", "dataset_statistics.json", "contract.yaml",
)  # fmt: skip
_KEPT = ("config.json", "preprocessor_config.json", "generation_config.json")
_IGNORED_WEIGHTS = ("language_model.lm_head.weight",)  # tied to the embedding, and never read

Weights = dict[str, Tensor]


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
    statistics_name: str | None = None,
    attention: str | None = None,
) -> Checkpoint:
    """Read a checkpoint of ours or an official one. The weights keep the type they are stored in.

    Args:
        folder: The directory.
        platform: For official checkpoints whose data set's name does not tell: `libero`, ...
        statistics_name: Which entry of the statistics to use, if there are several.
        attention: Attention implementation (`sdpa` or `eager`) in place of the stored one.

    Raises:
        CheckpointError: incomplete, damaged, or another layout.
        StatisticsError: the statistics are unusable.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"no checkpoint directory at {folder}")
    files = {name: find_component(folder, name) for name in COMPONENTS}
    has_statistics = (folder / STATISTICS).is_file()
    if len({has_statistics, *(path is not None for path in files.values())}) != 1:
        found = {name: path is not None for name, path in files.items()}
        raise CheckpointError(f"{folder} is incomplete: {found}, {STATISTICS}: {has_statistics}")
    parts = {name: _read_component(path) for name, path in files.items() if path is not None}
    statistics = read_statistics(folder / STATISTICS, statistics_name) if has_statistics else None
    if (folder / OURS).is_file():
        config = _read_own_config(folder / OURS)
    elif statistics is None:
        raise CheckpointError(f"{folder} holds neither {OURS} nor a policy head: nothing to load")
    else:
        config = _official_config(folder, parts, find_platform(platform, statistics.name))
    if attention is not None:
        config = dataclasses.replace(config, attention=attention)
    network = _load(config, _read_weights(folder / WEIGHTS), parts, folder)
    contract = read_contract(folder / CONTRACT) if (folder / CONTRACT).is_file() else None
    return Checkpoint(
        network=network,
        config=config,
        tokenizer=Tokenizer.from_folder(folder, config.prompt),
        statistics=statistics,
        contract=contract,
        kept_files={name: (folder / name).read_bytes() for name in _KEPT if (folder / name).is_file()},
    )


def write_checkpoint(checkpoint: Checkpoint, folder: str | Path, *, dtype: torch.dtype) -> None:
    """Write a checkpoint; an older one in the same directory is replaced file by file.

    Every file is complete or absent at any moment, and `vla_adapter.json` comes last. A caller that
    needs the whole directory to appear at once writes to a temporary one and renames it.

    Args:
        checkpoint: What to write.
        folder: Directory; made if missing.
        dtype: Type in which the weights are stored.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (
        OURS,
        STATISTICS,
        CONTRACT,
        *(p.name for c in COMPONENTS for p in _component_files(folder, c)),
    ):
        (folder / stale).unlink(missing_ok=True)
    parts = _split(checkpoint.network.state_dict(), dtype)
    _replace(folder / WEIGHTS, lambda path: save_file(parts["model"], path, metadata={"format": "pt"}))
    if checkpoint.statistics is not None:
        for name in COMPONENTS:
            state = {f"module.{key}": value for key, value in parts[name].items()}
            _replace(folder / f"{name}--checkpoint.pt", lambda path, state=state: torch.save(state, path))
        entry = {checkpoint.statistics.name: checkpoint.statistics.to_dict()}
        _write_json(folder / STATISTICS, entry)
    if checkpoint.contract is not None:
        write_contract(checkpoint.contract, folder / CONTRACT)
    checkpoint.tokenizer.save(folder)
    for name, data in {**official_files(checkpoint.config), **checkpoint.kept_files}.items():
        _replace(folder / name, lambda path, data=data: path.write_bytes(data))
    _write_json(folder / OURS, checkpoint.config.to_dict())


def find_component(folder: Path, name: str) -> Path | None:
    """The one file whose name holds the component's name and "checkpoint" (official rule); None if absent.

    Raises:
        CheckpointError: several such files.
    """
    found = _component_files(folder, name)
    if len(found) > 1:
        raise CheckpointError(f"{folder} holds several files for {name}: {[p.name for p in found]}")
    return found[0] if found else None


def _component_files(folder: Path, name: str) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and name in p.name and "checkpoint" in p.name)


def _read_component(path: Path) -> Weights:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged or unsafe files
        raise CheckpointError(f"{path} cannot be read as plain weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds something else than named tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _read_weights(path: Path) -> Weights:
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    return {key: value for key, value in state.items() if key not in _IGNORED_WEIGHTS}


def _read_own_config(path: Path) -> VlaAdapterConfig:
    try:
        return config_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ModelConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def _official_config(folder: Path, parts: dict[str, Weights], platform: Any) -> VlaAdapterConfig:
    head, proprio = parts["action_head"], parts["proprio_projector"]
    try:
        action_dim, proprio_dim = len(head["model.fc2.bias"]), proprio["fc1.weight"].shape[1]
    except KeyError as error:
        raise CheckpointError(f"{folder}: the policy head lacks {error}") from None
    return read_official_config(
        folder,
        platform,
        head_kind="pro" if any(".k_task." in key for key in head) else "base",
        film_weights=any(".film_gen." in key for key in head),
        action_dim=action_dim,
        proprio_dim=proprio_dim,
    )


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


def _few(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return f"{names[:most]}" + (f" and {len(names) - most} more" if len(names) > most else "")


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
    write(temporary)
    temporary.chmod(0o644)  # safetensors leaves a file that only its owner can read
    os.replace(temporary, path)
