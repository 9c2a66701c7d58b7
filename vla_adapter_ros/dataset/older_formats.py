"""Reads LeRobot data sets of the formats v2.0 and v2.1: one data file and one video per episode."""

from __future__ import annotations

import glob
import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import exact_statistics
from vla_adapter_ros.dataset.episode_list import Episode, EpisodeList, VideoPart, missing_files
from vla_adapter_ros.dataset.info_json import fill
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tables import read_json, read_lines, require_columns
from vla_adapter_ros.dataset.task_texts import in_their_places
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import short

VERSIONS = ("v2.0", "v2.1")
_CHUNK = re.compile(r"((?:^|/)chunk-)(\d+)")
EPISODES, TASKS = "meta/episodes.jsonl", "meta/tasks.jsonl"


class LegacyReader(DatasetReader):
    """A LeRobot v2.0 or v2.1 data set, with the attributes of `DatasetReader`.

    Episodes whose files are not there are left out (people pass on parts of such data sets); the
    others are numbered anew, without gaps. A camera of which no episode has a file counts as `absent`.

    Args:
        root: Folder that holds `meta`, `data` and `videos`.

    Raises:
        DatasetError: no such data set, another version, or none of its episodes is there.
    """

    _file_per_episode = True

    def __init__(self, root: str | Path) -> None:
        super().__init__(root, VERSIONS)

    @property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Exact statistics of the numeric columns; of the images there are none."""
        return exact_statistics(self)

    def require_cameras(self, cameras: Collection[str]) -> None:
        """Say that only these cameras will be asked for: others may lack files. As in `DatasetReader`."""
        super().require_cameras(cameras)
        self._list = self._read_episodes(cameras)

    def rows(self, episode: int) -> dict[str, np.ndarray]:
        """All columns of an episode, as in `DatasetReader`, with the numbers that the episode has here."""
        facts = self._episode(episode)
        rows = self._read_rows(facts.data)
        lengths = {name: len(column) for name, column in rows.items()}
        if any(length != facts.length for length in lengths.values()):
            raise DatasetError(f"{facts.data}: rows {lengths}, {facts.length} expected")
        rows["task_index"] = self._task_numbers(rows, facts)
        require_columns(rows, ("timestamp", "task_index"), facts.data)
        rows["frame_index"] = np.arange(facts.length)
        rows["episode_index"] = np.full(facts.length, facts.index)
        rows["index"] = facts.first_row + np.arange(facts.length)
        return rows

    def _read_tasks(self) -> tuple[str, ...] | None:
        path = self.root / TASKS
        if not path.exists():
            return None
        entries = read_lines(path)
        numbers = [_whole(entry, "task_index", path) for entry in entries]
        return in_their_places(numbers, [entry.get("task") for entry in entries], path)

    def _read_episodes(self, cameras: Collection[str] | None = None) -> EpisodeList:
        """Episodes whose data and whose images of `cameras` are there; None: of all cameras with files."""
        path = self.root / EPISODES
        entries = read_lines(path)
        chunks = self._chunks_in_use([_whole(entry, "episode_index", path) for entry in entries])
        declared = self._declared(lambda feature: feature["dtype"] == "video")
        listed = [self._episode_of(entry, declared, chunks) for entry in entries]
        twice = [number for number, count in Counter(e.number for e in listed).items() if count > 1]
        if twice:
            raise DatasetError(f"{path}: episode_index {twice[0]} more than once: allowed is once")
        absent = _without_files([episode for episode in listed if episode.data.is_file()], declared)
        needed = [name for name in declared if name not in absent] if cameras is None else cameras
        episodes: list[Episode] = []
        lacking: dict[int, Path] = {}
        first = 0
        for episode in listed:
            parts = {
                camera: part
                for camera, part in episode.videos.items()
                if camera not in absent and part.path.is_file()
            }
            paths = [episode.data, *(episode.videos[c].path for c in needed if c in episode.videos)]
            gone = [path for path in paths if not path.is_file()]
            if gone:
                lacking[episode.number] = gone[0]
                continue
            episodes.append(replace(episode, index=len(episodes), first_row=first, videos=parts))
            first += episode.length
        if listed and not episodes:
            raise DatasetError(
                f"{self.root}: none of the {len(listed)} episodes of {EPISODES} has its files: "
                f"{missing_files(list(lacking.values()))}"
            )
        return EpisodeList(tuple(episodes), absent, tuple(lacking), str(next(iter(lacking.values()), "")))

    def _episode_of(self, entry: dict[str, Any], cameras: Mapping[str, str], chunks: set[str]) -> Episode:
        path, info = self.root / EPISODES, self.root / layout.INFO
        number, length = _whole(entry, "episode_index", path), _whole(entry, "length", path, minimum=1)
        numbers = {"episode_index": number}
        videos = {}
        for camera, key in cameras.items():
            file = fill(self.info, "video_path", info, numbers, key)
            videos[camera] = VideoPart(self._found(file, chunks), 0.0)
        data = self._found(fill(self.info, "data_path", info, numbers), chunks)
        tasks = entry.get("tasks", [])
        if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
            raise DatasetError(f"{path}: tasks = {short(tasks)}: allowed is a list of texts")
        return Episode(0, length, 0, tuple(tasks), data, videos, number)

    def _found(self, name: str, chunks: set[str]) -> Path:
        """A file by its name, or the only one of that name in another chunk: templates err there.

        Only in a chunk in which an episode lies where the template says: people also put other recordings
        beside a data set, in a chunk of their own and under the same names.
        """
        path = self.root / name
        if path.is_file() or not _CHUNK.search(name):
            return path
        found = list(itertools.islice(self.root.glob(_CHUNK.sub(r"\1*", glob.escape(name))), 2))
        chunk = _CHUNK.search(found[0].relative_to(self.root).as_posix()) if len(found) == 1 else None
        return found[0] if chunk and chunk[2] in chunks else path

    def _chunks_in_use(self, numbers: list[int]) -> set[str]:
        """Digits of the chunks in which the rows of an episode lie where `data_path` says."""
        info = self.root / layout.INFO
        names = (fill(self.info, "data_path", info, {"episode_index": number}) for number in numbers)
        places = ((_CHUNK.search(name), self.root / name) for name in names)
        return {chunk[2] for chunk, path in places if chunk and path.is_file()}


def _without_files(episodes: list[Episode], cameras: Mapping[str, str]) -> dict[str, str]:
    """Cameras of which no episode has a file -> what is missing, in words."""
    absent = {}
    for camera in cameras if episodes else ():
        paths = [episode.videos[camera].path for episode in episodes]
        if not any(path.is_file() for path in paths):
            absent[camera] = missing_files(paths, "video_path")
    return absent


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


def _whole(entry: dict[str, Any], name: str, path: Path, minimum: int = 0) -> int:
    value = entry.get(name)
    if type(value) is not int or not minimum <= value < 10**9:
        raise DatasetError(f"{path}: {name} = {short(value)}: allowed is a whole number from {minimum} on")
    return value
