"""Checks a data set: its files and tables against each other, then the quality report of every episode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.quality.across import rank_episodes
from vla_adapter_ros.dataset.quality.checks import BY_NAME
from vla_adapter_ros.dataset.quality.findings import Finding, Level, QualityReport, listed, worst
from vla_adapter_ros.dataset.quality.scan import DatasetScan
from vla_adapter_ros.dataset.quality.settings import QualitySettings
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.paths import locate


@dataclass(frozen=True)
class DatasetReport:
    """The quality report of a data set.

    Attributes:
        root: Its folder.
        structure: Checks of files, tables and statistics.
        numbers: What the data set calls its episodes, in order.
        episodes: One quality report per episode, in the same order; None where its rows could not be read.
        settings: Thresholds that were used.
    """

    root: Path
    structure: tuple[Finding, ...]
    numbers: tuple[int, ...]
    episodes: tuple[QualityReport | None, ...]
    settings: QualitySettings

    @property
    def level(self) -> Level:
        """The worst level of all: pass, warn or fail."""
        return worst([*(f.level for f in self.structure), *(report.level for _, report in self._readable)])

    @property
    def _readable(self) -> list[tuple[int, QualityReport]]:
        """Number and report of each episode that could be read."""
        return [(n, r) for n, r in zip(self.numbers, self.episodes, strict=True) if r is not None]

    @property
    def lines(self) -> list[str]:
        """One line per structural check, then one per check of the episodes."""
        reports = self._readable
        names = [finding.name for finding in reports[0][1].findings] if reports else []
        return [finding.line for finding in self.structure] + [
            _summary(name, [(n, report[name]) for n, report in reports]) for name in names
        ]

    @property
    def ranking(self) -> list[tuple[int, float, tuple[str, ...]]]:
        """Episodes from the best to the worst: number, points of 100, checks that took some off."""
        return rank_episodes(self._readable, self.structure)

    @property
    def ranking_lines(self) -> list[str]:
        """The ranking in words, one line per episode."""
        return [f"episode {n}: {points:g} points" + (f" ({', '.join(names)})" if names else "")
                for n, points, names in self.ranking]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Plain values: everything that was found."""
        return {
            "dataset": str(self.root),
            "level": self.level.value,
            "structure": [finding.as_json() for finding in self.structure],
            "episodes": [
                {"episode": n, "level": report.level.value, "checks": [f.as_json() for f in report.findings]}
                for n, report in self._readable
            ],
            "ranking": [
                {"episode": n, "points": points, "checks": list(names)} for n, points, names in self.ranking
            ],
        }


def check_dataset(
    root: str | Path,
    *,
    settings: QualitySettings | None = None,
    mapping: str | Path | None = None,
    contract: Contract | None = None,
    decode: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> DatasetReport:
    """Check a data set of any format that can be opened. Faults are reported, never raised.

    Args:
        root: Its folder; nothing in it is changed.
        settings: Thresholds of the checks.
        mapping: What its names are called in a contract, for a data set by others.
        contract: For a data set that carries none.
        decode: Whether to look at every image; if not, at three windows of episodes of more than 100 rows.
        progress: Called with the number of episodes that are done, and of all.
    """
    settings, root = settings or QualitySettings(), locate(root)
    try:
        dataset = open_dataset(root, mapping, contract)
        dataset.contract  # noqa: B018 - read here, where a bad one is a finding
    except VlaAdapterError as error:
        return DatasetReport(root, (Finding("format", Level.FAIL, math.nan, str(error)),), (), (), settings)
    scan = DatasetScan(dataset, settings, decode)
    reports = []
    for episode in range(dataset.num_episodes):
        reports.append(scan.validate_episode(episode))
        if progress:
            progress(episode + 1, dataset.num_episodes)
    numbers = tuple(episode.number for episode in dataset.episodes)
    return DatasetReport(root, scan.findings(), numbers, tuple(reports), settings)


def _summary(name: str, checks: list[tuple[int, Finding]]) -> str:
    """One line for a check over all episodes: how many, which, and the worst."""
    sign = -1 if BY_NAME[name].below else 1
    made = [(n, check) for n, check in checks if check.level is not Level.SKIP]
    if not made:
        return checks[0][1].line
    number, found = max(made, key=lambda item: (item[1].level.rank, sign * item[1].value))
    if found.level is Level.PASS:
        beginning = f"{len(made)} episodes"
    else:
        bad = [n for n, check in made if check.level in (Level.WARN, Level.FAIL)]
        failed = sum(check.level is Level.FAIL for _, check in made)
        numbers = listed(bad)
        beginning = f"{len(bad)} of {len(checks)} episodes{numbers}, {failed} of them fail"
    skipped = f", {len(checks) - len(made)} skipped" if len(made) < len(checks) else ""
    return f"{found.level} {name}: {beginning}{skipped}; worst {number}: {found.text}"
