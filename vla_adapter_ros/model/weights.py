"""Read weight files as plain tensors: safetensors, single or sharded, and `.pt` without code in it."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.untrusted import pointer_note, read_json, short

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"

Weights = dict[str, Tensor]
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_LARGEST_PICKLE = 64 << 20  # bytes; names and shapes of the largest published file take 1 MB


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
    records = _stored_records(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged or unsafe files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as plain weights: damaged, or with code in it (never run): {reason}"
        ) from error
    _check_plain(state, path, nested=nested)
    _check_bounds(state, path, records)
    if nested:
        return state
    return {key.removeprefix("module."): value for key, value in state.items()}


def _shards(index: Path) -> dict[str, set[str]]:
    """Names of the tensors in each shard, as the index has them."""
    try:
        placed = read_json(index)["weight_map"]
        items = [(str(key), Path(shard)) for key, shard in placed.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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


def _stored_records(path: Path) -> Counter[int]:
    """Sizes [byte] of the blocks of numbers in a `.pt` file, from its directory, before any is read.

    Raises:
        CheckpointError: no archive, or one that grows when it is unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            pointer_note(path)
            or f"{path} cannot be read as plain weights: no archive as torch writes it: {error}"
        ) from None
    total, names = sum(entry.file_size for entry in entries), Counter(entry.filename for entry in entries)
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    pickles = [entry.file_size for entry in entries if entry.filename.endswith(".pkl")]
    if packed or total > path.stat().st_size or max(names.values(), default=0) > 1:
        raise CheckpointError(
            f"{path} cannot be read as plain weights: it would grow from {path.stat().st_size} to {total} "
            "bytes; allowed are numbers stored as they are"
        )
    if sum(pickles) > _LARGEST_PICKLE:
        raise CheckpointError(f"{path}: {sum(pickles)} bytes of names: allowed are {_LARGEST_PICKLE}")
    return Counter(e.file_size for e in entries if e.filename.rpartition("/")[0].endswith("data"))


def _check_bounds(state: dict[str, Any], path: Path, records: Counter[int]) -> None:
    """Every tensor lies within the block that the file holds for it, and none shows one number many times.

    The names are pickled apart from the blocks, and torch compares them with nothing: a tensor may claim
    2^36 numbers of a block of four bytes.
    """
    blocks: dict[int, int] = {}
    claimed = 0
    for key, tensor in _tensors_in(state):
        if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.layout != torch.strided:
            raise CheckpointError(f"{path}: {key!r} is {type(tensor).__name__}; a plain tensor is needed")
        storage, size = tensor.untyped_storage(), tensor.numel() * tensor.element_size()
        claimed += size
        blocks[storage.data_ptr()] = storage.nbytes()
        if tensor.device.type != "cpu" or size > storage.nbytes():
            raise CheckpointError(f"{path}: {key!r} claims {size} bytes, {storage.nbytes()} are stored")
    unknown = Counter(size for size in blocks.values() if size) - records
    if unknown or claimed > 2 * path.stat().st_size:
        raise CheckpointError(f"{path}: its tensors claim {claimed} bytes; it has {path.stat().st_size}")


def _tensors_in(value: Any, where: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield where, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _tensors_in(entry, f"{where}.{short(key)}" if where else str(key))
    elif isinstance(value, (list, tuple, set)):
        for entry in value:
            yield from _tensors_in(entry, where)


def check_numbers(weights: Weights, folder: str | Path, *, finite: bool = True) -> None:
    """Refuse weights that are no floating-point numbers, or not finite.

    Raises:
        CheckpointError: names the first of them.
    """
    whole = [f"{key} ({str(value.dtype)[6:]})" for key, value in weights.items() if value.dtype not in FLOATS]
    if whole:
        raise CheckpointError(f"{folder}: {whole[:5]}: allowed are float32, float16 and bfloat16")
    # amax and amin pass NaN on, and need no copy
    bad = [
        key for key, value in weights.items()
        if finite and value.numel() and not (value.amax().isfinite() and value.amin().isfinite())
    ]  # fmt: skip
    if bad:
        raise CheckpointError(f"{folder}: {len(bad)} tensors hold values that are not finite: {bad[:5]}")


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
    return pointer_note(path) or f"{path} is damaged or cut short ({path.stat().st_size} bytes): {error}"
