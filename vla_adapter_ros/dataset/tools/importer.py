"""A data set that takes in episodes of other data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.finished_episode import EpisodeSummary, FinishedEpisode
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.store import DatasetStore
from vla_adapter_ros.dataset.tools.copying import recorded_columns, write_video
from vla_adapter_ros.dataset.tools.import_report import EpisodeReport, describe_tasks
from vla_adapter_ros.dataset.trial_facts import carried_notes, read_labels, read_notes
from vla_adapter_ros.dataset.video import VideoSettings
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.texts import visible
from vla_adapter_ros.untrusted import leaves


@dataclass(frozen=True)
class ImportedEpisode:
    """What became of an episode.

    Attributes:
        summary: The new episode.
        encoded_again: Camera -> why its video could not be copied; empty: all were.
        timing: What is to be said about its times; empty: nothing.
    """

    summary: EpisodeSummary
    encoded_again: dict[str, str]
    timing: str

    @property
    def remarks(self) -> list[str]:
        """What is to be said of its videos and its tasks."""
        return [
            *(f"{camera} encoded again: {reason}" for camera, reason in self.encoded_again.items()),
            *describe_tasks(self.summary.tasks),
        ]


class DatasetImporter:
    """A data set that takes in episodes of others, one after the other.

    Args:
        root: Its folder: new, empty, or a data set of the same contract.
        contract: Names, order, units, sizes and rate that all episodes have.
        codec: For videos that cannot be copied.
        crf, gop: Of videos that cannot be copied.

    Raises:
        As `DatasetStore`.
    """

    def __init__(
        self, root: str | Path, contract: Contract, *, codec: str = "h264", crf: int = 18, gop: int = 10
    ) -> None:
        self._store = DatasetStore(root, contract, VideoSettings(codec, crf, gop), copies=True)
        self._notes: tuple[Dataset, list[dict[str, Any]]] | None = None  # of the data set that came last

    def import_episode(
        self,
        dataset: Dataset,
        episode: int,
        rows: range | None = None,
        *,
        task: str = "",
        control_source: int = layout.HUMAN,
        notes: Mapping[str, Any] | None = None,
    ) -> ImportedEpisode:
        """Take in an episode; when this returns, it is on disk for good.

        Args:
            dataset: With the names of this one's contract.
            episode: Its number there.
            rows: Which of its rows, without gaps; all if None.
            task: What was to be done; as the data set says of each row if empty.
            control_source: For data sets that do not say who was in control.
            notes: Facts to keep, as plain JSON values.

        Raises:
            DatasetError: the episode does not fit, or is damaged. Nothing of it is kept.
            RecordingError: it could not be written.
        """
        store, facts = self._store, dataset.episodes[episode]
        rows = range(facts.length) if rows is None else rows
        if not (len(rows) and 0 <= rows.start and rows.stop <= facts.length and rows.step == 1):
            raise DatasetError(
                f"{dataset.root}: rows {rows} of episode {facts.number}: it has {facts.length}"
            )
        for path in (facts.data, *(part.path for part in facts.videos.values())):
            if leaves(path, dataset.root):
                raise DatasetError(f"{path} is a link out of the data set: links are not followed")
        columns, timing = recorded_columns(dataset, episode, rows, store.contract, control_source)
        tasks = _tasks_of(dataset, episode, rows, task)
        videos = store.reserve_videos()
        reasons: dict[str, str] = {}
        histograms: dict[str, np.ndarray] = {}
        try:
            for camera, path in videos.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                reason, histograms[camera] = write_video(
                    dataset, camera, episode, rows, path, store.contract, store.settings
                )
                if reason:
                    reasons[camera] = reason
        except BaseException:
            store.remove_videos(videos.values())
            raise
        facts_kept = {
            **self._carried(dataset, episode),
            "source": f"{dataset.root.name}, episode {facts.number}, rows {rows.start} to {rows.stop - 1}",
            **({"timing": timing} if timing else {}),
            **(notes or {}),
        }
        summary = store.save(FinishedEpisode(tasks, columns, videos, histograms), facts_kept)
        return ImportedEpisode(summary, reasons, timing)

    def import_episodes(
        self,
        dataset: Dataset,
        control_source: int = layout.HUMAN,
        episodes: range | list[int] | None = None,
    ) -> Iterator[EpisodeReport]:
        """Take in episodes, one after the other; what does not fit is reported and left out."""
        for number in range(dataset.num_episodes) if episodes is None else episodes:
            source = f"{dataset.root.name}, episode {dataset.episodes[number].number}"
            try:
                done = self.import_episode(dataset, number, control_source=control_source)
            except DatasetError as error:
                yield EpisodeReport(-1, source, 0, "", [str(error)])
                continue
            remarks = done.remarks + ([f"times: {done.timing}"] if done.timing else [])
            yield EpisodeReport(done.summary.index, source, done.summary.frames, done.summary.task, remarks)

    def _carried(self, dataset: Dataset, episode: int) -> dict[str, Any]:
        """What a copy keeps of an episode's notes."""
        if self._notes is None or self._notes[0] is not dataset:
            entries = zip(read_notes(dataset), read_labels(dataset), strict=True)
            self._notes = dataset, [carried_notes(entry, label) for entry, label in entries]
        return self._notes[1][episode]

    def close(self) -> None:
        """Let others write to the data set. One with episodes gets its README.md, unless it has one."""
        self._store.close()

    def __enter__(self) -> DatasetImporter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tasks_of(dataset: Dataset, episode: int, rows: range, task: str) -> list[str]:
    """Instruction of each row: `task`, or as the data set says if that is empty."""
    given = [task] * len(rows) if task else dataset.row_tasks(episode)[rows.start : rows.stop]
    tasks = [visible(text) for text in given]
    if not all(tasks):
        raise DatasetError(
            f"{dataset.root}: episode {dataset.episodes[episode].number} has no task in row "
            f"{rows[tasks.index('')]}: allowed is a text that can be read"
        )
    return tasks
