"""Reads LeRobot v3.0 data sets: ours, and those of others with several episodes per file.

Older formats and foreign names: `opening.open_dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.depth import DepthCoding, coding_of, is_depth
from vla_adapter_ros.dataset.description import check_info, fill
from vla_adapter_ros.dataset.tables import (
    not_readable,
    plain_columns,
    read_json,
    read_table,
    require_columns,
    whole_numbers,
)
from vla_adapter_ros.dataset.video import decode_frames
from vla_adapter_ros.errors import DatasetError, ImageError
from vla_adapter_ros.observation.image_headers import picture_header
from vla_adapter_ros.observation.images import decode_picture
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import leaves, short

_MOST_TASKS = 1_000_000


@dataclass(frozen=True)
class VideoPart:
    """Where an episode's images of one camera lie: a file, and the time in it at which they begin [s]."""

    path: Path
    start_s: float


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        index: Its place among those that can be read, from 0.
        length: Rows.
        first_row: Counted over all episodes that can be read.
        tasks: Sentences that the data set lists for it.
        data: File with its rows.
        videos: Camera -> where its images lie, for cameras with videos.
        number: What the data set itself calls it; another one than `index` where episodes are missing.
    """

    index: int
    length: int
    first_row: int
    tasks: tuple[str, ...]
    data: Path
    videos: dict[str, VideoPart]
    number: int


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
        self.info = check_info(self.info, self.root / layout.INFO)
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.fps = float(self.info["fps"])
        self.num_episodes: int = self.info.get("total_episodes", 0)
        self.num_frames: int = self.info.get("total_frames", 0)
        self.absent: dict[str, str] = {}
        """Cameras that info.json declares but that have no files, and what is missing."""
        self.missing: tuple[int, ...] = ()
        """Numbers, as its own list has them, of the episodes whose files are not there."""
        self.missing_file: str = ""
        """The first of these files."""
        self.episodes: tuple[Episode, ...] = self._read_episodes()
        known = self._read_tasks()
        self._lists_tasks = known is not None
        said = (episode.tasks[0] for episode in self.episodes if len(episode.tasks) == 1)
        listed = known or ()
        self.tasks: tuple[str, ...] = (*listed, *dict.fromkeys(t for t in said if t not in listed))
        self._table: tuple[Path, pa.Table] | None = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, e.g. `third_view`, whether as videos or as images in the data files.

        Those of depth are not among them (see `depth_cameras`), nor are those without files (`absent`).
        """
        return self._cameras(lambda f: f["dtype"] in ("video", "image") and not is_depth(f))

    @property
    def depth_cameras(self) -> tuple[str, ...]:
        """Names of the depth cameras that can be read: those with a video of LeRobot's codes."""
        return self._cameras(lambda f: coding_of(f) is not None)

    @property
    def video_cameras(self) -> tuple[str, ...]:
        """Names of the cameras with a video, of colors or depth, that is there."""
        return self._cameras(lambda f: f["dtype"] == "video")

    def require_cameras(self, cameras: Collection[str]) -> None:
        """Say that only these cameras will be asked for.

        Raises:
            DatasetError: one of them has no files.
        """
        for camera in cameras:
            if camera in self.absent:
                raise DatasetError(f"{self.root}: camera {camera}: {self.absent[camera]}")

    def _cameras(self, wanted: Callable[[dict[str, Any]], bool]) -> tuple[str, ...]:
        prefix = layout.image_key("")
        names = (name.removeprefix(prefix) for name, f in self.features.items() if wanted(f))
        return tuple(name for name in names if name not in self.absent)

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
        """What was to be done in an episode: its first row's sentence. Errors as in `row_tasks`."""
        return self.row_tasks(episode)[0]

    def row_tasks(self, episode: int) -> list[str]:
        """What was to be done in each row of an episode, T sentences.

        Raises:
            DatasetError: no such episode or task.
        """
        return sentences(self.tasks, self.rows(episode)["task_index"], f"{self.root}: episode {episode}")

    def _task_numbers(self, rows: dict[str, np.ndarray], facts: Episode) -> np.ndarray:
        """Place in `tasks` of each row; where rows or tasks do not say it, the episode's one sentence."""
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
        """Decode images that lie in the data file as PNG or JPEG, or in files that it names, one by one."""
        key = self.camera_feature(camera)
        try:
            cells = pq.read_table(facts.data, columns=[key], filters=self._filter_of(facts))[key]
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise DatasetError(not_readable(facts.data, error)) from error
        for row in rows:
            data = self._picture(cells[row].as_py() if row < len(cells) else None)
            try:
                header = picture_header(data)
                if header.gray and header.bits > 8:
                    what = f"gray {header.kind} of {header.bits} bits"
                    raise ImageError(f"{what} is depth, not color")
                yield decode_picture(data)
            except ImageError as error:
                where = f"{facts.data}: row {row} of {key}, episode {facts.number}"
                raise DatasetError(f"{where}: {error}") from error

    def _picture(self, cell: Any) -> bytes:
        """The picture of a cell: its own bytes, or those of a file of the data set; else empty."""
        data, name = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if isinstance(data, bytes):
            return data
        path = self.root / name if isinstance(name, str) else None
        if path is None or leaves(path, self.root):
            return b""
        try:
            return path.read_bytes()
        except (OSError, ValueError):
            return b""

    def _filter_of(self, facts: Episode) -> list[tuple[str, str, int]] | None:
        """Which rows of its data file are those of an episode; None: all."""
        return [("episode_index", "=", facts.number)]

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
        """Sentences by their number; None where there is no table of them."""
        path = self.root / layout.TASKS
        if not path.exists():
            return None
        table = read_table(path)
        # The text column is called `task` or, written by pandas without a name, `__index_level_0__`.
        names = [name for name in table.column_names if name != "task_index"]
        if len(names) != 1 or "task_index" not in table.column_names:
            raise DatasetError(
                f"{path}: columns {table.column_names}: allowed are task_index and one of texts"
            )
        numbers = whole_numbers(table, "task_index", path).tolist()
        tasks = in_their_places(numbers, table[names[0]].to_pylist(), path)
        total = self.info.get("total_tasks", len(tasks))
        if len(tasks) < total:
            raise DatasetError(f"{path}: {len(tasks)} tasks, info.json says {total}")
        return tasks[:total]

    def _read_episodes(self) -> tuple[Episode, ...]:
        facts = self._episode_facts()
        if len(facts) < self.num_episodes:
            raise DatasetError(
                f"{self.root}: meta/episodes describes {len(facts)} episodes, info.json says "
                f"{self.num_episodes}: the program that recorded it did not finish, or files were not copied"
            )
        episodes = self._checked(facts[: self.num_episodes])  # more are leftovers of a crash
        count = sum(episode.length for episode in episodes)
        if count != self.num_frames:
            raise DatasetError(f"{self.root}: episodes have {count} rows, info.json says {self.num_frames}")
        self._note_absent(episodes)
        return tuple(episodes)

    def _episode_facts(self) -> list[dict[str, Any]]:
        """What meta/episodes says of each episode, in order, without statistics."""
        files = sorted((self.root / "meta/episodes").glob("*/*.parquet"))
        rows = (row for path in files for row in read_table(path, _is_needed).to_pylist())
        return [{name: _whole_fact(name, value) for name, value in row.items()} for row in rows]

    def _checked(self, facts: list[dict[str, Any]]) -> list[Episode]:
        """Episodes by what the tables say of them, which must follow each other without gaps."""
        episodes, first = [], 0
        for number, row in enumerate(facts):
            at = [row.get(name) for name in ("episode_index", "dataset_from_index", "length")]
            if at[:2] != [number, first] or type(at[2]) is not int or at[2] < 1:
                raise DatasetError(
                    f"{self.root}: place {number} holds episode {short(at[0])} from row {short(at[1])} with "
                    f"{short(at[2])} rows, expected is row {first}"
                )
            episodes.append(self._episode_from(row))
            first += row["length"]
        return episodes

    def _note_absent(self, episodes: list[Episode]) -> None:
        """Find cameras without any file."""
        for camera in self.video_cameras if episodes else ():
            paths = list(dict.fromkeys(e.videos[camera].path for e in episodes if camera in e.videos))
            if not any(path.exists() for path in paths):
                key = self.camera_feature(camera)
                lacks = f"no columns videos/{key}/... in meta/episodes"
                self.absent[camera] = missing_files(paths, "video_path") if paths else lacks

    def _episode_from(self, row: dict[str, Any]) -> Episode:
        info = self.root / layout.INFO
        number = {"episode_index": row["episode_index"]}
        videos = {}
        for camera in self.video_cameras:
            key = self.camera_feature(camera)
            place = {name: row.get(f"videos/{key}/{name}") for name in ("chunk_index", "file_index")}
            start = row.get(f"videos/{key}/from_timestamp")
            if start is None and set(place.values()) == {None}:
                continue
            if not (isinstance(start, float) and 0 <= start < 1e9):
                raise DatasetError(
                    f"{self.root}: videos/{key}/from_timestamp = {short(start)}: allowed is a time"
                )
            path = fill(self.info, "video_path", info, video_key=key, **number, **place)
            videos[camera] = VideoPart(self.root / path, start)
        place = {name: row.get(f"data/{name}") for name in ("chunk_index", "file_index")}
        for name, value in place.items():
            if value is None and f"{{{name}" in self.info["data_path"]:
                has = [column for column in row if column.startswith("data") and "index" in column]
                raise DatasetError(
                    f"{self.root}/meta/episodes: data/{name} of episode {row['episode_index']} is missing, "
                    f"which data_path of {layout.INFO} needs: allowed is a whole number; it has {has}"
                )
        data = fill(self.info, "data_path", info, **number, **place)
        tasks = row.get("tasks")
        tasks = tuple(t for t in tasks if isinstance(t, str)) if isinstance(tasks, list) else ()
        index = row["episode_index"]
        return Episode(
            index, row["length"], row["dataset_from_index"], tasks, self.root / data, videos, index
        )


