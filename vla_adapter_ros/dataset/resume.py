"""Goes on with a data set that is there: checks that it is whole, and clears what a crash left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import files
from vla_adapter_ros.contract import Contract, read_contract, require_same
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import column_statistics, histogram_statistics, image_histogram
from vla_adapter_ros.dataset.depth import CODES
from vla_adapter_ros.dataset.folder import WrittenFolder
from vla_adapter_ros.dataset.journal import Journal, number_of
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.video import count_frames
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import read_json


@dataclass(frozen=True)
class Totals:
    """What a data set holds so far.

    Attributes:
        episodes, frames: Their numbers.
        tasks: Task texts in the order of their task_index.
        next_file: Number of the files that the next episode goes into.
        columns: Feature -> one array per episode. Kept in memory (about 250 bytes a row), since exact
            quantiles need all values.
        histograms: Camera -> counts over all images, as of `image_histogram`.
    """

    episodes: int = 0
    frames: int = 0
    tasks: list[str] = field(default_factory=list)
    next_file: int = 0
    columns: dict[str, list[np.ndarray]] = field(default_factory=dict)
    histograms: dict[str, np.ndarray] = field(default_factory=dict)

    def plus(
        self, columns: Mapping[str, np.ndarray], histograms: Mapping[str, np.ndarray], tasks: list[str]
    ) -> Totals:
        """The totals with one episode more."""
        return Totals(
            self.episodes + 1,
            self.frames + len(columns["index"]),
            tasks,
            self.next_file + 1,
            {name: [*self.columns.get(name, []), column] for name, column in columns.items()},
            {name: self.histograms.get(name, 0) + counts for name, counts in histograms.items()},
        )

    def statistics(self) -> dict[str, dict[str, list[Any]]]:
        """Content of stats.json."""
        statistics = {name: column_statistics(np.concatenate(parts)) for name, parts in self.columns.items()}
        for name, histogram in self.histograms.items():
            statistics[layout.image_key(name)] = histogram_statistics(histogram, self.frames)
        return statistics

    def histograms_as_json(self) -> dict[str, Any]:
        """Content of our own file of image histograms."""
        return {
            "total_episodes": self.episodes,
            "histograms": {name: counts.tolist() for name, counts in self.histograms.items()},
        }


def resume(
    root: Path,
    contract: Contract,
    features: layout.Features,
    folder: WrittenFolder,
    journal: Journal,
) -> Totals:
    """Read and check what the folder holds; nothing at all is fine too.

    Every saved episode must have its rows and, per camera, as many images.
    Files that the journal lists as unfinished are removed, and nothing else.

    Raises:
        ContractMismatch: recorded with another contract.
        DatasetError: damaged, without a contract, with other features, or with files of unknown origin.
    """
    if not (root / layout.INFO).is_file():
        folder.require_known(journal.names, 0)
        if (root / layout.CONTRACT).is_file():
            require_same(contract, read_contract(root / layout.CONTRACT), f"data set {root}", recorded=True)
        journal.remove_files(0)
        return Totals()
    reader = DatasetReader(root)
    stored = reader.contract
    if stored is None:
        raise DatasetError(f"{root}: no {layout.CONTRACT}; only data sets recorded here can be continued")
    require_same(contract, stored, f"data set {root}", recorded=True)
    _require_same_features(root, features, reader.features)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in layout.numeric_features(features)}
    _check_files(reader)
    for episode in reader.episodes:
        rows = reader.rows(episode.index)
        for name, parts in columns.items():
            parts.append(rows[name])
    next_file = _next_file(reader)
    folder.require_known(journal.names, next_file)
    journal.remove_files(next_file)
    totals = Totals(
        reader.num_episodes, reader.num_frames, list(reader.tasks), next_file, columns, _histograms(reader)
    )
    _align_tables(reader, totals)
    return totals


def _align_tables(reader: DatasetReader, totals: Totals) -> None:
    """Bring statistics and tasks back to the saved episodes if a crash left them ahead."""
    if reader.stats.get("index", {}).get("count") != [totals.frames]:
        files.write_json(reader.root / layout.STATS, totals.statistics())
    if pq.read_metadata(reader.root / layout.TASKS).num_rows != len(totals.tasks):
        table = layout.tasks_table(totals.tasks)
        files.write_file(reader.root / layout.TASKS, lambda path: pq.write_table(table, path))


def _check_files(reader: DatasetReader) -> None:
    """Each file must hold as many rows or images as the episodes have that lie in it."""
    wanted: Counter[Path] = Counter()
    for episode in reader.episodes:
        for path in (episode.data, *(part.path for part in episode.videos.values())):
            wanted[path] += episode.length
    for path, rows in wanted.items():
        kind = "rows" if path.suffix == ".parquet" else "images"
        found = _count_rows(path) if kind == "rows" else count_frames(path)
        if found != rows:
            raise DatasetError(f"{path}: {found} {kind}, the episodes in it have {rows} rows")


def _count_rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: not readable: {error}") from error


def _next_file(reader: DatasetReader) -> int:
    """Number of the files that the next episode goes into: of no kind does one of that number count."""
    paths, rows = set(), 0
    for path in sorted((reader.root / "meta/episodes").glob("*/*.parquet")):
        if rows < reader.num_episodes:  # the others are leftovers of a crash
            paths.add(path)
            rows += _count_rows(path)
    for episode in reader.episodes:
        paths |= {episode.data, *(part.path for part in episode.videos.values())}
    return 1 + max((_number(reader.root, path) for path in paths), default=-1)


def _require_same_features(root: Path, wanted: layout.Features, stored: layout.Features) -> None:
    """Names, types and shapes must agree; the video codec may change from one episode to the next."""
    shapes = [
        {name: (f["dtype"], tuple(f["shape"])) for name, f in side.items()} for side in (wanted, stored)
    ]
    different = sorted(name for name in {*wanted, *stored} if shapes[0].get(name) != shapes[1].get(name))
    if different:
        raise DatasetError(f"{root}: other features than this version records: {', '.join(different)}")


def _histograms(reader: DatasetReader) -> dict[str, np.ndarray]:
    """Image histograms from our own file, or from the videos if a crash left it behind the data."""
    shapes = dict.fromkeys(reader.cameras, (3, 256)) | dict.fromkeys(reader.depth_cameras, (1, CODES))
    try:
        stored = read_json(reader.root / layout.HISTOGRAMS)
        if stored["total_episodes"] == reader.num_episodes and set(stored["histograms"]) == set(shapes):
            counts = {name: np.array(c, dtype=np.int64) for name, c in stored["histograms"].items()}
            if all(array.shape == shapes[name] for name, array in counts.items()):
                return counts
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        pass
    histograms = {}
    for camera, shape in shapes.items():
        histograms[camera] = np.zeros(shape, dtype=np.int64)
        for episode in reader.episodes:
            for image in reader.images(camera, episode.index):
                histograms[camera] += image_histogram(image)
    return histograms


def _number(root: Path, path: Path) -> int:
    """Running number of a data file."""
    number = number_of(path.relative_to(root).as_posix())
    if number is None:
        raise DatasetError(f"{path}: not the recorder's; only data sets recorded here can be continued")
    return number


def read_recordings(root: Path, episodes: int) -> list[dict[str, Any]]:
    """Our notes on the first `episodes` episodes; an empty one for each that has none."""
    try:
        stored = read_json(root / layout.RECORDINGS)["episodes"]
        known = {int(entry["episode"]): entry for entry in stored}
    except (OSError, ValueError, KeyError, TypeError):
        known = {}
    return [known.get(number, {"episode": number}) for number in range(episodes)]
