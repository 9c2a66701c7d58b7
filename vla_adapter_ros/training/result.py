"""What a training gives: the checkpoint, its losses, and the record of it that lies in the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.dataset.start_pose import (
    START_POSE,
    TRAINING_RECORD,
    StartPose,
    plain_start_pose,
)
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import Samples
from vla_adapter_ros.training.old_records import rename_old_keys
from vla_adapter_ros.untrusted import read_json


@dataclass(frozen=True)
class TrainingResult:
    """What came out.

    Attributes:
        output: The checkpoint directory.
        losses: Loss of every step, those before an interruption included.
        seconds: Wall time of the steps made now [s].
        report: What `Evaluate` returned; None without one.
    """

    output: Path
    losses: tuple[float, ...]
    seconds: float
    report: Mapping[str, Any] | None


@dataclass(frozen=True)
class TrainedPolicy:
    """What a training hands to its evaluation.

    Attributes:
        policy: As its checkpoint was just read again.
        samples: What it learned from, and what was kept apart.
        rows: Rows to evaluate, int64 (R,).
        is_validation: Whether they were kept out of the training.
        seed: Of the training.
        output: Where the checkpoint appears afterwards.
        steps: After how many steps the weights were taken.
    """

    policy: VlaAdapterPolicy
    samples: Samples
    rows: np.ndarray
    is_validation: bool
    seed: int
    output: Path
    steps: int


Evaluate = Callable[[TrainedPolicy], dict[str, Any]]
"""Gives the report on a trained policy, ready for JSON."""


def write_result(
    folder: Path,
    result: TrainingResult,
    record: dict[str, Any],
    *,
    steps: int,
    validation_episodes: Sequence[int],
    start_pose: StartPose,
) -> None:
    """Store the result in the checkpoint's folder, with settings and facts of the training.

    Args:
        folder: Of the checkpoint.
        result: What came out.
        record: Settings and facts, see `FinetunePlan.record`.
        steps: After how many steps the weights were taken.
        validation_episodes: Those that were kept out of the training, counted over all data sets.
        start_pose: Where the episodes that were trained on begin.
    """
    facts = {
        "settings": record,
        "taken_after_steps": steps,
        "validation_episodes": list(validation_episodes),
        START_POSE: plain_start_pose(start_pose),
        "losses": [float(f"{loss:.5g}") for loss in result.losses],
        "seconds": result.seconds,
        "report": result.report,
    }
    (folder / TRAINING_RECORD).write_text(json.dumps(facts) + "\n", encoding="utf-8")


def read_result(output: Path) -> tuple[TrainingResult, dict[str, Any]]:
    """Result and record of a training that has finished, under the names of this version.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        facts = read_json(output / TRAINING_RECORD)
        result = TrainingResult(output, tuple(facts["losses"]), facts["seconds"], facts.get("report"))
        return result, rename_old_keys("settings", facts["settings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{output / TRAINING_RECORD}: no result of a training: {error}") from error
