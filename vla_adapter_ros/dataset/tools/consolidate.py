"""Writes a data set anew with several episodes in each file, as LeRobot's own tools write them.

Rows, images and statistics stay bit for bit; only where they lie changes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import files
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.card import write_card
from vla_adapter_ros.dataset.episode_list import Episode
from vla_adapter_ros.dataset.folder import keep_recorders_out
from vla_adapter_ros.dataset.joining import TableJoiner, VideoJoiner
from vla_adapter_ros.dataset.journal import JOURNAL
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tables import read_table, whole_numbers
from vla_adapter_ros.dataset.tools.new_folder import new_folder
from vla_adapter_ros.dataset.video import decode_frames
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import is_finite, leaves

_WRITTEN_ANEW = (layout.INFO, JOURNAL)
_JOINED = ("data", "videos", "meta/episodes")
_LOADED = (".parquet", ".mp4", files.TEMPORARY)  # in these folders; anything else there is somebody's note


@dataclass(frozen=True)
class Consolidated:
    """What a consolidation wrote.

    Attributes:
        root: The new data set.
        episodes: Number of its episodes.
        data_files, video_files: Numbers of its files.
        before: Numbers of data files and videos that the old one had.
    """

    root: Path
    episodes: int
    data_files: int
    video_files: int
    before: tuple[int, int]

    @property
    def line(self) -> str:
        """For people."""
        data, videos = self.before
        return (
            f"{self.root}: {self.episodes} episodes in {self.data_files} data files and {self.video_files} "
            f"videos, before in {data} and {videos}"
        )


def consolidate(root: str | Path, output: str | Path) -> Consolidated:
    """Write a LeRobot v3.0 data set into a new folder with several episodes in each file.

    Data files grow to `data_files_size_in_mb` of info.json, videos to `video_files_size_in_mb` or to 1000 s;
    the facts of all episodes come into one file. Videos are joined as they are encoded; the first and the
    last image of each episode are decoded from both data sets and compared. The new folder appears when it is
    complete.

    Args:
        root: Recorded here or by others; nothing in it is changed.
        output: New folder.

    Raises:
        DatasetError: no such data set, it is being recorded, damaged, or the output is not new.
    """
    reader, output = DatasetReader(root), locate(output)
    target = Path(os.path.realpath(output))
    if reader.root.resolve() in (target, *target.parents):
        raise DatasetError(f"output {output} lies in {reader.root}: allowed is another folder")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise DatasetError(f"output {output} exists: allowed is a new folder")
    with keep_recorders_out(reader.root), new_folder(output) as partial:
        result = _write(reader, partial)
        partial.rename(output)
    return Consolidated(output, *result)


def consolidate_in_place(root: str | Path) -> Consolidated:
    """As `consolidate`, but the new data set takes the place of the old one, which is removed then.

    They change places in one step, so that a crash at any moment leaves the one or the other.

    Raises:
        DatasetError: as `consolidate`, or the folder cannot be exchanged; the old data set stays.
    """
    reader = DatasetReader(Path(os.path.realpath(locate(root))))
    with keep_recorders_out(reader.root), new_folder(reader.root, replaces=True) as partial:
        result = _write(reader, partial)
        try:
            files.exchange(partial, reader.root)
        except OSError as error:
            raise DatasetError(f"{reader.root} cannot be replaced: {error.strerror}") from error
    return Consolidated(reader.root, *result)


def has_file_per_episode(reader: DatasetReader) -> bool:
    """Whether every episode has a data file of its own, as while it is recorded."""
    return reader.num_episodes > 1 and len({e.data for e in reader.episodes}) == reader.num_episodes


def _write(reader: DatasetReader, output: Path) -> tuple[int, int, int, tuple[int, int]]:
    """Write all of a data set into an empty folder; returns the numbers of `Consolidated`."""
    if not reader.num_episodes:
        raise DatasetError(f"{reader.root}: no episodes: allowed is a data set with at least one")
    info = reader.info
    cameras = {camera: reader.camera_feature(camera) for camera in reader.video_cameras}
    largest = _megabytes(info, "video_files_size_in_mb", 200)
    tables = TableJoiner(output, _megabytes(info, "data_files_size_in_mb", 100))
    videos = {c: VideoJoiner(output, key, reader.fps, largest) for c, key in cameras.items()}
    for part in (*(path for e in reader.episodes for path in _paths(e)), *(reader.root / "meta").rglob("*")):
        if leaves(part, reader.root):
            raise DatasetError(f"{part} is a link out of the data set: links are not followed")
    facts, places, newest = _episode_facts(reader), [], (Path(), pa.table({}))
    try:
        for episode in reader.episodes:
            if newest[0] != episode.data:
                newest = (episode.data, read_table(episode.data))
            number = tables.add_rows(_rows_of(episode, newest[1]))
            places.append(_place_episode(reader, episode, number, videos))
        tables.close()
        for joiner in videos.values():
            joiner.close()
    finally:
        for joiner in videos.values():
            joiner.cancel()
    table = _with_places(facts, places)
    files.write_file(layout.episode_file(output, 0), lambda path: pq.write_table(table, path))
    _copy_the_rest(reader.root, output)
    paths = {"data_path": layout.DATA_PATH, "video_path": layout.VIDEO_PATH if videos else None}
    files.write_json(output / layout.INFO, info | paths | {"chunks_size": layout.FILES_PER_CHUNK})
    write_card(output)
    _compare(reader, DatasetReader(output))
    before = (
        len({e.data for e in reader.episodes}),
        len({part.path for e in reader.episodes for part in e.videos.values()}),
    )
    return reader.num_episodes, tables.files, sum(joiner.files for joiner in videos.values()), before


def _paths(episode: Episode) -> Iterator[Path]:
    yield episode.data
    yield from (part.path for part in episode.videos.values())


def _megabytes(info: dict[str, Any], key: str, usual: float) -> float:
    value = info.get(key)
    return 1e6 * (float(value) if value is not None and is_finite(value) and value > 0 else usual)


def _place_episode(
    reader: DatasetReader, episode: Episode, number: int, videos: dict[str, VideoJoiner]
) -> dict[str, Any]:
    """Join an episode's videos; returns what meta/episodes says of its place, its rows being in `number`."""
    row: dict[str, Any] = {f"data/{name}": value for name, value in layout.locate(number).items()}
    for camera, joiner in videos.items():
        key, part = reader.camera_feature(camera), episode.videos[camera]
        number, before = joiner.place_video(part.path)
        first = part.start_s * reader.fps
        first = before + (round(first) if abs(first - round(first)) < 0.01 else first)
        row |= {f"videos/{key}/{name}": value for name, value in layout.locate(number).items()}
        row[f"videos/{key}/from_timestamp"] = first / reader.fps
        row[f"videos/{key}/to_timestamp"] = (first + episode.length) / reader.fps
    return row | {f"meta/episodes/{name}": value for name, value in layout.locate(0).items()}


