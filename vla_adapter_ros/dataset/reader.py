"""Reads LeRobot v3.0 data sets: ours, and those of others with several episodes per file.

Older formats and foreign names: `opening.open_dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.depth import DepthCoding, coding_of, is_depth
from vla_adapter_ros.dataset.episode_list import (
    Episode,
    EpisodeList,
    absent_cameras,
    episodes_of,
    read_facts,
)
from vla_adapter_ros.dataset.info_json import check_info
from vla_adapter_ros.dataset.stored_images import stored_images
from vla_adapter_ros.dataset.tables import (
    plain_columns,
    read_json,
    read_table,
    require_columns,
    whole_numbers,
)
from vla_adapter_ros.dataset.task_texts import read_task_table, row_texts
from vla_adapter_ros.dataset.video import decode_frames
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import short


class DatasetReader:
    """A LeRobot v3.0 data set on disk.

    Args:
        root: Folder that holds `meta`, `data` and `videos`.
        versions: Formats that are taken.

    Raises:
        DatasetError: no such data set, another version, or its parts do not fit together.
    """

    _file_per_episode = False
    """Whether each data file holds one episode alone, as the format says."""

    def __init__(self, root: str | Path, versions: tuple[str, ...] = (layout.VERSION,)) -> None:
        self.root = locate(root)
        self.info: dict[str, Any] = read_json(self.root / layout.INFO)
        version = self.info.get("codebase_version")
        if version not in versions:
            raise DatasetError(
                f"{self.root}: format {version!r}, allowed is {' or '.join(map(repr, versions))}"
            )
        self.info = check_info(self.info, self.root / layout.INFO)
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.fps = float(self.info["fps"])
        self._list = self._read_episodes()
        known = self._read_tasks()
        self._lists_tasks = known is not None
        said = (episode.tasks[0] for episode in self.episodes if len(episode.tasks) == 1)
        listed = known or ()
        self.tasks: tuple[str, ...] = (*listed, *dict.fromkeys(t for t in said if t not in listed))
        self._table: tuple[Path, pa.Table] | None = None  # the data file that was read last

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Episodes that can be read, in their order."""
        return self._list.episodes

    @property
    def num_episodes(self) -> int:
        """Episodes that can be read."""
        return len(self._list.episodes)

    @property
    def num_frames(self) -> int:
        """Rows of all episodes that can be read."""
        return self._list.num_frames

    @property
    def absent(self) -> dict[str, str]:
        """Cameras that info.json declares but that have no files, and what is missing."""
        return self._list.absent

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers, as its own list has them, of the episodes whose files are not there."""
        return self._list.missing

    @property
    def missing_file(self) -> str:
        """The first of these files."""
        return self._list.missing_file

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, e.g. `third_view`, whether as videos or as images in the data files.

        Those of depth are not among them (see `depth_cameras`), nor are those without files (`absent`).
        """
        return self._present(lambda f: f["dtype"] in ("video", "image") and not is_depth(f))

    @property
    def depth_cameras(self) -> tuple[str, ...]:
        """Names of the depth cameras that can be read: those with a video of LeRobot's codes."""
        return self._present(lambda f: coding_of(f) is not None)

    @property
    def video_cameras(self) -> tuple[str, ...]:
        """Names of the cameras with a video, of colors or depth, that is there."""
        return self._present(_is_video)

    def require_cameras(self, cameras: Collection[str]) -> None:
        """Say that only these cameras will be asked for.

        Raises:
            DatasetError: one of them has no files.
        """
        for camera in cameras:
            if camera in self.absent:
                raise DatasetError(f"{self.root}: camera {camera}: {self.absent[camera]}")

    def _present(self, wanted: Callable[[dict[str, Any]], bool]) -> tuple[str, ...]:
        return tuple(name for name in self._declared(wanted) if name not in self.absent)

    def _declared(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, str]:
        """Cameras that info.json declares, of the wanted kind, whether they have files or not -> features."""
        prefix = layout.image_key("")
        return {name.removeprefix(prefix): name for name, f in self.features.items() if wanted(f)}

    def camera_feature(self, camera: str) -> str:
        """Feature of a camera; of some data sets by others, the name of the camera itself."""
        key = layout.image_key(camera)
        return key if key in self.features else camera

    @property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Statistics as stored, feature -> name -> nested lists."""
        stored = read_json(self.root / layout.STATS)
        for name, entry in stored.items():
            if not isinstance(entry, dict):
                raise DatasetError(
                    f"{self.root / layout.STATS}: {name} = {short(entry)}: allowed is a mapping"
                )
        return stored

    @cached_property
    def contract(self) -> Contract | None:
        """Contract of the robot; None for data sets that carry none."""
        path = self.root / layout.CONTRACT
        return read_contract(path) if path.is_file() else None

    def rows(self, episode: int) -> dict[str, np.ndarray]:
        """Columns of an episode of length T that hold numbers or texts: (T, D), or (T,) for width 1.

        Raises:
            DatasetError: no such episode, or its file lacks rows.
        """
        facts = self._episode(episode)
        table = self._data(facts.data)
        numbers = whole_numbers(table, "episode_index", facts.data)
        inside = np.flatnonzero(numbers == facts.number)
        if len(inside) != facts.length:
            raise DatasetError(
                f"{facts.data}: {len(inside)} rows of episode {facts.number}, {facts.length} expected"
            )
        rows = plain_columns(table.take(pa.array(inside)), self.features, facts.data)
        rows["task_index"] = self._task_numbers(rows, facts)
        return require_columns(rows, ("timestamp", *layout.INDEX_FEATURES), facts.data)

    def _read_rows(self, path: Path) -> dict[str, np.ndarray]:
        """All rows of a data file, without images."""
        return plain_columns(self._data(path), self.features, path)

    def task_of(self, episode: int) -> str:
        """What was to be done in an episode's first row. Errors as in `row_tasks`."""
        return self.row_tasks(episode)[0]

    def row_tasks(self, episode: int) -> list[str]:
        """What was to be done in each row of an episode, T texts.

        Raises:
            DatasetError: no such episode or task.
        """
        return row_texts(self.tasks, self.rows(episode)["task_index"], f"{self.root}: episode {episode}")

    def _task_numbers(self, rows: dict[str, np.ndarray], facts: Episode) -> np.ndarray:
        """Place in `tasks` of each row; where rows or tasks do not say it, the episode's one instruction."""
        column = rows.get("task_index")
        if column is not None and self._lists_tasks:
            return column
        if len(facts.tasks) != 1:
            lacks = "no table of tasks" if column is not None else f"no column task_index in {facts.data}"
            raise DatasetError(
                f"{self.root}: {lacks}, and episode {facts.number} lists the tasks {short(facts.tasks)}: "
                "allowed without it is exactly one"
            )
        return np.full(facts.length, self.tasks.index(facts.tasks[0]))

    def images(self, camera: str, episode: int, rows: range | None = None) -> Iterator[np.ndarray]:
        """Give out the images of an episode one by one: uint8 (H, W, 3) RGB, or depth, uint16 (H, W) [mm].

        Args:
            camera: Its name.
            episode: Its number.
            rows: Of which rows, without gaps; all if None.

        Raises:
            DatasetError: no such camera or episode, or the video lacks images.
        """
        facts = self._episode(episode)
        rows = range(facts.length) if rows is None else rows
        if camera not in (known := (*self.cameras, *self.depth_cameras)):
            lacks = f" ({self.absent[camera]})" if camera in self.absent else ""
            raise DatasetError(f"{self.root}: camera {camera!r}{lacks}: allowed are {list(known)}")
        if camera not in facts.videos:
            return self._stored_images(camera, facts, rows)
        part = facts.videos[camera]
        start = part.start_s + rows.start / self.fps
        return decode_frames(part.path, start, len(rows), self.fps, self._coding_of(camera))

    def image(self, camera: str, episode: int, row: int) -> np.ndarray:
        """Decode one image of an episode. Kinds and errors as in `images`."""
        facts = self._episode(episode)
        if camera not in (*self.cameras, *self.depth_cameras) or not 0 <= row < facts.length:
            raise DatasetError(f"{self.root}: no image {row} of camera {camera!r} in episode {episode}")
        if camera not in facts.videos:
            return next(self._stored_images(camera, facts, range(row, row + 1)))
        part = facts.videos[camera]
        start = part.start_s + row / self.fps
        return next(decode_frames(part.path, start, 1, self.fps, self._coding_of(camera)))

    def decode(self, camera: str, episode: int) -> np.ndarray:
        """Decode the images of an episode: (T, H, W, 3) or (T, H, W). Kinds and errors as in `images`."""
        return np.stack(list(self.images(camera, episode)))

    def _coding_of(self, camera: str) -> DepthCoding | None:
        return coding_of(self.features[self.camera_feature(camera)])

    def _stored_images(self, camera: str, facts: Episode, rows: range) -> Iterator[np.ndarray]:
        key = self.camera_feature(camera)
        return stored_images(self.root, facts.data, key, facts.number, rows, alone=self._file_per_episode)

    def _episode(self, number: int) -> Episode:
        if not 0 <= number < len(self.episodes):
            allowed = f"allowed are 0 to {len(self.episodes) - 1}" if self.episodes else "it has none"
            raise DatasetError(f"{self.root}: episode {number}: {allowed}")
        return self.episodes[number]

    def _data(self, path: Path) -> pa.Table:
        if self._table is None or self._table[0] != path:
            images = {name for name, feature in self.features.items() if feature["dtype"] == "image"}
            self._table = (path, read_table(path, lambda column: column not in images))
        return self._table[1]

    def _read_tasks(self) -> tuple[str, ...] | None:
        """Instructions by their number; None where there is no table of them."""
        return read_task_table(self.root / layout.TASKS, self.info.get("total_tasks"))

    def _read_episodes(self) -> EpisodeList:
        facts, total = read_facts(self.root), self.info.get("total_episodes", 0)
        if len(facts) < total:
            raise DatasetError(
                f"{self.root}: meta/episodes describes {len(facts)} episodes, info.json says {total}: "
                "the program that recorded it did not finish, or files were not copied"
            )
        cameras = self._declared(_is_video)
        episodes = episodes_of(facts[:total], self.root, self.info, cameras)  # more are leftovers of a crash
        count, declared = sum(episode.length for episode in episodes), self.info.get("total_frames", 0)
        if count != declared:
            raise DatasetError(f"{self.root}: episodes have {count} rows, info.json says {declared}")
        return EpisodeList(tuple(episodes), absent_cameras(episodes, cameras))


def _is_video(feature: dict[str, Any]) -> bool:
    return bool(feature["dtype"] == "video")
