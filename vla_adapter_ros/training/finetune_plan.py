"""What is trained on what: a plan (settings, sources, start) and the bundle that a training is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.device import describe_device
from vla_adapter_ros.training.data.augmentation import prepare_preprocessing
from vla_adapter_ros.training.data.data_sources import OpenSource, Source, open_sources
from vla_adapter_ros.training.data.image_store import training_images
from vla_adapter_ros.training.data.preflight import inspect_data
from vla_adapter_ros.training.data.preflight_checks import Preflight
from vla_adapter_ros.training.data.row_weights import kept_episodes
from vla_adapter_ros.training.data.samples import Rows, Samples, compute_statistics
from vla_adapter_ros.training.data.selection import RowSplit, split_rows
from vla_adapter_ros.training.delays import with_delays
from vla_adapter_ros.training.head_design import with_head_design
from vla_adapter_ros.training.progress import Display
from vla_adapter_ros.training.relative_rows import with_relative_rows
from vla_adapter_ros.training.rope import settle_rope_tables, with_rope_tables
from vla_adapter_ros.training.setting_words import OutcomeFilter
from vla_adapter_ros.training.settings import FinetuneSettings
from vla_adapter_ros.training.starting import Start, open_start


@dataclass(frozen=True)
class TrainingBundle:
    """All that a training needs to know of its data and its model.

    Attributes:
        settings: How to train.
        record: Settings and facts, which are stored with what is trained.
        policy: What trains, with the preprocessing, statistics and contract of its checkpoint.
        samples: Rows and images of all sources.
        rows: Which rows train, and which are kept for validation.
    """

    settings: FinetuneSettings
    record: dict[str, Any]
    policy: VlaAdapterPolicy
    samples: Samples
    rows: RowSplit


@dataclass(frozen=True)
class FinetunePlan:
    """What is to be trained on what. Sources are open, no image is decoded, no weight is read.

    Attributes:
        settings: How to train.
        sources: Data sets.
        robot: Their contract.
        start: Where the weights come from.
    """

    settings: FinetuneSettings
    sources: tuple[OpenSource, ...]
    robot: Contract
    start: Start

    @property
    def record(self) -> dict[str, Any]:
        """Settings and facts of the training, ready for JSON."""
        return {
            **self.settings.as_json(),
            "datasets": [s.name if s.weight == 1 else f"{s.name}={s.weight:g}" for s in self.sources],
            "episodes": sum(source.data.num_episodes for source in self.sources),
            "frames": sum(source.data.num_frames for source in self.sources),
            "init": self.start.name,
            **({"init_changes": dict(self.start.changes)} if self.start.changes else {}),
            **self._labels,
        }

    @property
    def _labels(self) -> dict[str, Any]:
        """Which episodes of each data set are learned from, where that depends on labels, which change."""
        if self.settings.outcome is OutcomeFilter.ANY:
            return {}
        kept = (kept_episodes(source.data, self.settings.outcome) for source in self.sources)
        return {"kept_episodes": ["".join("01"[keep] for keep in one) for one in kept]}

    def open_policy(self, device: torch.device | str = "cpu") -> VlaAdapterPolicy:
        """The policy or backbone to train, with the preprocessing that it has afterwards.

        Draws what is new from torch's global generator.

        Raises:
            TrainingError, ContractMismatch, CheckpointError: see `open_start`.
        """
        instructions = [task for source in self.sources for task in source.data.tasks]
        policy = open_start(self.start, self.robot, instructions, device)
        policy = with_head_design(policy, self.settings)
        policy = with_rope_tables(policy, self.settings.rope_tables)
        policy = prepare_preprocessing(policy, self.settings)
        delays = self.settings.max_delay_rows
        told = delays > 0 and self.settings.committed_rows
        policy = with_delays(policy, delays, told)
        return with_relative_rows(policy, self.robot, self.settings.relative_rows)

    def check(self, page: Path) -> Preflight:
        """All that is checked before the first step, on the CPU, and no training.

        Args:
            page: HTML file to write.

        Raises:
            VlaAdapterError: as `finetune` before its first step.
        """
        with torch.random.fork_rng(devices=()):
            policy = self.open_policy()
        return inspect_data(self.sources, self.robot, policy, self.settings, page)[0]

    def prepare(self, device: torch.device, page: Path | None, show: Display) -> TrainingBundle:
        """Read the start, check the data and decode what fits memory.

        Args:
            device: Where to train.
            page: HTML file to write about the data; None for none.
            show: Told what is found.

        Raises:
            VlaAdapterError: start and data do not fit, or are damaged.
        """
        backbone = self.open_policy(device)
        weights = sum(p.numel() for p in backbone.network.parameters())
        show.print_line(
            f"starts from {self.start.name}, {weights / 1e6:,.1f} million parameters, "
            f"{describe_device(device)}"
        )
        preflight, rows = inspect_data(self.sources, self.robot, backbone, self.settings, page)
        for line in preflight.issues:
            show.print_line(line)
        images = training_images(
            self.sources, self.robot, backbone, self.settings,
            progress=lambda done, total: show("read", done, total, ""),
        )  # fmt: skip
        samples = Samples.join(rows, images)
        split = split_rows(samples, self.settings, backbone.config.chunk)
        policy, line = fit_policy(backbone, samples, split.learned, self.settings.scale_grippers)
        if line:
            show.print_line(line)
        return TrainingBundle(self.settings, self.record, policy, samples, split)


def make_plan(
    dataset: str | Path | Source | Sequence[str | Path | Source],
    settings: FinetuneSettings,
    start: Start | None = None,
    contract: Contract | None = None,
) -> FinetunePlan:
    """Open the data sets of a training.

    Args:
        dataset: One or several, see `data_sources.parse_source`.
        settings: How to train.
        start: Where the weights come from; default: the grounded tiny backbone of this package.
        contract: For data sets that carry none.

    Raises:
        TrainingError, ContractMismatch, DatasetError, MappingError: see `open_sources`.
    """
    sources, robot = open_sources(dataset, contract)
    return FinetunePlan(settings, sources, robot, start or Start())


def fit_policy(
    backbone: VlaAdapterPolicy, data: Rows, rows: np.ndarray, scale_grippers: bool = True
) -> tuple[VlaAdapterPolicy, str]:
    """The policy to train: with the data's contract, the rows' statistics, and a head that is kept or new.

    Args:
        backbone: From `FinetunePlan.open_policy`.
        data: What it learns from.
        rows: Rows that count in its statistics, int64 (R,).
        scale_grippers: See `compute_statistics`.

    Returns:
        The policy, and a line about its rotary tables, see `settle_rope_tables`.
    """
    robot, config = data.contract, backbone.config
    statistics = compute_statistics("+".join(data.names), data, robot, rows, scale_grippers)
    action_dim, proprio_dim = len(robot.action_names), len(robot.state_names)
    if backbone.statistics is None or (action_dim, proprio_dim) != (config.action_dim, config.proprio_dim):
        policy = backbone.with_new_head(
            action_dim=action_dim, proprio_dim=proprio_dim, chunk=config.chunk, statistics=statistics,
            contract=robot,
        )  # fmt: skip
        return policy, ""
    settled, line = settle_rope_tables(backbone)
    return settled.replace(statistics=statistics, contract=robot), line
