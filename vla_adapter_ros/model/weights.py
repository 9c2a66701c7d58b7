"""Read weight files as plain tensors: safetensors, single or sharded, and `.pt` without code in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vla_adapter_ros.errors import CheckpointError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"

Weights = dict[str, Tensor]


def read_safetensors(folder: str | Path) -> Weights:
    """Read `model.safetensors`, or the shards that `model.safetensors.index.json` names.

    Args:
        folder: Directory that holds either of the two.

    Returns:
        All tensors by name, on the CPU, in the type they are stored in.

    Raises:
        CheckpointError: neither or both are there; a file is missing, cut short or damaged; a shard
            lies outside the folder; the index and the shards name different tensors.
    """
    folder = Path(folder)
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file() and index.is_file():
        raise CheckpointError(f"{folder} holds both {SINGLE} and {INDEX}: remove the one that is not meant")
    if not index.is_file():
        return read_safetensors_file(single)
    weights: Weights = {}
    for shard, keys in _shards(index).items():
        found = read_safetensors_file(folder / shard)
        if missing := sorted(keys - set(found)):
            raise CheckpointError(f"{folder / shard} lacks {missing[:5]}, which {INDEX} places there")
        if extra := sorted(set(found) - keys):
            raise CheckpointError(f"{folder / shard} holds {extra[:5]}, which {INDEX} does not place there")
        weights |= found
    return weights


def read_safetensors_file(path: str | Path) -> Weights:
    """Read one safetensors file.

    Raises:
        CheckpointError: missing, cut short or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(_damaged(path, error)) from error


def read_plain_pt(path: str | Path, *, nested: bool = False) -> dict[str, Any]:
    """Read a `.pt` file of named tensors; no code in it is ever run.

    Args:
        path: The file.
        nested: Allow dictionaries of tensors inside, and plain values beside them, as published
            training checkpoints have them. Nothing is renamed then; the caller checks what it uses.

    Returns:
        Tensors by name, on the CPU. Without `nested`, the prefix `module.` is taken off the names.

    Raises:
        CheckpointError: missing, damaged, holds code or anything else but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged or unsafe files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as plain weights: damaged, or with code in it (never run): {reason}"
        ) from error
    _check_plain(state, path, nested=nested)
    if nested:
        return state
    return {key.removeprefix("module."): value for key, value in state.items()}


def _shards(index: Path) -> dict[str, set[str]]:
    """Names of the tensors in each shard, as the index has them."""
    try:
        placed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        items = [(str(key), Path(shard)) for key, shard in placed.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no index of shards: {type(error).__name__} {error}") from None
    if not items:
        raise CheckpointError(f"{index} names no tensor")
    shards: dict[str, set[str]] = {}
    for key, shard in items:
        if shard.is_absolute() or len(shard.parts) != 1 or shard.name in ("", ".."):
            raise CheckpointError(
                f"{index} places {key!r} in {str(shard)!r}: a file name in the same folder is needed"
            )
        shards.setdefault(shard.name, set()).add(key)
    return shards


def _check_plain(value: Any, path: Path, *, nested: bool) -> None:
    """With `nested` the reader has let only tensors, plain values and containers through already."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise CheckpointError(f"{path} holds {type(value).__name__}; named tensors are needed")
    for key, item in value.items():
        if not nested and not isinstance(item, Tensor):
            raise CheckpointError(f"{path}: {key!r} is {type(item).__name__}; a tensor is needed")


class StoredTensor(NamedTuple):
    """What a file says about a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: str
    """Name as in safetensors files, such as `BF16`."""


def stored_tensors(folder: str | Path) -> dict[str, StoredTensor]:
    """Shapes and types in `model.safetensors` or its shards, from the files' headers alone.

    Raises:
        CheckpointError: as `read_safetensors`, but the data itself is not looked at.
    """
    folder = Path(folder)
    index = folder / INDEX
    names = list(_shards(index)) if index.is_file() else [SINGLE]
    found: dict[str, StoredTensor] = {}
    for path in (folder / name for name in names):
        if not path.is_file():
            raise CheckpointError(f"{path} is missing")
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():
                    part = file.get_slice(key)
                    found[key] = StoredTensor(tuple(part.get_shape()), part.get_dtype())
        except (SafetensorError, ValueError, OSError) as error:
            raise CheckpointError(_damaged(path, error)) from error
    return found


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is damaged or cut short ({path.stat().st_size} bytes): {error}"
