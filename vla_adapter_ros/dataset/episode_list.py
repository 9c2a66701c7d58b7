"""What the tables of a LeRobot v3.0 data set say of its episodes: how long they are, and where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.info_json import fill
from vla_adapter_ros.dataset.tables import read_table
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import short


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
        tasks: Instructions that the data set lists for it.
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


@dataclass(frozen=True)
class EpisodeList:
    """The episodes of a data set that can be read, and what cannot.

    Attributes:
        episodes: In their order.
        absent: Cameras that info.json declares but that have no files -> what is missing, in words.
        missing: Numbers, as the data set's own list has them, of the episodes whose files are not there.
        missing_file: The first of these files.
    """

    episodes: tuple[Episode, ...]
    absent: dict[str, str] = field(default_factory=dict)
    missing: tuple[int, ...] = ()
    missing_file: str = ""

    @cached_property
    def num_frames(self) -> int:
        """Rows of all episodes."""
        return sum(episode.length for episode in self.episodes)


def read_facts(root: Path) -> list[dict[str, Any]]:
    """What meta/episodes says of each episode, in order, without statistics.

    Raises:
        DatasetError: a table cannot be read.
    """
    paths = sorted((root / "meta/episodes").glob("*/*.parquet"))
    rows = (row for path in paths for row in read_table(path, _is_needed).to_pylist())
    return [{name: _whole_fact(name, value) for name, value in row.items()} for row in rows]


def episodes_of(
    facts: Sequence[Mapping[str, Any]], root: Path, info: Mapping[str, Any], cameras: Mapping[str, str]
) -> list[Episode]:
    """Episodes by what the tables say of them, which must follow each other without gaps.

    Args:
        facts: From `read_facts`.
        root: Folder of the data set.
        info: Its checked info.json.
        cameras: Those with videos -> their features.

    Raises:
        DatasetError: one is out of place, or nothing says where it lies.
    """
    episodes: list[Episode] = []
    first = 0
    for number, row in enumerate(facts):
        index, begin, length = (row.get(name) for name in ("episode_index", "dataset_from_index", "length"))
        if (index, begin) != (number, first) or type(length) is not int or length < 1:
            raise DatasetError(
                f"{root}: place {number} holds episode {short(index)} from row {short(begin)} with "
                f"{short(length)} rows, expected is row {first}"
            )
        videos = _video_parts(row, root, info, cameras)
        data = root / _data_file(row, root, info)
        tasks = row.get("tasks")
        texts = tuple(t for t in tasks if isinstance(t, str)) if isinstance(tasks, list) else ()
        episodes.append(Episode(number, length, first, texts, data, videos, number))
        first += length
    return episodes


def absent_cameras(episodes: Iterable[Episode], cameras: Mapping[str, str]) -> dict[str, str]:
    """Cameras, of those with videos -> their features, without any file -> what is missing, in words."""
    episodes, absent = list(episodes), {}
    for camera, key in cameras.items() if episodes else ():
        paths = list(dict.fromkeys(e.videos[camera].path for e in episodes if camera in e.videos))
        if not any(path.exists() for path in paths):
            lacks = f"no columns videos/{key}/... in meta/episodes"
            absent[camera] = missing_files(paths, "video_path") if paths else lacks
    return absent


def missing_files(paths: Sequence[Path], template: str = "data_path") -> str:
    """Files that are not there, at least one, in words; they have their names from a template."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"no file {paths[0]}{more}, as {template} of {layout.INFO} names them"


def _video_parts(
    row: Mapping[str, Any], root: Path, info: Mapping[str, Any], cameras: Mapping[str, str]
) -> dict[str, VideoPart]:
    videos = {}
    for camera, key in cameras.items():
        place = {name: row.get(f"videos/{key}/{name}") for name in ("chunk_index", "file_index")}
        start = row.get(f"videos/{key}/from_timestamp")
        if start is None and set(place.values()) == {None}:
            continue
        if not (isinstance(start, float) and 0 <= start < 1e9):
            raise DatasetError(f"{root}: videos/{key}/from_timestamp = {short(start)}: allowed is a time")
        numbers = {"episode_index": row["episode_index"], **place}
        videos[camera] = VideoPart(root / fill(info, "video_path", root / layout.INFO, numbers, key), start)
    return videos


def _data_file(row: Mapping[str, Any], root: Path, info: Mapping[str, Any]) -> str:
    place = {name: row.get(f"data/{name}") for name in ("chunk_index", "file_index")}
    for name, value in place.items():
        if value is None and f"{{{name}" in info["data_path"]:
            has = [column for column in row if column.startswith("data") and "index" in column]
            raise DatasetError(
                f"{root}/meta/episodes: data/{name} of episode {row['episode_index']} is missing, "
                f"which data_path of {layout.INFO} needs: allowed is a whole number; it has {has}"
            )
    return fill(info, "data_path", root / layout.INFO, {"episode_index": row["episode_index"], **place})


def _whole_fact(name: str, value: Any) -> Any:
    """A whole number that is stored as a double, as some programs do, as an int; all else as it is."""
    real = not isinstance(value, float) or not value.is_integer() or name.endswith("timestamp")
    return value if real else int(value)


def _is_needed(column: str) -> bool:
    return not column.startswith("stats/")
