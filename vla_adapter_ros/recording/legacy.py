"""Reads LeRobot data sets of the formats v2.0 and v2.1: one data file and one video per episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.recording import layout
from vla_adapter_ros.recording.description import fill
from vla_adapter_ros.recording.reader import DatasetReader, Episode, VideoPart
from vla_adapter_ros.recording.statistics import column_statistics
from vla_adapter_ros.recording.tables import read_json, read_lines, require_columns
from vla_adapter_ros.untrusted import short

VERSIONS = ("v2.0", "v2.1")
EPISODES, TASKS = "meta/episodes.jsonl", "meta/tasks.jsonl"


class LegacyReader(DatasetReader):
    """A LeRobot v2.0 or v2.1 data set, with the attributes of `DatasetReader`.

    Episodes whose files are not there are left out (people pass on parts of such data sets); the
    others are numbered anew, without gaps.

    Args:
        root: Folder that holds `meta`, `data` and `videos`.

    Raises:
        DatasetError: no such data set, another version, or none of its episodes is there.
    """

    def __init__(self, root: str | Path) -> None:
        self.missing: tuple[int, ...] = ()
        """Numbers, as its own list has them, of the episodes whose files are not there."""
        self.numbers: tuple[int, ...] = ()
        """Numbers, as its own list has them, of the episodes that are there."""
        super().__init__(root, VERSIONS)

    @property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Exact statistics of the numeric columns; of the images there are none."""
        parts = [self.rows(episode.index) for episode in self.episodes]
        return {
            name: column_statistics(np.concatenate([rows[name] for rows in parts]))
            for name in parts[0]
            if parts[0][name].dtype.kind in "iuf"
        }

    def rows(self, episode: int) -> dict[str, np.ndarray]:
        """All columns of an episode, as in `DatasetReader`, with the numbers that the episode has here."""
        facts = self._episode(episode)
        rows = require_columns(self._read_rows(facts.data), ("timestamp", "task_index"), facts.data)
        lengths = {name: len(column) for name, column in rows.items()}
        if any(length != facts.length for length in lengths.values()):
            raise DatasetError(f"{facts.data}: rows {lengths}, {facts.length} expected")
        rows["frame_index"] = np.arange(facts.length)
        rows["episode_index"] = np.full(facts.length, facts.index)
        rows["index"] = facts.first_row + np.arange(facts.length)
        return rows

    def _stored_number(self, facts: Episode) -> int:
        return self.numbers[facts.index]

    def _read_tasks(self) -> tuple[str, ...]:
        path = self.root / TASKS
        by_index = {_whole(entry, "task_index", path): entry.get("task") for entry in read_lines(path)}
        if sorted(by_index) != list(range(len(by_index))):
            raise DatasetError(f"{path}: task_index {sorted(by_index)}, allowed are 0, 1, 2, ...")
        if not all(isinstance(task, str) for task in by_index.values()):
            raise DatasetError(f"{path}: a task is no text")
        return tuple(by_index[n] for n in range(len(by_index)))

    def _read_episodes(self) -> tuple[Episode, ...]:
        episodes: list[Episode] = []
        numbers: list[int] = []
        missing: list[int] = []
        for entry in read_lines(self.root / EPISODES):
            first = episodes[-1].first_row + episodes[-1].length if episodes else 0
            episode = self._episode_of(entry, len(episodes), first)
            paths = [episode.data, *(part.path for part in episode.videos.values())]
            if all(path.is_file() for path in paths):
                episodes.append(episode)
                numbers.append(entry["episode_index"])
            else:
                missing.append(entry["episode_index"])
        if not episodes:
            raise DatasetError(f"{self.root}: no files of any of its {len(missing)} episodes")
        self.numbers, self.missing = tuple(numbers), tuple(missing)
        self.num_episodes = len(episodes)
        self.num_frames = episodes[-1].first_row + episodes[-1].length
        return tuple(episodes)

    def _episode_of(self, entry: dict[str, Any], index: int, first_row: int) -> Episode:
        path = self.root / EPISODES
        number, length = _whole(entry, "episode_index", path), _whole(entry, "length", path, least=1)
        place = {"episode_chunk": number // self.info.get("chunks_size", 1000), "episode_index": number}
        videos = {
            camera: VideoPart(
                self.root / fill(self.info, "video_path", video_key=self.camera_feature(camera), **place), 0.0
            )
            for camera in self.video_cameras
        }
        data = self.root / fill(self.info, "data_path", **place)
        tasks = entry.get("tasks", [])
        if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
            raise DatasetError(f"{path}: tasks = {short(tasks)}: allowed is a list of texts")
        return Episode(index, length, first_row, tuple(tasks), data, videos)


def format_of(root: str | Path) -> str:
    """Format that a data set says it has, such as v3.0.

    Raises:
        DatasetError: no data set, or one that does not say.
    """
    version = read_json(Path(root) / layout.INFO).get("codebase_version")
    if not isinstance(version, str):
        raise DatasetError(
            f"{root}: codebase_version {version!r}, allowed is a text such as {layout.VERSION!r}"
        )
    return version


def _whole(entry: dict[str, Any], name: str, path: Path, least: int = 0) -> int:
    value = entry.get(name)
    if type(value) is not int or not least <= value < 10**9:
        raise DatasetError(f"{path}: {name} = {short(value)}: allowed is a whole number from {least} on")
    return value
