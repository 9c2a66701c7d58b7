"""Read checkpoints of this package and official ones; `checkpoint_files.py` has their layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import CheckpointError, ModelConfigError
from vla_adapter_ros.model.checkpoint_files import (
    COMPONENTS,
    CONFIG,
    CONTRACT,
    IGNORED_WEIGHTS,
    STATISTICS,
    find_components,
    read_own_config,
)
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import Attention
from vla_adapter_ros.model.network import VlaAdapter
from vla_adapter_ros.model.normalization import Statistics, read_statistics
from vla_adapter_ros.model.official import get_platform, read_official_config
from vla_adapter_ros.model.overrides import edited, override
from vla_adapter_ros.model.tokenizer import Tokenizer
from vla_adapter_ros.model.weights import Weights, check_numbers, read_plain_pt, read_safetensors
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import leaves

_KEPT = ("config.json", "preprocessor_config.json", "generation_config.json")


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
    own = (folder / CONFIG).is_file()
    if not own and not files:
        raise CheckpointError(f"{folder} holds neither {CONFIG} nor a policy head: nothing to load")
    if own and platform is not None:
        raise CheckpointError(
            f"{folder} is a checkpoint of this package, which stores everything: platform {platform!r} is "
            "only for official ones"
        )
    statistics = read_statistics(folder / STATISTICS, statistics_name) if files else None
    robot = None if own else edited(get_platform(platform, folder), preprocessing)
    weights = _read_weights(folder)
    if robot is None:
        config = read_own_config(folder / CONFIG)
    else:
        config = read_official_config(
            folder,
            platform,
            robot,
            model=_shapes(weights),
            head=_shapes(parts["action_head"]),
            proprio=_shapes(parts["proprio_projector"]),
        )
    config = override(config, preprocessing, official=not own)
    if attention is not None:
        chosen = Attention.check("attention", attention, ModelConfigError)
        config = dataclasses.replace(config, attention=chosen)
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


def _is_kept(path: Path) -> bool:
    """Whether a file is written again as it is; a link out of the directory is not followed."""
    return path.is_file() and not leaves(path, path.parent)


def _read_weights(folder: Path) -> Weights:
    return {key: value for key, value in read_safetensors(folder).items() if key not in IGNORED_WEIGHTS}


def _shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in weights.items()}


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
