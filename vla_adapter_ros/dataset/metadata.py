"""Reads what `meta` says of the files of a data set, and compares it with what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.older_formats import TASKS
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.quality.stored import ColumnSums, VideoHeader, split_faults, statistics_faults
from vla_adapter_ros.dataset.tables import read_lines, read_table
from vla_adapter_ros.errors import DatasetError, VlaAdapterError

_PLACE = re.compile(r"chunk-(\d+)/file-(\d+)\.parquet$")
_EPISODES_STATS = "meta/episodes_stats.jsonl"  # of format v2.1
_COMPARED = ("min", "max", "mean", "std", "count", "q01", "q99")


def read_header(path: Path) -> VideoHeader:
    """What a video's header says.

    Raises:
        DatasetError: no readable video.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            codec = stream.codec_context.codec.canonical_name
            rate = float(stream.average_rate or 0.0) if stream.frames > 1 else 0.0
            header = VideoHeader(stream.frames, codec, rate, stream.width, stream.height)
    except (av.FFmpegError, IndexError, OSError) as error:
        raise DatasetError(f"{path}: no readable video: {error}") from error
    return header


def declared_video(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    """What info.json says of a camera's videos, under either of the names that LeRobot has used."""
    for key in ("info", "video_info"):
        said = feature.get(key)
        if isinstance(said, Mapping):
            return said
    return {}


class EpisodeTables:
    """The tables of `meta` as they are, read once.

    Args:
        dataset: The data set.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._is_old = dataset, dataset.info.get("codebase_version") != layout.VERSION
        self.faults: list[str] = []
        self._rows: dict[int, dict[str, Any]] = {}
        if not self._is_old:
            self._read()

    def _read(self) -> None:
        root = self._dataset.root
        for path in sorted((root / "meta/episodes").glob("*/*.parquet")):
            try:
                table = read_table(path, _is_compared)
            except VlaAdapterError as error:
                self.faults.append(str(error))
                continue
            place = _PLACE.search(path.as_posix())
            for row in table.to_pylist():
                number = row.get("episode_index")
                if type(number) is int:
                    at = (int(place[1]), int(place[2])) if place else None
                    self._rows.setdefault(number, row | {"_place": at})

    def structure_faults(self) -> list[str]:
        """Counts, splits, times and places that are not those of the files."""
        return [*self.faults, *self._count_faults(), *self._place_faults(), *self._time_faults()]

    def _count_faults(self) -> list[str]:
        dataset, info = self._dataset, self._dataset.info
        total = info.get("total_episodes", dataset.num_episodes)
        faults = split_faults(info.get("splits"), total)
        if "total_tasks" in info:
            try:
                path = dataset.root / (TASKS if self._is_old else layout.TASKS)
                known = len(read_lines(path)) if self._is_old else read_table(path).num_rows
            except VlaAdapterError:
                known = info["total_tasks"]  # whoever reads the tasks says what is wrong with them
            if known != info["total_tasks"]:
                faults.append(f"info.json: total_tasks = {info['total_tasks']}, {path.name} has {known}")
        return faults

    def _place_faults(self) -> list[str]:
        """Episodes whose row lies in another file of `meta/episodes` than it says."""
        stale = []
        for number, row in self._rows.items():
            said = tuple(row.get(f"meta/episodes/{name}") for name in ("chunk_index", "file_index"))
            if row["_place"] is not None and None not in said and said != row["_place"]:
                stale.append((number, said, row["_place"]))
        if not stale:
            return []
        number, said, place = stale[0]
        more = f", and {len(stale) - 1} more" if len(stale) > 1 else ""
        return [
            f"meta/episodes/chunk_index and file_index of episode {number} are {said[0]} and {said[1]}, its "
            f"row lies in chunk {place[0]}, file {place[1]}{more}: LeRobot cannot delete or split such a set"
        ]

    def _time_faults(self) -> list[str]:
        """Videos parts that are not as long as their episode, and rows that are not as many."""
        faults, fps = [], self._dataset.fps
        for number, row in self._rows.items():
            length = row.get("length")
            if type(length) is not int:
                continue
            first, end = row.get("dataset_from_index"), row.get("dataset_to_index")
            if type(first) is int and type(end) is int and end - first != length:
                faults.append(
                    f"episode {number}: dataset_to_index is {end}, its rows end at {first + length}"
                )
            for key, begin in row.items():
                if not key.endswith("/from_timestamp"):
                    continue
                until = row.get(key.replace("/from_timestamp", "/to_timestamp"))
                if not (isinstance(begin, float) and isinstance(until, float)):
                    continue
                if abs((until - begin) * fps - length) > 0.5:
                    camera = key.removeprefix("videos/").removesuffix("/from_timestamp")
                    ends = begin + length / fps
                    faults.append(
                        f"episode {number}: to_timestamp of {camera} is {until:.4g}, rows end at {ends:.4g}"
                    )
        return faults

    def statistics_faults(
        self, true: Mapping[int, Mapping[str, ColumnSums]]
    ) -> tuple[list[str], set[int], int]:
        """Stored statistics of episodes against their rows.

        Args:
            true: Number of the episode, as the data set has it -> column -> exact statistics.

        Returns:
            Faults, the numbers of the episodes that are concerned, and for how many episodes statistics are
            stored.
        """
        stored = self._stored_statistics()
        faults, bad, known = [], set(), 0
        for number, columns in true.items():
            for name, sums in columns.items():
                entry = stored.get(number, {}).get(name)
                if not entry:
                    continue
                known += 1
                found = statistics_faults(f"episode {number}: {name}", entry, sums)
                if found:
                    bad.add(number)
                    faults += found
        return faults, bad, known

    def _stored_statistics(self) -> dict[int, dict[str, dict[str, Any]]]:
        if not self._is_old:
            return {number: _nested(row) for number, row in self._rows.items()}
        path = self._dataset.root / _EPISODES_STATS
        if not path.is_file():
            return {}
        try:
            entries = read_lines(path)
        except VlaAdapterError as error:
            self.faults.append(str(error))
            return {}
        stored = ((entry.get("episode_index"), entry.get("stats")) for entry in entries)
        return {number: stats for number, stats in stored if type(number) is int and isinstance(stats, dict)}


def _nested(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Columns `stats/FEATURE/STATISTIC` as feature -> statistic -> values."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in row.items():
        if key.startswith("stats/") and value is not None:
            feature, _, statistic = key.removeprefix("stats/").rpartition("/")
            found.setdefault(feature, {})[statistic] = value
    return found


def _is_compared(column: str) -> bool:
    if not column.startswith("stats/"):
        return True
    feature, _, statistic = column.removeprefix("stats/").rpartition("/")
    return feature in (layout.STATE, layout.ACTION) and statistic in _COMPARED
