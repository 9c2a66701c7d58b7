"""A stored checkpoint on a recorded data set: what it would have done, against what was done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.contract import Contract, read_contract, require_same
from vla_adapter_ros.dataset.opening import Dataset, open_dataset
from vla_adapter_ros.dataset.start_pose import TRAINING_RECORD
from vla_adapter_ros.errors import CheckpointError, ParameterError, TrainingError
from vla_adapter_ros.evaluation.metrics import ActionStatistics
from vla_adapter_ros.evaluation.report import OpenLoopReport, conclusions, make_report
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.device import resolve_device
from vla_adapter_ros.texts import comma_list
from vla_adapter_ros.training.data.samples import Samples, load_samples
from vla_adapter_ros.training.old_records import rename_old_keys
from vla_adapter_ros.untrusted import read_json

_ROWS = 2000
_FEW = 3  # if fewer than one in three episodes is evaluated, the other images are not decoded


@dataclass(frozen=True)
class OpenLoop:
    """A finished evaluation.

    Attributes:
        report: Its figures.
        facts: What was evaluated, by name.
        policy, samples, rate_hz: What it was made from, for pictures.
    """

    report: OpenLoopReport
    facts: dict[str, Any]
    policy: VlaAdapterPolicy
    samples: Samples
    rate_hz: float

    def as_json(self) -> dict[str, Any]:
        """Facts, figures and conclusions, ready for JSON."""
        return {
            **self.facts,
            "comparisons": dict(zip(self.report.names, self.report.comparisons(), strict=True)),
            "overall": dict(zip(("policy", "repeat", "mean"), self.report.overall(), strict=True)),
            "conclusions": conclusions(self.report),
            **dataclasses.asdict(self.report),
        }


def evaluate_open_loop(
    checkpoint: str | Path,
    dataset: str | Path,
    *,
    mapping: str | Path | None = None,
    contract: str | Path | None = None,
    episodes: str = "",
    platform: str | None = None,
    statistics_name: str | None = None,
    device: str = "auto",
    threads: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OpenLoop:
    """Evaluate a checkpoint on a data set.

    Without `episodes`, its validation episodes are evaluated, if it was trained on this data set
    and says so; otherwise all. Mean and standard deviation are those of the training rows: from the data
    set where they are known, else from the statistics that the checkpoint carries.

    Args:
        checkpoint: Its directory.
        dataset: LeRobot data set, v2.1 or v3.0.
        mapping: File that gives foreign columns the contract's names; see `recording.mapping`.
        contract: The robot's, for a data set that carries none; default: the checkpoint's.
        episodes: Such as `0:5` or `3,8,10:12`; ends do not count.
        platform, statistics_name: For official checkpoints, see `VlaAdapterPolicy.from_pretrained`.
        device: Where to compute, see `resolve_device`.
        threads: CPU threads of torch from now on; 0 leaves them as they are.
        seed: Draws the other instructions.
        progress: Called with (episodes read, episodes).

    Raises:
        ParameterError: no contract can be found, or `episodes` names none.
        ContractMismatch, TrainingError: checkpoint and data set do not belong together.
        CheckpointError, DatasetError: damaged or missing.
    """
    if threads:
        torch.set_num_threads(threads)
    checkpoint, place = Path(checkpoint), resolve_device(device)
    policy = VlaAdapterPolicy.from_pretrained(
        checkpoint, platform=platform, statistics_name=statistics_name, device=place
    )
    if policy.statistics is None:
        raise CheckpointError(f"{checkpoint} is a backbone without a trained head: fine-tune it first")
    data = open_dataset(dataset, mapping, read_contract(contract) if contract else None)
    robot = data.contract or policy.contract
    if robot is None:
        raise ParameterError(f"neither {dataset} nor {checkpoint} carries a contract: name the robot's")
    require_match(policy, robot, checkpoint, dataset)
    training = _training_episodes(checkpoint, policy, data)
    validation = set() if training is None else set(range(data.num_episodes)) - training
    chosen = (
        pick_episodes(episodes, data.num_episodes) or sorted(validation) or list(range(data.num_episodes))
    )
    few = len(chosen) < data.num_episodes // _FEW
    samples = load_samples(
        data, robot, policy.resize_images, policy.config.preprocessing.size,
        limit=0 if few else None, progress=progress,
    )  # fmt: skip
    usable = np.flatnonzero(samples.usable)
    rows = usable[np.isin(samples.episode[usable], chosen)]
    if training is None:
        train_rows, reference = usable[:0], _stored_reference(policy)
    else:
        train_rows, reference = usable[np.isin(samples.episode[usable], sorted(training))], None
    report = make_report(
        policy,
        samples,
        rows[:: max(1, len(rows) // _ROWS)],
        robot.action_names,
        is_validation=training is not None and not training & set(chosen),
        seed=seed,
        train_rows=train_rows,
        reference=reference,
    )
    facts = {
        "checkpoint": str(checkpoint),
        "dataset": str(dataset),
        "contract": robot.name,
        "device": str(place),
        "trained_on_this_data_set": "not known" if training is None else "yes",
    }
    return OpenLoop(report, facts, policy, samples, robot.rate_hz)


def pick_episodes(text: str, count: int) -> list[int]:
    """Episode numbers from a text such as `0:5` or `3,8,10:12`; none from an empty one.

    Raises:
        ParameterError: something else, or an episode that is not there.
    """
    chosen: set[int] = set()
    for part in comma_list(text):
        first, colon, end = part.partition(":")
        try:
            numbers = (
                range(int(first or 0), int(end or count)) if colon else range(int(first), int(first) + 1)
            )
        except ValueError:
            numbers = range(0)
        if not numbers or numbers[0] < 0 or numbers[-1] >= count:
            raise ParameterError(
                f"episodes {part!r}: allowed are numbers from 0 to {count - 1}, or ranges such as 0:{count}"
            )
        chosen.update(numbers)
    return sorted(chosen)


def require_match(policy: VlaAdapterPolicy, robot: Contract, checkpoint: Path, dataset: str | Path) -> None:
    """Refuse a robot that the policy was not made for: by contract, or else by numbers.

    Raises:
        ContractMismatch, TrainingError: with what differs.
    """
    if policy.contract is not None:
        require_same(robot, policy.contract, f"checkpoint {checkpoint}")
        return
    config = policy.config
    for what, expected, found in (
        ("cameras", config.num_images, len(robot.cameras)),
        ("state values", config.proprio_dim, len(robot.state)),
        ("action values", config.action_dim, len(robot.action_names)),
    ):
        if expected != found:
            raise TrainingError(f"{checkpoint} takes {expected} {what}, {dataset} has {found}")


def _training_episodes(checkpoint: Path, policy: VlaAdapterPolicy, data: Dataset) -> set[int] | None:
    """Episodes of this data set that the checkpoint learned from; None if it does not say so."""
    try:
        record = read_json(checkpoint / TRAINING_RECORD)
        settings = record["settings"]
        same = (settings["episodes"], settings["frames"]) == (data.num_episodes, data.num_frames)
        if not same or policy.statistics is None or policy.statistics.name != data.root.resolve().name:
            return None
        if (validation := record.get("validation_episodes")) is None:  # a file of 0.1
            report = rename_old_keys("report", record["report"])
            validation = report["evaluated"]["episodes"] if report["is_validation"] else []
        return set(range(data.num_episodes)) - set(validation)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _stored_reference(policy: VlaAdapterPolicy) -> ActionStatistics:
    """Mean and standard deviation of the checkpoint's own training data."""
    assert policy.statistics is not None
    field = policy.statistics.action
    return ActionStatistics(field.mean, field.std, field.std <= 1e-5 * np.maximum(np.abs(field.mean), 1.0))
