"""Where the episodes begin that a checkpoint was trained on: the range and median of each state value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.files import write_file
from vla_adapter_ros.untrusted import read_json, short

TRAINING_RECORD = "training.json"
"""File of a checkpoint that tells how it was trained."""
START_POSE = "start_pose"
"""Its key for the start pose."""


@dataclass(frozen=True)
class StartRange:
    """What a state value was in the first frames of the training episodes, in its unit of the contract."""

    min: float
    median: float
    max: float


StartPose = dict[str, StartRange]
"""State value, as the contract names it -> its range; empty where nothing is known."""


def start_pose(state: np.ndarray, names: Sequence[str]) -> StartPose:
    """Range and median of each state value over the first frames of E episodes.

    Args:
        state: Measured states, float64 (E, S), E >= 1, units as in the contract.
        names: Of the state values (S,).
    """
    columns = zip(names, state.min(axis=0), np.median(state, axis=0), state.max(axis=0), strict=True)
    return {name: StartRange(float(low), float(middle), float(high)) for name, low, middle, high in columns}


def plain_start_pose(pose: StartPose) -> dict[str, dict[str, float]]:
    """A start pose ready for JSON: name -> min, median, max."""
    return {name: asdict(values) for name, values in pose.items()}


def read_start_pose(checkpoint: Path) -> StartPose:
    """The start pose that a checkpoint's record holds.

    Args:
        checkpoint: Its folder.

    Returns:
        Empty for checkpoints without a record, and for those of earlier versions, which hold none.

    Raises:
        CheckpointError: the record is damaged, or a value is no finite number, or not in order.
    """
    path = checkpoint / TRAINING_RECORD
    if not path.is_file():
        return {}
    try:
        record = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable: {error}") from None
    stored = record.get(START_POSE, {}) if isinstance(record, Mapping) else None
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"{path}: {START_POSE} = {short(stored)}: a mapping is needed, by state value")
    return {name: _range(values, f"{path}: {START_POSE}.{name}") for name, values in stored.items()}


def middle_of(pose: StartPose, contract: Contract) -> dict[str, float]:
    """Median position of each of the arm's joints [rad or m]; without those that the pose does not know.

    Args:
        pose: State values by name.
        contract: Of the checkpoint; says which value measures which joint.
    """
    measured = contract.measured_joints
    return {j: pose[measured[j]].median for j in contract.arm_joints if measured[j] in pose}


def write_start_pose(checkpoint: Path, pose: StartPose) -> None:
    """Put a start pose into a checkpoint's record, in place of an older one; without a record, make one.

    Raises:
        CheckpointError: the record is damaged, or cannot be written.
    """
    path = checkpoint / TRAINING_RECORD
    try:
        record = read_json(path) if path.is_file() else {}
        text = json.dumps({**record, START_POSE: plain_start_pose(pose)}) + "\n"
        write_file(path, lambda to: to.write_text(text, encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be written anew: {error}") from None


def _range(values: Any, where: str) -> StartRange:
    try:
        found = StartRange(**{key: float(value) for key, value in values.items()})
    except (TypeError, ValueError, AttributeError, OverflowError):
        found = StartRange(np.nan, np.nan, np.nan)
    if not (found.min <= found.median <= found.max and np.isfinite([found.min, found.max]).all()):
        allowed = "finite numbers min <= median <= max are needed"
        raise CheckpointError(f"{where} = {short(values)}: {allowed}")
    return found
