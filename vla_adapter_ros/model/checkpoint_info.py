"""What a checkpoint says about itself: `vla-adapter checkpoint info`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model.checkpoint_files import (
    CONFIG,
    CONTRACT,
    IGNORED_WEIGHTS,
    STATISTICS,
    find_components,
    read_own_config,
)
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.normalization import read_entries
from vla_adapter_ros.model.official import PLATFORMS, get_platform, head_kind, read_official_config
from vla_adapter_ros.model.official_files import fitting_platforms, official_differences
from vla_adapter_ros.model.overrides import edited, override
from vla_adapter_ros.model.weights import read_plain_pt, stored_tensors
from vla_adapter_ros.untrusted import read_json

RECORDS = ("training.json", "grounding.json")

_Tensors = Mapping[str, tuple[tuple[int, ...], str]]


def describe(
    folder: Path, platform: str | None = None, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a checkpoint says about itself, as plain data for JSON; of the weights mostly the headers.

    Args:
        folder: The directory.
        platform: For an official checkpoint: also show what this platform stands for.
        changes: To single settings, see `overrides.OVERRIDES`; they need a platform.

    Raises:
        CheckpointError: incomplete or damaged; a platform for a checkpoint of this package.
        StatisticsError: an entry of the statistics is unusable.
    """
    files = find_components(folder)
    own = (folder / CONFIG).is_file()
    if own and platform is not None:
        raise CheckpointError(f"{folder} stores everything: platform {platform!r} is only for official ones")
    tensors: dict[str, _Tensors] = {"model": stored_tensors(folder)}
    for name, path in files.items():
        read = read_plain_pt(path)
        tensors[name] = {key: (tuple(v.shape), _short(v.dtype)) for key, v in read.items()}
    shapes = {name: {key: entry[0] for key, entry in part.items()} for name, part in tensors.items()}
    config = None
    if own:
        config = read_own_config(folder / CONFIG)
    elif platform is not None:
        config = read_official_config(
            folder,
            platform,
            edited(get_platform(platform, folder), changes),
            model=shapes["model"],
            head=shapes.get("action_head", {}),
            proprio=shapes.get("proprio_projector", {}),
        )
        config = override(config, changes, official=True)
    contract = read_contract(folder / CONTRACT) if (folder / CONTRACT).is_file() else None
    entries = read_entries(folder / STATISTICS) if files else {}
    return {
        "path": str(folder),
        "kind": "own" if own else "official",
        "head": _head(config, shapes, folder) if files else None,
        "bytes": {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()},
        "parameters": dict(_count_parameters(tensors)),
        "stored_as": sorted({entry[1] for part in tensors.values() for entry in part.values()}),
        "sizes": _sizes(config) if config else None,
        "preprocessing": dataclasses.asdict(config.preprocessing) if config else None,
        "normalization": dataclasses.asdict(config.normalization) if config else None,
        "output": dataclasses.asdict(config.output) if config else None,
        "platform": platform,
        "platforms_that_fit": fitting_platforms(config) if config else list(_by_widths(shapes)),
        "official_code_differs": official_differences(config) if config else [],
        "statistics": {name: entry.to_dict() for name, entry in entries.items()},
        "contract": _contract(contract) if contract else None,
        "records": {name: _record(folder / name) for name in RECORDS if (folder / name).is_file()},
    }


def _short(dtype: torch.dtype) -> str:
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    return names.get(dtype, str(dtype).removeprefix("torch."))


def _count_parameters(tensors: dict[str, _Tensors]) -> Iterator[tuple[str, int]]:
    counts: dict[str, int] = {}
    for part, entries in tensors.items():
        for key, (shape, _) in entries.items():
            if key not in IGNORED_WEIGHTS:
                words = key.split(".")
                name = ".".join(words[: 2 if words[0] == "vision_backbone" else 1])
                name = name if part == "model" else part
                counts[name] = counts.get(name, 0) + int(np.prod(shape, dtype=np.int64))
    yield from counts.items()
    yield "total", sum(counts.values())


def _head(config: VlaAdapterConfig | None, shapes: dict[str, Any], folder: Path) -> str:
    return config.head.kind if config else head_kind(shapes["action_head"], folder)


def _sizes(config: VlaAdapterConfig) -> dict[str, Any]:
    names = (
        "num_images",
        "action_dim",
        "proprio_dim",
        "chunk",
        "num_queries",
        "num_task_tokens",
        "num_patches",
    )
    return {name: getattr(config, name) for name in names} | {
        "layers": config.llm.layers, "hidden": config.llm.hidden, "head_blocks": config.head.blocks,
        "language_model": config.llm.kind, "token_order": config.token_order,
    }  # fmt: skip


def _by_widths(shapes: dict[str, Any]) -> Iterator[str]:
    """Platforms whose widths are those of the weights."""
    head, proprio = shapes.get("action_head", {}), shapes.get("proprio_projector", {})
    action, state = head.get("model.fc2.bias", ()), proprio.get("fc1.weight", ())
    widths = (action[0] if action else 0, state[1] if len(state) > 1 else 0)
    yield from (name for name, p in PLATFORMS.items() if widths == (p.action_dim, p.proprio_dim))


def _contract(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name, "robot_type": contract.robot_type, "rate_hz": contract.rate_hz,
        "cameras": list(contract.camera_names), "state": list(contract.state_names),
        "action_space": contract.action.space, "action": list(contract.action_names),
    }  # fmt: skip


def _record(path: Path) -> Any:
    """A training record; of long lists only the length and the end."""
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable: {error}") from None
    if not isinstance(data, dict):
        return data
    return {
        key: {"count": len(value), "last": value[-1]} if isinstance(value, list) and len(value) > 8 else value
        for key, value in data.items()
    }
