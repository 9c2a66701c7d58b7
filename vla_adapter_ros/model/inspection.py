"""Look into checkpoints and check them: `vla-adapter checkpoint info` and `verify`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset.quality.findings import Finding, Level, skip
from vla_adapter_ros.dataset.quality.settings import QualitySettings, count_faults
from vla_adapter_ros.dataset.quality.stored import order_faults
from vla_adapter_ros.errors import CheckpointError, VlaAdapterError
from vla_adapter_ros.model.checkpoint import (
    CONTRACT,
    IGNORED_WEIGHTS,
    OURS,
    STATISTICS,
    find_components,
    read_checkpoint,
    read_own_config,
)
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.normalization import FieldStatistics, Statistics, read_entries
from vla_adapter_ros.model.official import PLATFORMS, head_kind, read_official_config
from vla_adapter_ros.model.official_files import fitting_platforms, official_differences
from vla_adapter_ros.model.policy import VlaAdapterPolicy
from vla_adapter_ros.model.weights import read_plain_pt, stored_tensors
from vla_adapter_ros.untrusted import read_json

RECORDS = ("training.json", "grounding.json")
NOISE_SIZE = 256
"""Side of the noise images [px] for a checkpoint without a contract; not the model's, so all steps run."""

_Tensors = Mapping[str, tuple[tuple[int, ...], str]]


def describe(folder: Path, platform: str | None = None) -> dict[str, Any]:
    """What a checkpoint says about itself, as plain data for JSON; of the weights mostly the headers.

    Args:
        folder: The directory.
        platform: For an official checkpoint: also show what this platform stands for.

    Raises:
        CheckpointError: incomplete or damaged; a platform for a checkpoint of this package.
        StatisticsError: an entry of the statistics is unusable.
    """
    files = find_components(folder)
    own = (folder / OURS).is_file()
    if own and platform is not None:
        raise CheckpointError(f"{folder} stores everything: platform {platform!r} is only for official ones")
    tensors: dict[str, _Tensors] = {"model": stored_tensors(folder)}
    for name, path in files.items():
        read = read_plain_pt(path)
        tensors[name] = {key: (tuple(v.shape), _short(v.dtype)) for key, v in read.items()}
    shapes = {name: {key: entry[0] for key, entry in part.items()} for name, part in tensors.items()}
    config = None
    if own:
        config = read_own_config(folder / OURS)
    elif platform is not None:
        config = read_official_config(
            folder,
            platform,
            model=shapes["model"],
            head=shapes.get("action_head", {}),
            proprio=shapes.get("proprio_projector", {}),
        )
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


def verify(
    folder: Path, *, platform: str | None = None, statistics_name: str | None = None
) -> Iterator[Finding]:
    """Check a checkpoint step by step; ends with the first step that leaves nothing to go on with.

    Files, then that every name and shape fits, finite weights, statistics, contract, and one prediction
    on noise images: finite, and rows of a chunk that differ (but for the base head, where they cannot).

    Args:
        folder: The directory.
        platform: For an official checkpoint, needed there.
        statistics_name: Which entry of the statistics to use, if there are several.
    """

    def attempt(name: str, step: Callable[[], tuple[Any, str]]) -> tuple[Any, Finding]:
        try:
            result, text = step()
        except VlaAdapterError as error:
            return None, Finding(name, Level.FAIL, math.nan, str(error))
        return result, Finding(name, Level.PASS, math.nan, text)

    def files() -> tuple[Any, str]:
        found = find_components(folder)
        return found, f"{len(stored_tensors(folder))} tensors; " + (
            ", ".join(path.name for path in found.values()) or "no head: a backbone"
        )

    def fit() -> tuple[Any, str]:
        stored = read_checkpoint(folder, platform=platform, statistics_name=statistics_name, finite=False)
        total = sum(p.numel() for p in stored.network.parameters())
        return stored, f"every name and shape fits; {total:,} parameters"

    _, check = attempt("files", files)
    yield check
    if check.level is Level.FAIL:
        return
    stored, check = attempt("weights", fit)
    yield check
    if check.level is Level.FAIL:
        return
    yield _finite(stored.network)
    if stored.statistics is None:
        yield skip("prediction", "a backbone has no trained head")
        return
    yield _constant_dimensions(stored.statistics, stored.config)

    def assemble() -> tuple[Any, str]:
        policy = VlaAdapterPolicy(
            stored.network.float(), stored.config, stored.tokenizer, stored.statistics, stored.contract
        )
        has = (
            f"contract '{stored.contract.name}' fits"
            if stored.contract
            else "no contract: not for a robot yet"
        )
        return policy, has

    policy, check = attempt("contract", assemble)
    yield check
    if check.level is Level.FAIL:
        return
    actions, check = attempt("prediction", lambda: _predict_noise(policy))
    yield check
    if check.level is not Level.FAIL:
        yield _check_chunk_rows(actions, stored.config)


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


def _finite(network: torch.nn.Module) -> Finding:
    bad = [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        return Finding(
            "finite", Level.FAIL, math.nan, f"{len(bad)} tensors hold values that are not finite: {bad[:5]}"
        )
    return Finding("finite", Level.PASS, math.nan, "all weights are finite")


def _constant_dimensions(statistics: Statistics, config: VlaAdapterConfig) -> Finding:
    def constant(field: FieldStatistics, kind: str) -> str:
        return ", ".join(map(str, np.flatnonzero(field.constant(kind)))) or "none"

    kinds = config.normalization
    faults = [
        fault
        for name, field in (("action", statistics.action), ("proprioception", statistics.proprio))
        for fault in order_faults(name, dataclasses.asdict(field))
    ]
    if faults:
        return count_faults("statistics", faults, QualitySettings(), "")
    text = (
        f"'{statistics.name}': constant dimensions: action {constant(statistics.action, kinds.action)}, "
        f"proprioception {constant(statistics.proprio, kinds.proprio)}"
    )
    return Finding("statistics", Level.PASS, math.nan, text)


def _predict_noise(policy: VlaAdapterPolicy) -> tuple[np.ndarray, str]:
    rng, config = np.random.default_rng(0), policy.config
    sizes = [(NOISE_SIZE, NOISE_SIZE)] * config.num_images
    if policy.contract is not None:
        sizes = [(camera.height, camera.width) for camera in policy.contract.cameras.values()]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    actions = policy.predict(images, "pick up the cube", policy.statistics.proprio.mean)
    if not np.isfinite(actions).all():
        raise CheckpointError("the prediction on noise images holds values that are not finite")
    low, high = actions.min(), actions.max()
    return (
        actions,
        f"{actions.shape[0]} x {actions.shape[1]} actions on noise images, {low:.4g} to {high:.4g}",
    )


def _check_chunk_rows(actions: np.ndarray, config: VlaAdapterConfig) -> Finding:
    difference = float(np.ptp(actions, axis=0).max())
    text = f"rows of the chunk differ by up to {difference:.4g}"
    if len(actions) > 1 and difference == 0.0:
        if config.head.kind == HeadKind.BASE and not config.head.learned_rows:
            return Finding(
                "chunk",
                Level.PASS,
                math.nan,
                "all rows are equal, as the published base head has it at inference",
            )
        return Finding("chunk", Level.FAIL, difference, "all rows of the chunk are equal")
    return Finding("chunk", Level.PASS, difference, text)
