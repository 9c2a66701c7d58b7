"""Reads LeRobot v3.0 data sets: ours, and those of others with several episodes per file.

Older formats and foreign names: `opening.open_dataset`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.recording import layout
from vla_adapter_ros.recording.video import decode_frames


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
        self.root = Path(root)
        self.info: dict[str, Any] = read_json(self.root / layout.INFO)
        version = self.info.get("codebase_version")
        if version not in versions:
            raise DatasetError(
                f"{self.root}: format {version!r}, allowed is {' or '.join(map(repr, versions))}"
            )
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.fps = float(self.info["fps"])
        self.num_episodes = int(self.info["total_episodes"])
        self.num_frames = int(self.info["total_frames"])
        self.tasks: tuple[str, ...] = self._read_tasks()
        self.episodes: tuple[Episode, ...] = self._read_episodes()
        self._table: tuple[Path, pa.Table] | None = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, e.g. `third_view`, whether as videos or as images in the data files."""
        return self._cameras("video", "image")

    @property
    def video_cameras(self) -> tuple[str, ...]:
        """Names of the cameras with a video."""
        return self._cameras("video")

    def _cameras(self, *kinds: str) -> tuple[str, ...]:
        prefix = layout.image_key("")
        return tuple(name.removeprefix(prefix) for name, f in self.features.items() if f["dtype"] in kinds)

    def camera_feature(self, camera: str) -> str:
        """Feature of a camera; of some data sets by others, the name of the camera itself."""
        key = layout.image_key(camera)
        return key if key in self.features else camera

    @property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Statistics as stored, feature -> name -> nested lists."""
        return read_json(self.root / layout.STATS)

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
        inside = np.flatnonzero(table["episode_index"].to_numpy() == facts.index)
        if len(inside) != facts.length:
            raise DatasetError(
                f"{facts.data}: {len(inside)} rows of episode {facts.index}, {facts.length} expected"
            )
        part = table.take(pa.array(inside))
        return {name: _column(part[name]) for name in part.column_names if _is_plain(part[name].type)}

    def _read_rows(self, path: Path) -> dict[str, np.ndarray]:
        """All rows of a data file, without images."""
        table = self._data(path)
        return {name: _column(table[name]) for name in table.column_names if _is_plain(table[name].type)}

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
        """Give out the images of an episode one by one, uint8 (H, W, 3) RGB.

        Raises:
            DatasetError: no such camera or episode, or the video lacks images.
        """
        facts = self._episode(episode)
        if camera not in self.cameras:
            raise DatasetError(f"{self.root}: camera {camera!r}: allowed are {list(self.cameras)}")
        if camera not in facts.videos:
            return self._stored_images(camera, facts, range(facts.length))
        part = facts.videos[camera]
        return decode_frames(part.path, part.start_s, facts.length, self.fps)

    def image(self, camera: str, episode: int, row: int) -> np.ndarray:
        """Decode one image of an episode: uint8 (H, W, 3) RGB. Errors as in `images`."""
        facts = self._episode(episode)
        if camera not in self.cameras or not 0 <= row < facts.length:
            raise DatasetError(f"{self.root}: no image {row} of camera {camera!r} in episode {episode}")
        if camera not in facts.videos:
            return next(self._stored_images(camera, facts, range(row, row + 1)))
        part = facts.videos[camera]
        return next(decode_frames(part.path, part.start_s + row / self.fps, 1, self.fps))

    def decode(self, camera: str, episode: int) -> np.ndarray:
        """Decode the images of an episode: uint8 (T, H, W, 3) RGB. Errors as in `images`."""
        return np.stack(list(self.images(camera, episode)))

    def _stored_images(self, camera: str, facts: Episode, rows: range) -> Iterator[np.ndarray]:
        """Decode images that lie in the data file as PNG or JPEG, one by one."""
        key = self.camera_feature(camera)
        try:
            of_episode = ("episode_index", "=", self._stored_number(facts))
            cells = pq.read_table(facts.data, columns=[key], filters=[of_episode])[key]
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{facts.data}: not readable: {error}") from error
        for row in rows:
            data = cells[row].as_py()["bytes"] if row < len(cells) else None
            image = cv2.imdecode(np.frombuffer(data or b"\0", np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                raise DatasetError(f"{facts.data}: no image in row {row} of {key}, episode {facts.index}")
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

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
        by_index = dict(zip(table["task_index"].to_pylist(), table[names[0]].to_pylist(), strict=True))
        total = int(self.info["total_tasks"])
        if any(n not in by_index for n in range(total)):
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
            if row["episode_index"] != number or row["dataset_from_index"] != first:
                raise DatasetError(
                    f"{self.root}: place {number} holds episode {row['episode_index']} from row "
                    f"{row['dataset_from_index']}, expected is row {first}"
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
            path = self.info["video_path"].format(
                video_key=key,
                chunk_index=row[f"videos/{key}/chunk_index"],
                file_index=row[f"videos/{key}/file_index"],
            )
            videos[camera] = VideoPart(self.root / path, float(row[f"videos/{key}/from_timestamp"]))
        data = self.info["data_path"].format(
            chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
        )
        tasks = tuple(row.get("tasks") or ())
        return Episode(
            row["episode_index"], row["length"], row["dataset_from_index"], tasks, self.root / data, videos
        )


def _is_needed(column: str) -> bool:
    return not column.startswith("stats/")


def read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; expected is a LeRobot data set") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: not readable: {error}") from error


def read_table(path: Path, needed: Callable[[str], bool] | None = None) -> pa.Table:
    """Read a parquet file, or those of its columns that `needed` says yes to.

    Raises:
        DatasetError: it is not there, or damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            return file.read(columns=[name for name in names if needed is None or needed(name)])
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: not readable: {error}") from error


def _is_plain(kind: pa.DataType) -> bool:
    """Whether a column holds numbers or texts, or lists of one length of them (no language events, say)."""
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.types.is_primitive(kind.value_type)
    return pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _column(column: pa.ChunkedArray) -> np.ndarray:
    """Column as an array: (T,), or (T, D) for lists of one length."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        flat = pa.concat_arrays([chunk.flatten() for chunk in column.chunks]).to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), -1)
    return column.to_numpy()
