"""Writes into a data set on disk how an episode ended: its notes, and LeRobot's column `next.success`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import files
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import column_statistics
from vla_adapter_ros.dataset.folder import WrittenFolder
from vla_adapter_ros.dataset.journal import TABLE_TEMPORARIES, Journal
from vla_adapter_ros.dataset.opening import find_episodes, open_dataset
from vla_adapter_ros.dataset.outcome import SUCCESS, Label, success_rows, without_label
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.resume import read_recordings
from vla_adapter_ros.dataset.tables import read_json, read_table
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.paths import locate

_STATISTIC = f"stats/{SUCCESS}/"


def label_episodes(root: str | Path, numbers: list[int], label: Label) -> None:
    """Write into episodes of a data set how they ended.

    Args:
        root: Folder of a LeRobot v3.0 data set, ours or another's; nobody records into it meanwhile.
        numbers: What the data set itself calls the episodes.
        label: What is said of each.

    Raises:
        DatasetError: another format, no such episode, or the data set is being recorded into.
    """
    root = locate(root)
    dataset = open_dataset(root)
    if (version := dataset.info.get("codebase_version")) != layout.VERSION:
        raise DatasetError(
            f"{root}: format {version!r}: episodes are labeled in {layout.VERSION} alone; "
            "`vla-adapter dataset import-lerobot` makes one"
        )
    find_episodes(dataset, numbers)
    folder = WrittenFolder(root)
    try:
        journal = Journal(root) if dataset.contract is not None else None
        for number in numbers:
            write_label(root, number, label, journal)
    except OSError as error:
        raise DatasetError(f"{root} cannot be written: {error}") from None
    finally:
        folder.close()


def write_label(root: Path, number: int, label: Label, journal: Journal | None) -> dict[str, Any]:
    """Write into one episode how it ended; every file is replaced as a whole, the notes last.

    A crash leaves files that can be read; to label the episode once more brings them together.

    Args:
        root: Folder of a LeRobot v3.0 data set.
        number: What the data set itself calls the episode.
        label: What is said of it.
        journal: Lists temporary files for whoever goes on recording; None: nobody does.

    Returns:
        What meta/recordings.json says of the episode now.

    Raises:
        DatasetError: no such episode, or a file cannot be read.
        OSError: a file cannot be written.
    """
    if (root / layout.RECORDINGS).exists():
        read_json(root / layout.RECORDINGS)  # notes that cannot be read must not be written over
    dataset = open_dataset(root)
    assert isinstance(dataset, DatasetReader), "no contract and no mapping was given"
    facts = dataset.episodes[find_episodes(dataset, [number])[0]]
    noted = max(number, *(episode.number for episode in dataset.episodes))
    recordings = read_recordings(root, noted + 1)
    entry = recordings[number] = without_label(recordings[number]) | label.as_json()
    places = [] if SUCCESS not in dataset.features else [facts.data, _facts_file(root, number)]
    listed = [files.temporary_path(path).relative_to(root).as_posix() for path in places]
    listed += TABLE_TEMPORARIES
    if journal is not None:
        journal.list_files(listed)
    if places:
        column = success_rows(facts.length, label.outcome)
        _write_rows(places[0], number, column)
        _write_facts(places[1], number, column)
        _write_statistics(root, dataset.num_frames)
    files.write_json(root / layout.RECORDINGS, {"episodes": recordings})
    if journal is not None:
        journal.unlist_files(listed)
    return entry


def _write_rows(path: Path, number: int, column: np.ndarray) -> None:
    """Replace `next.success` of an episode (T,) in its data file, whose row groups stay as they are."""

    def write(target: Path) -> None:
        left = column
        with pq.ParquetFile(path) as stored, pq.ParquetWriter(target, stored.schema_arrow) as writer:
            for group in range(stored.num_row_groups):
                table = stored.read_row_group(group)
                inside = table["episode_index"].to_numpy() == number
                values = table[SUCCESS].to_numpy().copy()
                count = int(inside.sum())
                values[inside], left = left[:count], left[count:]
                at = table.column_names.index(SUCCESS)
                field = table.schema.field(at)
                writer.write_table(table.set_column(at, field, pa.array(values, field.type)))

    files.write_file(path, write)


def _facts_file(root: Path, number: int) -> Path:
    """The file of meta/episodes that has the row of an episode."""
    for path in sorted((root / "meta/episodes").glob("*/*.parquet")):
        if number in read_table(path, lambda name: name == "episode_index")["episode_index"].to_pylist():
            return path
    raise DatasetError(f"{root}: meta/episodes has no episode {number}")


def _write_facts(path: Path, number: int, column: np.ndarray) -> None:
    """Replace the statistics of `next.success` in the row of an episode."""
    table = read_table(path)
    row = table["episode_index"].to_pylist().index(number)
    for name, value in column_statistics(column).items():
        at = table.schema.get_field_index(_STATISTIC + name)
        if at < 0:
            continue
        field = table.schema.field(at)
        values = table[field.name].to_pylist()
        values[row] = value
        table = table.set_column(at, field, pa.array(values, field.type))
    files.write_file(path, lambda target: pq.write_table(table, target))


def _write_statistics(root: Path, frames: int) -> None:
    """Replace the statistics of `next.success` over all rows: they follow from the number of true ones."""
    true = 0
    for path in sorted((root / "meta/episodes").glob("*/*.parquet")):
        table = read_table(path, lambda name: name in ("length", f"{_STATISTIC}mean"))
        if f"{_STATISTIC}mean" in table.column_names:
            rows = zip(table["length"].to_pylist(), table[f"{_STATISTIC}mean"].to_pylist(), strict=True)
            true += sum(round(length * mean[0]) for length, mean in rows if mean)
    stored = read_json(root / layout.STATS)
    stored[SUCCESS] = column_statistics(np.arange(frames) >= frames - true)
    files.write_json(root / layout.STATS, stored)
