"""Write checkpoints, which the official code can read where it could run them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.files import write_file
from vla_adapter_ros.model.checkpoint import Checkpoint
from vla_adapter_ros.model.checkpoint_files import COMPONENTS, CONFIG, CONTRACT, STATISTICS, component_files
from vla_adapter_ros.model.official_files import official_differences, official_files, with_dtype
from vla_adapter_ros.model.weights import INDEX, SINGLE, Weights
from vla_adapter_ros.paths import locate


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
        CONFIG,
        STATISTICS,
        CONTRACT,
        INDEX,
        *(path.name for path in folder.glob("model-*-of-*.safetensors")),
        *(p.name for c in COMPONENTS for p in component_files(folder, c)),
    ):
        (folder / stale).unlink(missing_ok=True)
    parts = _split(checkpoint.network.state_dict(), dtype)
    _replace(folder / SINGLE, lambda path: save_file(parts["model"], path, metadata={"format": "pt"}))
    if checkpoint.statistics is not None:
        for name in COMPONENTS:
            state = {f"module.{key}": value for key, value in parts[name].items()}
            _replace(folder / f"{name}--checkpoint.pt", partial(torch.save, state))
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
        _replace(folder / name, partial(_write_bytes, data))
    _write_json(folder / CONFIG, checkpoint.config.to_dict())


def _split(state: Weights, dtype: torch.dtype) -> dict[str, Weights]:
    parts: dict[str, Weights] = {"model": {}, **{name: {} for name in COMPONENTS}}
    for key, value in state.items():
        part = key.split(".")[0]
        name, key = (part, key.removeprefix(f"{part}.")) if part in COMPONENTS else ("model", key)
        parts[name][key] = value.detach().to("cpu", dtype, copy=True).contiguous()
    return parts


def _write_bytes(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _write_json(path: Path, data: Any) -> None:
    text = json.dumps(data, indent=2) + "\n"
    _replace(path, lambda target: target.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file that appears at once, when it is complete."""

    def fill(temporary: Path) -> None:
        write(temporary)
        temporary.chmod(0o644)  # safetensors leaves a file that only its owner can read

    try:
        write_file(path, fill)
    except (OSError, RuntimeError, SafetensorError) as error:  # a full disk, in each library's words
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} cannot be written: {reason}") from error