def _rows_of(episode: Episode, table: pa.Table) -> pa.Table:
    """An episode's part of a data file, all its columns as they are stored."""
    inside = np.flatnonzero(whole_numbers(table, "episode_index", episode.data) == episode.index)
    if len(inside) != episode.length:
        raise DatasetError(
            f"{episode.data}: {len(inside)} rows of episode {episode.index}, {episode.length} expected"
        )
    return table.take(pa.array(inside))


def _episode_facts(reader: DatasetReader) -> pa.Table:
    """All that meta/episodes says of the episodes that count, statistics included."""
    paths = sorted((reader.root / "meta/episodes").glob("*/*.parquet"))
    try:
        table = pa.concat_tables([read_table(path) for path in paths], promote_options="permissive")
    except pa.ArrowException as error:
        raise DatasetError(
            f"{reader.root}/meta/episodes: the files do not fit each other: {error}"
        ) from error
    return table.slice(0, reader.num_episodes)


def _with_places(facts: pa.Table, places: list[dict[str, Any]]) -> pa.Table:
    for name in places[0]:
        values = [place[name] for place in places]
        column = pa.array(values, pa.float64() if name.endswith("_timestamp") else pa.int64())
        at = facts.column_names.index(name) if name in facts.column_names else None
        facts = facts.append_column(name, column) if at is None else facts.set_column(at, name, column)
    return facts


def _copy_the_rest(root: Path, output: Path) -> None:
    """Everything else: statistics, tasks, contract, notes, license, whatever people have added."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        joined = any(name == part or name.startswith(part + "/") for part in _JOINED)
        if path.is_dir() or name in _WRITTEN_ANEW or name.endswith(files.TEMPORARY):
            continue
        if (joined and name.endswith(_LOADED)) or leaves(path, root):
            continue
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, output / name)


def _compare(old: DatasetReader, new: DatasetReader) -> None:
    """Decode the first and the last image of every episode from both data sets.

    Raises:
        DatasetError: one differs.
    """
    for episode in old.episodes:
        for camera, part in episode.videos.items():
            other = new.episodes[episode.index].videos[camera]
            for place in dict.fromkeys((0, episode.length - 1)):
                before, after = (
                    next(decode_frames(p.path, p.start_s + place / old.fps, 1, old.fps))
                    for p in (part, other)
                )
                if not np.array_equal(before, after):
                    raise DatasetError(
                        f"{part.path}: image {place} of episode {episode.index} is another after joining"
                    )
