"""Check a checkpoint step by step: `vla-adapter checkpoint verify`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.choices import HeadKind
from vla_adapter_ros.dataset.quality.findings import Finding, Level, skip
from vla_adapter_ros.dataset.quality.settings import QualitySettings, count_faults
from vla_adapter_ros.dataset.quality.stored import order_faults
from vla_adapter_ros.errors import CheckpointError, VlaAdapterError
from vla_adapter_ros.model.checkpoint import read_checkpoint
from vla_adapter_ros.model.checkpoint_files import find_components
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import Scaling
from vla_adapter_ros.model.normalization import FieldStatistics, Statistics
from vla_adapter_ros.model.policy import VlaAdapterPolicy
from vla_adapter_ros.model.weights import stored_tensors

NOISE_SIZE = 256
"""Side of the noise images [px] for a checkpoint without a contract; not the model's, so all steps run."""


def verify(
    folder: Path,
    *,
    platform: str | None = None,
    statistics_name: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Iterator[Finding]:
    """Check a checkpoint step by step; ends with the first step that leaves nothing to go on with.

    Files, then that every name and shape fits, finite weights, statistics, contract, and one prediction
    on noise images: finite, and rows of a chunk that differ (but for the base head, where they cannot).

    Args:
        folder: The directory.
        platform: For an official checkpoint, needed there.
        statistics_name: Which entry of the statistics to use, if there are several.
        changes: To single settings, see `overrides.OVERRIDES`.
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
        stored = read_checkpoint(
            folder, platform=platform, preprocessing=changes, statistics_name=statistics_name, finite=False
        )
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
    proprio = stored.statistics.proprio.mean
    actions, check = attempt("prediction", lambda: _predict_noise(policy, proprio))
    yield check
    if check.level is not Level.FAIL:
        yield _check_chunk_rows(actions, stored.config)


def _finite(network: torch.nn.Module) -> Finding:
    bad = [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        return Finding(
            "finite", Level.FAIL, math.nan, f"{len(bad)} tensors hold values that are not finite: {bad[:5]}"
        )
    return Finding("finite", Level.PASS, math.nan, "all weights are finite")


def _constant_dimensions(statistics: Statistics, config: VlaAdapterConfig) -> Finding:
    def constant(field: FieldStatistics, kind: Scaling) -> str:
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


def _predict_noise(policy: VlaAdapterPolicy, proprio: np.ndarray) -> tuple[np.ndarray, str]:
    rng, config = np.random.default_rng(0), policy.config
    sizes = [(NOISE_SIZE, NOISE_SIZE)] * config.num_images
    if policy.contract is not None:
        sizes = [(camera.height, camera.width) for camera in policy.contract.cameras.values()]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    actions = policy.predict(images, "pick up the cube", proprio)
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
