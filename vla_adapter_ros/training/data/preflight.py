"""Looks at the data before a training: checks, the page, and the rows if they can be trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.findings import Level
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.augmentation import resolve_augmentation
from vla_adapter_ros.training.data.data_sources import OpenSource
from vla_adapter_ros.training.data.image_store import training_images
from vla_adapter_ros.training.data.preflight_checks import Preflight, check_files, check_rows
from vla_adapter_ros.training.data.preflight_page import write_page
from vla_adapter_ros.training.data.row_weights import RowWeights
from vla_adapter_ros.training.data.samples import Rows, read_rows, require_fit
from vla_adapter_ros.training.settings import FinetuneSettings

PAGE = ".data.html"  # added to the output's name


def inspect_data(
    sources: Sequence[OpenSource],
    robot: Contract,
    policy: VlaAdapterPolicy,
    settings: FinetuneSettings,
    page: Path | None,
) -> tuple[Preflight, Rows]:
    """Check data sets and write the page.

    Args:
        sources: The data sets.
        robot: Their contract.
        policy: What is to be trained, as `prepare_preprocessing` gave it.
        settings: Of the training.
        page: HTML file to write; None for none.

    Raises:
        TrainingError: they cannot be trained on; the message has every reason, and the page is written.
        DatasetError: one is damaged.
    """
    for source in sources:
        require_fit(source.data, robot)
    augmentation = resolve_augmentation(settings.augmentation, policy.config)
    facts = {
        "Data sets": ", ".join(
            f"{s.name} ({s.data.num_episodes} episodes, {s.data.num_frames} rows, weight {s.weight:g})"
            for s in sources
        ),
        "Robot": f"{robot.name}, {robot.rate_hz:g} Hz, action {robot.action.space}",
        "Training": f"{settings.steps} steps of {settings.batch_size} rows, chunks of {policy.config.chunk}, "
        f"augmentation {augmentation}, padding {settings.padding}",
    }
    files = check_files(sources, robot)
    if any(check.level is Level.FAIL for check in files):
        found = Preflight(files)
        if page is not None:
            write_page(page, found, None, None, settings, augmentation, facts)
        found.require_pass(page)
    rows = read_rows(sources, robot, RowWeights.of(settings))
    found = check_rows(sources, rows, settings, policy.tokenizer, policy.config.chunk)
    found = dataclasses.replace(found, findings=(*files, *found.findings))
    if page is not None:
        facts["Instructions"] = _instructions(rows)
        store = training_images(sources, robot, policy, settings, limit=0)
        write_page(page, found, rows, store, settings, augmentation, facts)
    found.require_pass(page)
    return found, rows


def _instructions(rows: Rows) -> str:
    """Every instruction and its number of episodes, the most frequent first."""
    numbers, counts = np.unique(rows.task[np.unique(rows.first)], return_counts=True)
    pairs = sorted(zip(counts.tolist(), numbers.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    return ", ".join(f"“{rows.tasks[number]}” ({count})" for count, number in pairs)