def sentences(tasks: Sequence[str], numbers: np.ndarray, where: str) -> list[str]:
    """Sentences of rows by their numbers (T,).

    Raises:
        DatasetError: a number that no task has; `where` begins the message.
    """
    wrong = sorted({int(n) for n in np.unique(numbers)} - set(range(len(tasks))))
    if wrong:
        raise DatasetError(f"{where}: task_index {wrong[0]}: there are {len(tasks)} tasks")
    return [tasks[int(n)] for n in numbers]


def in_their_places(numbers: Sequence[int], texts: Sequence[Any], path: Path) -> tuple[str, ...]:
    """Texts by their numbers; a number that is not used has an empty one.

    Raises:
        DatasetError: a number twice or out of range, or no text.
    """
    for number, text in zip(numbers, texts, strict=True):
        if not 0 <= number < _MOST_TASKS or not isinstance(text, str):
            raise DatasetError(
                f"{path}: task {short(number)} = {short(text)}: allowed are texts with numbers from 0 on"
            )
    if len(set(numbers)) != len(numbers):
        raise DatasetError(f"{path}: task_index {short(sorted(numbers))}: allowed is each number once")
    found = dict(zip(numbers, texts, strict=True))
    return tuple(found.get(number, "") for number in range(max(found, default=-1) + 1))


def _whole_fact(name: str, value: Any) -> Any:
    """A whole number that is stored as a double, as some programs do, as an int; all else as it is."""
    real = not isinstance(value, float) or not value.is_integer() or name.endswith("timestamp")
    return value if real else int(value)


def missing_files(paths: Sequence[Path], template: str = "data_path") -> str:
    """Files that are not there, at least one, in words; they have their names from a template."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"no file {paths[0]}{more}, as {template} of {layout.INFO} names them"


def _is_needed(column: str) -> bool:
    return not column.startswith("stats/")
