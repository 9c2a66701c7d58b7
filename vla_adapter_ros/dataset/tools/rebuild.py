"""Writes a LeRobot v3.0 data set from episodes that were found whole, numbered anew."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import files
from vla_adapter_ros.contract import Contract, write_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.card import write_card
from vla_adapter_ros.dataset.column_statistics import column_statistics, histogram_statistics
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.resume import read_recordings
from vla_adapter_ros.dataset.tools.new_folder import new_folder
from vla_adapter_ros.untrusted import leaves


@dataclass(frozen=True)
class RecoveredEpisode:
    """An episode of T rows that is whole.

    Attributes:
        number: Its number in the old data set.
        rows: Its part of the data table, T rows.
        tasks: Its instruction in each row, T texts.
        data: File that its rows came from.
        videos: Feature -> file with its images, and the time in it at which they begin [s].
        histograms: Feature -> counts over its images, int64 (3, 256).
    """

    number: int
    rows: pa.Table
    tasks: list[str]
    data: Path
    videos: dict[str, tuple[Path, float]]
    histograms: dict[str, np.ndarray]


def rebuild_dataset(
    root: Path,
    output: Path,
    info: dict[str, Any],
    episodes: list[RecoveredEpisode],
    contract: Contract | None,
) -> None:
    """Write `episodes` into the new folder `output`, which appears only when it is complete.

    Args:
        root: The data set that they come from.
        output: New folder.
        info: Content of info.json; its totals and paths are replaced.
        episodes: At least one, in order.
        contract: Written beside the data if there is one.

    Raises:
        DatasetError: it cannot be written, or what was written cannot be read.
    """
    with new_folder(output) as partial:
        _Rebuild(root, partial, info, episodes).write(contract)
        DatasetReader(partial)
        write_card(partial)
        partial.rename(output)


class _Rebuild:
    def __init__(
        self, root: Path, output: Path, info: dict[str, Any], episodes: list[RecoveredEpisode]
    ) -> None:
        self._root, self._output, self._info, self._episodes = root, output, info, episodes
        self._features: dict[str, Any] = info["features"]
        self._tasks = list(dict.fromkeys(task for episode in episodes for task in episode.tasks))
        self._columns: dict[str, list[np.ndarray]] = {}
        self._video_numbers: dict[str, dict[Path, int]] = {}

    def write(self, contract: Contract | None) -> None:
        """Everything, info.json last."""
        first = 0
        for number, episode in enumerate(self._episodes):
            self._write_episode(number, first, episode)
            first += episode.rows.num_rows
        tasks = layout.tasks_table(self._tasks)
        files.write_file(self._output / layout.TASKS, lambda path: pq.write_table(tasks, path))
        histograms = {
            key: np.sum([episode.histograms[key] for episode in self._episodes], axis=0)
            for key in self._episodes[0].histograms
        }
        stats = {name: column_statistics(np.concatenate(parts)) for name, parts in self._columns.items()}
        stats |= {key: histogram_statistics(h, first) for key, h in histograms.items()}
        files.write_json(self._output / layout.STATS, stats)
        if contract is not None:
            files.write_file(self._output / layout.CONTRACT, lambda path: write_contract(contract, path))
            self._write_notes(histograms)
        for path in self._root.glob("*"):
            if path.is_file() and not leaves(path, self._root):  # license, readme; no link's target
                shutil.copy2(path, self._output / path.name)
        totals = {
            "total_episodes": len(self._episodes),
            "total_frames": first,
            "total_tasks": len(self._tasks),
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH if histograms else None,
        }
        files.write_json(self._output / layout.INFO, self._info | totals)

    def _write_notes(self, histograms: dict[str, np.ndarray]) -> None:
        """What only data sets recorded by us have: image histograms, and notes on each episode."""
        prefix = layout.image_key("")
        counts = {key.removeprefix(prefix): h.tolist() for key, h in histograms.items()}
        files.write_json(
            self._output / layout.HISTOGRAMS, {"total_episodes": len(self._episodes), "histograms": counts}
        )
        old = read_recordings(self._root, 1 + max(episode.number for episode in self._episodes))
        notes = [old[e.number] | {"episode": number} for number, e in enumerate(self._episodes)]
        files.write_json(self._output / layout.RECORDINGS, {"episodes": notes})

    def _write_episode(self, number: int, first: int, episode: RecoveredEpisode) -> None:
        rows, length = episode.rows, episode.rows.num_rows
        renumbered = {
            "episode_index": np.full(length, number),
            "index": first + np.arange(length),
            "task_index": np.array([self._tasks.index(task) for task in episode.tasks]),
        }
        for name, column in renumbered.items():
            at = rows.column_names.index(name)
            rows = rows.set_column(
                at, rows.schema.field(name), pa.array(column, rows.schema.field(name).type)
            )
        data = layout.data_file(self._output, number)
        files.write_file(data, lambda path: pq.write_table(rows, path))

        place = layout.locate(number)
        tasks = list(dict.fromkeys(episode.tasks))
        row: dict[str, Any] = {"episode_index": number, "tasks": tasks, "length": length}
        row |= {f"data/{key}": value for key, value in place.items()}
        row |= {"dataset_from_index": first, "dataset_to_index": first + length}
        for key, (source, start) in episode.videos.items():
            row |= {f"videos/{key}/{n}": v for n, v in layout.locate(self._place_video(key, source)).items()}
            row[f"videos/{key}/from_timestamp"] = start
            row[f"videos/{key}/to_timestamp"] = start + length / float(self._info["fps"])
        for name, values in self._numbers(rows).items():
            self._columns.setdefault(name, []).append(values)
            row |= {f"stats/{name}/{key}": value for key, value in column_statistics(values).items()}
        for key, histogram in episode.histograms.items():
            statistics = histogram_statistics(histogram, length)
            row |= {f"stats/{key}/{name}": value for name, value in statistics.items()}
        row |= {f"meta/episodes/{key}": value for key, value in place.items()}
        table = layout.episode_table(row, self._features)
        files.write_file(layout.episode_file(self._output, number), lambda path: pq.write_table(table, path))

    def _place_video(self, key: str, source: Path) -> int:
        """Number of the new file that holds a video; it is linked (or copied) when first asked for."""
        numbers = self._video_numbers.setdefault(key, {})
        if source not in numbers:
            numbers[source] = len(numbers)
            place = layout.locate(numbers[source])
            target = self._output / layout.VIDEO_PATH.format(video_key=key, **place)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source.resolve(), target)
            except OSError:
                shutil.copy2(source, target)
        return numbers[source]

    def _numbers(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Columns of numbers, (T, D) each, by the features that declare them."""
        columns = {}
        for name, feature in self._features.items():
            if name not in rows.column_names or not feature["dtype"].startswith(("int", "float", "bool")):
                continue
            column = rows[name].combine_chunks()
            while pa.types.is_nested(column.type):
                column = column.flatten()
            values = column.to_numpy(zero_copy_only=False).reshape(rows.num_rows, -1)
            columns[name] = values.astype(np.float64) if values.dtype.kind == "b" else values
        return columns
