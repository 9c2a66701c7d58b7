"""Reads LeRobot v3.0 data sets: ours, and those of others with several episodes per file.

Older formats and foreign names: `opening.open_dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import DatasetError, ImageError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.recording import layout
from vla_adapter_ros.recording.depth import DepthCoding, coding_of, is_depth
from vla_adapter_ros.recording.description import check_info, fill
from vla_adapter_ros.recording.images import decode_picture
from vla_adapter_ros.recording.tables import (
    plain_columns,
    read_json,
    read_table,
    require_columns,
    whole_numbers,
)
from vla_adapter_ros.recording.video import decode_frames
from vla_adapter_ros.untrusted import short


@dataclass(frozen=True)
class VideoPart:
    """Where an episode's images of one camera lie: a file, and the time in it at which they begin [s]."""

    path: Path
    start_s: float


@dataclass(frozen=True)
class Episode:
    """One episode. `first_row` counts over the whole data set."""

    index: int
    length: int
    first_row: int
    tasks: tuple[str, ...]
    data: Path
    videos: dict[str, VideoPart]


class DatasetReader:
    """A LeRobot v3.0 data set on disk.

    Args:
        root: Folder that holds `meta`, `data` and `videos`.
        versions: Formats that are taken.

    Raises:
        DatasetError: no such data set, another version, or its parts do not fit together.
    """

    def __init__(self, root: str | Path, versions: tuple[str, ...] = (layout.VERSION,)) -> None:
        self.root = locate(root)
        self.info: dict[str, Any] = read_json(self.root / layout.INFO)
        version = self.info.get("codebase_version")
        if version not in versions:
            raise DatasetError(
                f"{self.root}: format {version!r}, allowed is {' or '.join(map(repr, versions))}"
            )
        check_info(self.info, self.root / layout.INFO)
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.fps = float(self.info["fps"])
        self.num_episodes: int = self.info.get("total_episodes", 0)
        self.num_frames: int = self.info.get("total_frames", 0)
        self.tasks: tuple[str, ...] = self._read_tasks()
        self.episodes: tuple[Episode, ...] = self._read_episodes()
        self._table: tuple[Path, pa.Table] | None = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, e.g. `third_view`, whether as videos or as images in the data files.

        Those of depth are not among them: see `depth_cameras`.
        """
        return self._cameras(lambda f: f["dtype"] in ("video", "image") and not is_depth(f))

    @property
    def depth_cameras(self) -> tuple[str, ...]:
        """Names of the depth cameras that can be read: those with a video of LeRobot's codes."""
        return self._cameras(lambda f: coding_of(f) is not None)

    @property
    def video_cameras(self) -> tuple[str, ...]:
        """Names of the cameras with a video, of colours or depth."""
        return self._cameras(lambda f: f["dtype"] == "video")

    def _cameras(self, wanted: Callable[[dict[str, Any]], bool]) -> tuple[str, ...]:
        prefix = layout.image_key("")
        return tuple(name.removeprefix(prefix) for name, f in self.features.items() if wanted(f))

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

    @property
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
        inside = np.flatnonzero(numbers == facts.index)
        if len(inside) != facts.length:
            raise DatasetError(
                f"{facts.data}: {len(inside)} rows of episode {facts.index}, {facts.length} expected"
            )
        rows = plain_columns(table.take(pa.array(inside)), self.features, facts.data)
        return require_columns(rows, ("timestamp", *layout.INDEX_FEATURES), facts.data)

    def _read_rows(self, path: Path) -> dict[str, np.ndarray]:
        """All rows of a data file, without images."""
        return plain_columns(self._data(path), self.features, path)

    def task_of(self, episode: int) -> str:
        """What was to be done in an episode (its first row decides).

        Raises:
            DatasetError: no such episode or task.
        """
        task = int(self.rows(episode)["task_index"][0])
        if not 0 <= task < len(self.tasks):
            raise DatasetError(
                f"{self.root}: task_index {task} in episode {episode}: {len(self.tasks)} tasks"
            )
        return self.tasks[task]

    def images(self, camera: str, episode: int) -> Iterator[np.ndarray]:
        """Give out the images of an episode one by one: uint8 (H, W, 3) RGB, or depth, uint16 (H, W) [mm].

        Raises:
            DatasetError: no such camera or episode, or the video lacks images.
        """
        facts = self._episode(episode)
        if camera not in (known := (*self.cameras, *self.depth_cameras)):
            raise DatasetError(f"{self.root}: camera {camera!r}: allowed are {list(known)}")
        if camera not in facts.videos:
            return self._stored_images(camera, facts, range(facts.length))
        part = facts.videos[camera]
        return decode_frames(part.path, part.start_s, facts.length, self.fps, self._coding_of(camera))

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
        """Decode images that lie in the data file as PNG or JPEG, one by one."""
        key = self.camera_feature(camera)
        try:
            of_episode = ("episode_index", "=", self._stored_number(facts))
            cells = pq.read_table(facts.data, columns=[key], filters=[of_episode])[key]
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DatasetError(f"{facts.data}: not readable: {error}") from error
        for row in rows:
            cell = cells[row].as_py() if row < len(cells) else None
            data = cell.get("bytes") if isinstance(cell, dict) else None
            try:
                yield decode_picture(data if isinstance(data, bytes) else b"")
            except ImageError as error:
                where = f"{facts.data}: row {row} of {key}, episode {facts.index}"
                raise DatasetError(f"{where}: {error}") from error

    def _stored_number(self, facts: Episode) -> int:
        """Number that an episode's rows carry in their file."""
        return facts.index

    def _episode(self, number: int) -> Episode:
        if not 0 <= number < len(self.episodes):
            raise DatasetError(f"{self.root}: episode {number}: allowed are 0 to {len(self.episodes) - 1}")
        return self.episodes[number]

    def _data(self, path: Path) -> pa.Table:
        if self._table is None or self._table[0] != path:
            images = {name for name, feature in self.features.items() if feature["dtype"] == "image"}
            self._table = (path, read_table(path, lambda column: column not in images))
        return self._table[1]

    def _read_tasks(self) -> tuple[str, ...]:
        table = read_table(self.root / layout.TASKS)
        # The text column is called `task` or, written by pandas without a name, `__index_level_0__`.
        names = [name for name in table.column_names if name != "task_index"]
        if len(names) != 1 or "task_index" not in table.column_names:
            raise DatasetError(f"{self.root / layout.TASKS}: columns {table.column_names}")
        numbers = whole_numbers(table, "task_index", self.root / layout.TASKS).tolist()
        by_index = dict(zip(numbers, table[names[0]].to_pylist(), strict=True))
        total: int = self.info.get("total_tasks", 0)
        if any(not isinstance(by_index.get(n), str) for n in range(total)):
            raise DatasetError(f"{self.root / layout.TASKS}: {len(by_index)} tasks, info.json says {total}")
        return tuple(by_index[n] for n in range(total))

    def _read_episodes(self) -> tuple[Episode, ...]:
        files = sorted((self.root / "meta/episodes").glob("*/*.parquet"))
        rows = [row for path in files for row in read_table(path, _is_needed).to_pylist()]
        if len(rows) < self.num_episodes:
            raise DatasetError(
                f"{self.root}: facts of {len(rows)} episodes, info.json says {self.num_episodes}"
            )
        episodes, first = [], 0
        for number, row in enumerate(rows[: self.num_episodes]):  # more are leftovers of a crash
            at = [row.get(name) for name in ("episode_index", "dataset_from_index", "length")]
            if at[:2] != [number, first] or type(at[2]) is not int or at[2] < 1:
                raise DatasetError(
                    f"{self.root}: place {number} holds episode {short(at[0])} from row {short(at[1])} with "
                    f"{short(at[2])} rows, expected is row {first}"
                )
            episodes.append(self._episode_from(row))
            first += row["length"]
        if first != self.num_frames:
            raise DatasetError(f"{self.root}: episodes have {first} rows, info.json says {self.num_frames}")
        return tuple(episodes)

    def _episode_from(self, row: dict[str, Any]) -> Episode:
        videos = {}
        for camera in self.video_cameras:
            key = self.camera_feature(camera)
            place = {name: row.get(f"videos/{key}/{name}") for name in ("chunk_index", "file_index")}
            start = row.get(f"videos/{key}/from_timestamp")
            if not (isinstance(start, float) and 0 <= start < 1e9):
                raise DatasetError(
                    f"{self.root}: videos/{key}/from_timestamp = {short(start)}: allowed is a time"
                )
            videos[camera] = VideoPart(
                self.root / fill(self.info, "video_path", video_key=key, **place), start
            )
        place = {name: row.get(f"data/{name}") for name in ("chunk_index", "file_index")}
        data = fill(self.info, "data_path", **place)
        tasks = row.get("tasks")
        tasks = tuple(t for t in tasks if isinstance(t, str)) if isinstance(tasks, list) else ()
        return Episode(
            row["episode_index"], row["length"], row["dataset_from_index"], tasks, self.root / data, videos
        )


def _is_needed(column: str) -> bool:
    return not column.startswith("stats/")
