"""Makes data sets out of data sets of ours: merged, split, or without their idle heads and tails.

Originals are only read. Videos are copied as they are encoded, wherever a cut does not forbid it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract, require_same
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.quality.rows import idle_rows
from vla_adapter_ros.dataset.quality.settings import QualitySettings
from vla_adapter_ros.dataset.remux import key_images
from vla_adapter_ros.dataset.tools.copying import usual_codec
from vla_adapter_ros.dataset.tools.import_report import EpisodeReport
from vla_adapter_ros.dataset.tools.importer import DatasetImporter
from vla_adapter_ros.dataset.tools.importing import require_elsewhere, require_fit
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.texts import comma_list
from vla_adapter_ros.untrusted import NAME_RULE, is_name, short

_MOST_EPISODES = 1_000_000
_RANGE = re.compile(r"^(\d+)(?:-(\d+))?$")


def merge(
    datasets: Sequence[Dataset],
    output: str | Path,
    report: Callable[[EpisodeReport], None] = lambda episode: None,
) -> list[EpisodeReport]:
    """Put the episodes of several data sets into a new one, one after the other.

    Args:
        datasets: In their order; all of the same contract.
        output: New folder.
        report: Called with each episode.

    Returns:
        One entry per episode, also for those that were damaged and left out.

    Raises:
        ContractMismatch: their contracts differ; the message lists the differences.
        DatasetError: one carries no contract or lacks a depth camera of the first, or the output is not new.
    """
    if not datasets:
        raise DatasetError("nothing to merge: allowed is at least one data set")
    contract = contract_of(datasets[0])
    for dataset in datasets[1:]:
        require_same(contract, contract_of(dataset), f"data set {dataset.root}", recorded=True)
        require_fit(dataset, contract)
    _require_new(output, *datasets)
    episodes = []
    with DatasetImporter(output, contract, codec=usual_codec(datasets[0], contract)) as importer:
        for dataset in datasets:
            for entry in importer.import_episodes(dataset):
                episodes.append(entry)
                report(entry)
    return episodes


def split(
    dataset: Dataset,
    parts: Mapping[str, Sequence[int]],
    output: str | Path,
    report: Callable[[str, EpisodeReport], None] = lambda part, episode: None,
) -> dict[str, list[EpisodeReport]]:
    """Put chosen episodes into data sets of their own.

    Args:
        dataset: Carries its contract.
        parts: Name of the new data set -> episodes, in their new order.
        output: Folder that gets one folder per part.
        report: Called with each part and episode.

    Raises:
        DatasetError: an episode that is not there, no contract, or a folder that is not new.
    """
    contract = contract_of(dataset)
    for name, episodes in parts.items():
        if not is_name(name):
            raise DatasetError(f"part {short(name)}: allowed are {NAME_RULE}")
        wrong = [number for number in episodes if not 0 <= number < dataset.num_episodes]
        if wrong or not episodes:
            raise DatasetError(
                f"part {name}: {wrong or 'no episodes'}: allowed are 0 to {dataset.num_episodes - 1}"
            )
        _require_new(locate(output) / name, dataset)
    result: dict[str, list[EpisodeReport]] = {}
    for name, episodes in parts.items():
        result[name] = []
        with DatasetImporter(
            locate(output) / name, contract, codec=usual_codec(dataset, contract)
        ) as importer:
            for entry in importer.import_episodes(dataset, episodes=list(episodes)):
                result[name].append(entry)
                report(name, entry)
    return result


@dataclass(frozen=True)
class TrimSettings:
    """What counts as idle, and what stays of it.

    Attributes:
        margin_s: Time that is kept before the first and after the last motion [s].
        idle_range: Values that stay within this of the first or last row are idle [rad or m], as in the
            quality checks; so are those that stay within a hundredth of their range.
        exact: Cut where the motion says, and encode the video again if it must be; if not, the head is cut
            at the key image before, and nothing is encoded.
    """

    margin_s: float = 0.3
    idle_range: float = QualitySettings.idle_range
    exact: bool = False

    def __post_init__(self) -> None:
        if not (self.margin_s >= 0 and self.idle_range >= 0):
            raise DatasetError(
                f"margin_s = {self.margin_s}, idle_range = {self.idle_range}: allowed is at least 0"
            )


def trim_idle(
    dataset: Dataset,
    output: str | Path,
    settings: TrimSettings | None = None,
    report: Callable[[EpisodeReport], None] = lambda episode: None,
) -> list[EpisodeReport]:
    """Make a new data set without the idle heads and tails of the episodes.

    Args:
        dataset: Carries its contract.
        output: New folder.
        settings: What counts as idle.
        report: Called with each episode.

    Returns:
        One entry per episode; its remarks say what was cut.

    Raises:
        DatasetError: no contract, or the output is not new.
    """
    settings, contract = settings or TrimSettings(), contract_of(dataset)
    _require_new(output, dataset)
    episodes = []
    with DatasetImporter(output, contract, codec=usual_codec(dataset, contract)) as importer:
        for facts in dataset.episodes:
            source = f"{dataset.root.name}, episode {facts.number}"
            kept = moving_rows(dataset.rows(facts.index), dataset.fps, settings)
            if not settings.exact:
                kept = range(_cut_at_key(dataset, facts.index, kept.start), kept.stop)
            try:
                done = importer.import_episode(dataset, facts.index, kept)
            except DatasetError as error:
                entry = EpisodeReport(-1, source, 0, "", [str(error)])
            else:
                summary = done.summary
                cut = f"{kept.start} rows cut at the head, {facts.length - kept.stop} at the tail"
                entry = EpisodeReport(
                    summary.index, source, summary.frames, summary.task, [cut, *done.remarks]
                )
            episodes.append(entry)
            report(entry)
    return episodes


def moving_rows(rows: Mapping[str, np.ndarray], fps: float, settings: TrimSettings) -> range:
    """Rows of an episode from shortly before its first motion to shortly after its last; never none.

    An episode without any motion is kept as it is.

    Args:
        rows: Columns state (T, S) and action (T, A).
        fps: Rows per second.
        settings: What counts as idle.
    """
    count = len(rows[layout.STATE])
    values = np.hstack([rows[name].reshape(count, -1) for name in (layout.STATE, layout.ACTION)])
    limits = QualitySettings(idle_range=settings.idle_range)
    head, tail = idle_rows(values, limits), idle_rows(values[::-1], limits)
    if head >= count - 1:
        return range(count)
    margin = round(settings.margin_s * fps)
    return range(max(0, head - margin), min(count, count - tail + margin))


def parse_episodes(text: str) -> list[int]:
    """Episodes of a text such as 0-9,12: both ends count.

    Raises:
        DatasetError: another text.
    """
    numbers: list[int] = []
    for part in comma_list(text):
        found = _RANGE.match(part)
        if found is None or len(part) > 40 or (found[2] and int(found[2]) < int(found[1])):
            raise DatasetError(f"episodes {text!r}: allowed are numbers and ranges such as 0-9,12")
        first, last = int(found[1]), int(found[2] or found[1])
        if last >= _MOST_EPISODES:
            raise DatasetError(f"episodes {text!r}: allowed are numbers below {_MOST_EPISODES}")
        numbers += range(first, last + 1)
    if not numbers:
        raise DatasetError(f"episodes {text!r}: allowed are numbers and ranges such as 0-9,12")
    twice = sorted(number for number, count in Counter(numbers).items() if count > 1)
    if twice:
        raise DatasetError(f"episodes {text!r}: {twice} more than once")
    return numbers


def contract_of(dataset: Dataset) -> Contract:
    """The contract that a data set carries.

    Raises:
        DatasetError: it carries none.
    """
    if dataset.contract is None:
        raise DatasetError(
            f"{dataset.root} carries no contract: make it one of ours with import-lerobot first"
        )
    return dataset.contract


def _cut_at_key(dataset: Dataset, episode: int, row: int) -> int:
    """Last row up to `row` at which the videos of all cameras can be entered."""
    facts, common = dataset.episodes[episode], set(range(row + 1))
    for part in facts.videos.values():
        common &= set(key_images(part.path, part.start_s, facts.length, dataset.fps))
    return max(common, default=0)


def _require_new(output: str | Path, *originals: Dataset) -> None:
    require_elsewhere(output, *originals)
    if locate(output).exists() and any(locate(output).iterdir()):
        raise DatasetError(f"output {output} is not empty: allowed is a new folder")
