"""What is checked before the first step, so that a fault shows after seconds and not after hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.all_rows import validate_rows
from vla_adapter_ros.dataset.quality.checks import Place, Scope, checks_of
from vla_adapter_ros.dataset.quality.clock import check_timing
from vla_adapter_ros.dataset.quality.findings import Finding, Level, QualityReport
from vla_adapter_ros.dataset.quality.instructions import check_instructions
from vla_adapter_ros.dataset.quality.scan import DatasetScan
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade
from vla_adapter_ros.dataset.quality.stored_files import StoredFiles
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import Tokenizer
from vla_adapter_ros.training.data.data_sources import OpenSource
from vla_adapter_ros.training.data.samples import Rows
from vla_adapter_ros.training.data.selection import split_rows
from vla_adapter_ros.training.settings import FinetuneSettings

_STOP = ("format", "rows", "images", "decoding", "tasks", "contract")
"""Checks of one data set whose failure ends a training; the other failures are warnings here."""
_NO_STOP = "; a failure that stops no training"
_MAX_IMAGE_EPISODES = 200  # episodes of a data set whose images are looked at, evenly spread


@dataclass(frozen=True)
class Preflight(QualityReport):
    """What was found.

    Attributes:
        findings: In the order in which they are shown.
        stamps: True times of the rows of each episode [s], of the episodes that have some.
    """

    stamps: tuple[np.ndarray, ...] = ()

    def require_pass(self, page: Path | None = None) -> None:
        """Refuse to train if a check failed; `page` is where more is to be seen.

        Raises:
            TrainingError: with the lines of all that failed.
        """
        failed = [finding for finding in self.findings if finding.level is Level.FAIL]
        if failed:
            lines = "\n  ".join(f"{finding.name}: {finding.text}" for finding in failed)
            more = f"\nsee {page}" if page is not None else ""
            raise TrainingError(f"the data cannot be trained on:\n  {lines}{more}")


def check_files(sources: Sequence[OpenSource], contract: Contract) -> tuple[Finding, ...]:
    """Files and declared features of data sets against the contract: videos, camera sizes, order of names."""
    found = []
    for source in sources:
        files = StoredFiles(source.data, QualitySettings())
        of_source = (files.check_format(), files.check_images([]), files.check_contract())
        found += [_said_of(finding, source.name if len(sources) > 1 else "") for finding in of_source]
    return (*found, _check_action_sources(sources, contract))


def _check_action_sources(sources: Sequence[OpenSource], contract: Contract) -> Finding:
    """Whether both commands and next states are learned, which are not equally far ahead of the state."""
    origins: dict[str, list[str]] = {}
    for source in sources:
        its = source.data.contract or contract
        origins.setdefault(str(its.action.source), []).append(source.name)
    text = "; ".join(f"{origin}: {', '.join(names)}" for origin, names in origins.items())
    if len(origins) > 1:
        text += (
            ". A next state is a row ahead of the state, a command by as much as the arm lags behind it: "
            "best if command.command_delay_s is about a row"
        )
    return grade("action_sources", float(len(origins) - 1), QualitySettings(), text)


def check_rows(
    sources: Sequence[OpenSource], rows: Rows, settings: FinetuneSettings, tokenizer: Tokenizer, horizon: int
) -> Preflight:
    """Everything that the rows and images tell; single episodes are checked one by one.

    What `check_files` has checked is left out.
    """
    limits = QualitySettings(chunk_rows=float(horizon))
    stamps, of_sources, of_episodes = _scan_sources(sources, limits)
    findings = (
        _check_selection(rows, settings, horizon),
        check_instructions(rows, tokenizer),
        check_timing(stamps, rows.contract.rate_hz),
        *validate_rows(rows),
        *of_sources,
        *of_episodes,
    )
    return Preflight(findings, tuple(stamps))


def _check_selection(rows: Rows, settings: FinetuneSettings, horizon: int) -> Finding:
    """How many rows are trained on, and what becomes of the others."""
    split = split_rows(rows, settings, horizon)
    train, is_validation = split.train, split.is_validation
    apart = len(np.unique(rows.episode[rows.usable])) - len(np.unique(rows.episode[train]))
    passes = settings.steps * settings.batch_size / len(train)
    text = (
        f"{len(train)} of {len(rows.weight)} rows are trained on, each about {passes:.1f} times; "
        f"{len(rows.weight) - int(rows.usable.sum())} have weight 0, {apart} episodes are "
        f"{'kept for validation' if is_validation else 'left out'}"
    )
    if not is_validation:
        why = "too few to keep any for validation" if settings.holdout else "none is kept for validation"
        text += f": {why}, so the report will be on rows of the training"
    return grade("selection", float(not is_validation), QualitySettings(), text)


def _scan_sources(
    sources: Sequence[OpenSource], settings: QualitySettings
) -> tuple[list[np.ndarray], list[Finding], list[Finding]]:
    """Go through all data sets.

    Returns:
        True times of the rows of each episode, what was found about each data set, and one finding per
        check of single episodes.
    """
    names = [check.name for check in checks_of(Scope.EPISODE, Place.TRAINING)]
    stamps: list[np.ndarray] = []
    of_sources: list[Finding] = []
    found: dict[str, list[tuple[str, Finding]]] = {name: [] for name in names}
    seen = {"format", "images", "contract", "timing"}
    for source in sources:
        several = len(sources) > 1
        scan = DatasetScan(source.data, settings, max_image_episodes=_MAX_IMAGE_EPISODES)
        for episode in source.data.episodes:
            report = scan.validate_episode(episode.index)
            for finding in report.findings if report else ():
                where = f"{source.name} {episode.number}" if several else str(episode.number)
                found[finding.name].append((where, finding))
        stamps += scan.stamps
        of_sources += [
            _said_of(finding, source.name if several else "")
            for finding in scan.findings(all_rows=False)
            if finding.name not in seen
        ]
    return stamps, of_sources, [_summary(name, checks) for name, checks in found.items() if checks]


def _said_of(finding: Finding, source: str) -> Finding:
    """A finding about a data set, with its name; a failure that ends no training is a warning."""
    level, text = finding.level, finding.text
    if level is Level.FAIL and finding.name not in _STOP:
        level, text = Level.WARN, text + _NO_STOP
    return replace(finding, level=level, text=f"{source}: {text}" if source else text)


def _summary(name: str, checks: list[tuple[str, Finding]]) -> Finding:
    bad = [(where, check) for where, check in checks if check.level in (Level.WARN, Level.FAIL)]
    if not bad:
        made = [check for _, check in checks if check.level is not Level.SKIP]
        if not made:
            return checks[0][1]
        return Finding(name, Level.PASS, 0.0, f"{len(made)} episodes are as they should be")
    where, worst = max(bad, key=lambda item: item[1].level.rank)
    numbers = ", ".join(where for where, _ in bad[:8]) + (", ..." if len(bad) > 8 else "")
    text = f"{len(bad)} of {len(checks)} episodes ({numbers}); {where}: {worst.text}"
    text += _NO_STOP if worst.level is Level.FAIL else ""
    return Finding(name, Level.WARN, len(bad), text)
