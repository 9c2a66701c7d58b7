"""Adopt an official checkpoint for a robot: `vla-adapter checkpoint convert`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.model.checkpoint import read_checkpoint
from vla_adapter_ros.model.checkpoint_files import CONFIG
from vla_adapter_ros.model.checkpoint_writer import write_checkpoint
from vla_adapter_ros.model.official import get_platform
from vla_adapter_ros.model.policy import VlaAdapterPolicy


def convert(
    source: Path,
    destination: Path,
    *,
    platform: str,
    contract: Contract,
    preprocessing: Mapping[str, Any] | None = None,
    statistics_name: str | None = None,
    rate_hz: float | None = None,
) -> None:
    """Adopt an official checkpoint: a copy that stores its platform, its settings and its robot.

    Args:
        source: Official checkpoint; it is only read.
        destination: Directory to make; an empty one is fine.
        platform: What the checkpoint was trained for.
        contract: The robot that it is to drive.
        preprocessing: Changes to single settings, see `overrides.OVERRIDES`.
        statistics_name: Which entry of the statistics to use, if there are several.
        rate_hz: Rows per second of the training data, where it is not the platform's usual rate.

    Raises:
        CheckpointError: source or destination is unfit, or the contract's cameras, widths, rate or
            action space are not the checkpoint's.
    """
    if (source / CONFIG).is_file():
        raise CheckpointError(
            f"{source} is a checkpoint of this package already: there is nothing to convert"
        )
    inside = destination.resolve().is_relative_to(source.resolve())
    if inside or (destination.exists() and (not destination.is_dir() or any(destination.iterdir()))):
        raise CheckpointError(
            f"{destination} cannot take the copy: a new or empty directory elsewhere is needed"
        )
    robot = get_platform(platform, source)
    rate = robot.rate_hz if rate_hz is None else rate_hz
    if contract.rate_hz != rate:
        raise CheckpointError(
            f"contract '{contract.name}' has {contract.rate_hz:g} rows per second, the checkpoint's chunk "
            f"{rate:g}; if its data had another rate than is usual on its platform, give that rate"
        )
    if robot.action_space != contract.action.space:
        raise CheckpointError(
            f"actions of platform {platform!r} are {robot.action_space}, contract '{contract.name}' says "
            f"{contract.action.space}: they must be the same"
        )
    stored = read_checkpoint(
        source, platform=platform, preprocessing=preprocessing, statistics_name=statistics_name
    )
    VlaAdapterPolicy(stored.network, stored.config, stored.tokenizer, stored.statistics, contract)
    output = stored.config.output
    if output.gripper_binarize or output.gripper_invert:
        columns = {column % stored.config.action_dim for column in output.gripper_columns}
        if columns != set(contract.gripper_places):
            raise CheckpointError(
                f"contract '{contract.name}' has its grippers in the columns {contract.gripper_places}, "
                f"gripper_columns are {list(output.gripper_columns)}: they must be the same"
            )
    dtype = stored.network.dtype
    write_checkpoint(dataclasses.replace(stored, contract=contract), destination, dtype=dtype)
