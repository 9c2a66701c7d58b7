"""A damaged data set: what its tables still say, and which episodes its files hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import empty_histogram, image_histogram
from vla_adapter_ros.dataset.depth import coding_of
from vla_adapter_ros.dataset.info_json import check_info, fill
from vla_adapter_ros.dataset.tables import plain_columns, read_json, read_table, whole_numbers
from vla_adapter_ros.dataset.tools.rebuild import RecoveredEpisode
from vla_adapter_ros.dataset.video import VideoSettings, count_frames, decode_frames
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import leaves, short


class DamagedDataset:
    """A damaged data set.

    Args:
        root: Folder of the data set, of which nothing is changed.

    Raises:
        DatasetError: neither info.json nor a contract can be read, or it is of another format.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.recovered: list[str] = []
        """What was made anew, in words."""
        self.dropped: list[str] = []
        """What was left out and why, in words."""
        self.contract = self._read_contract()
        self.info = self._read_info()
        features = self.info["features"]
        self.videos = [name for name, feature in features.items() if feature["dtype"] == "video"]
        self._tables: dict[Path, pa.Table] = {}
        self.facts = self._read_facts()
        """What is known of each episode, in order."""
        self.tasks = self._read_tasks()

    def read_episode(self, facts: dict[str, Any]) -> RecoveredEpisode:
        """Read all of an episode.

        Raises:
            DatasetError: rows, images or the instruction are missing.
        """
        data = self._data_of(facts)
        table = self._table(data)
        length = facts["length"]
        inside = np.flatnonzero(whole_numbers(table, "episode_index", data) == facts["episode_index"])
        if len(inside) != length or length == 0:
            raise DatasetError(f"{self._name(data)} has {len(inside)} rows of it, {length} expected")
        rows = table.take(pa.array(inside))
        plain_columns(rows, self.info["features"], data)
        if not np.array_equal(whole_numbers(rows, "frame_index", data), np.arange(length)):
            raise DatasetError(f"{self._name(data)}: frame_index has gaps")
        wanted = whole_numbers(rows, "task_index", data).tolist()
        if unknown := sorted(set(wanted) - set(self.tasks)):
            raise DatasetError(f"its instruction was not written: task {unknown}, known {sorted(self.tasks)}")
        videos: dict[str, tuple[Path, float]] = {}
        histograms: dict[str, np.ndarray] = {}
        for key in self.videos:
            videos[key], histograms[key] = self._read_video(facts, key, length)
        return RecoveredEpisode(
            facts["episode_index"], rows, [self.tasks[n] for n in wanted], data, videos, histograms
        )

    def _read_video(
        self, facts: dict[str, Any], key: str, length: int
    ) -> tuple[tuple[Path, float], np.ndarray]:
        """Decode all images of an episode; returns where they lie, and their histogram."""
        place = _place(facts, f"videos/{key}")
        path = self._inside(fill(self.info, "video_path", self.root / layout.INFO, place, key))
        start = facts.get(f"videos/{key}/from_timestamp")
        if not (isinstance(start, float) and 0 <= start < 1e9):
            raise DatasetError(f"videos/{key}/from_timestamp = {short(start)}: allowed is a time")
        if start == 0.0 and self._episodes_in(key, place) == 1 and count_frames(path) != length:
            raise DatasetError(f"{self._name(path)} has {count_frames(path)} images, {length} rows")
        coding = coding_of(self.info["features"][key])
        histogram = empty_histogram(depth=coding is not None)
        for image in decode_frames(path, start, length, float(self.info["fps"]), coding):
            histogram += image_histogram(image)
        return (path, start), histogram

    def leftovers(self, found: list[RecoveredEpisode]) -> tuple[str, ...]:
        """Files below data, videos and meta/episodes that no good episode uses, and unfinished ones."""
        used = {path for e in found for path in (e.data, *(path for path, _ in e.videos.values()))}
        there = [p for folder in ("data", "videos") for p in (self.root / folder).rglob("*") if p.is_file()]
        left = [path for path in there if path not in used]
        left += [path for path in (self.root / "meta").rglob("*.tmp")]
        return tuple(sorted(self._name(path) for path in left))

    def _data_of(self, facts: dict[str, Any]) -> Path:
        place = _place(facts, "data")
        return self._inside(fill(self.info, "data_path", self.root / layout.INFO, place))

    def _inside(self, name: str) -> Path:
        """A file of the data set; links out of it are not followed."""
        path = self.root / name
        if leaves(path, self.root):
            raise DatasetError(f"{name} is a link out of the data set: links are not followed")
        return path

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _table(self, path: Path) -> pa.Table:
        if path not in self._tables:
            # One at a time: episodes come in the order of their files.
            self._tables = {path: read_table(path)}
        return self._tables[path]

    def _episodes_in(self, key: str, place: dict[str, Any]) -> int:
        names = ("chunk_index", "file_index")
        return sum(all(f.get(f"videos/{key}/{n}") == place[n] for n in names) for f in self.facts)

    def _read_contract(self) -> Contract | None:
        path = self.root / layout.CONTRACT
        return read_contract(path) if path.is_file() else None

    def _read_info(self) -> dict[str, Any]:
        try:
            info = check_info(read_json(self.root / layout.INFO), self.root / layout.INFO)
        except DatasetError as error:
            if self.contract is None:
                raise DatasetError(f"{error}; without a contract it cannot be made anew") from error
            self.recovered.append(f"{layout.INFO}: not readable, made anew from the contract")
            features = layout.build_features(self.contract, VideoSettings())
            return layout.info_without_totals(self.contract, features)
        if info.get("codebase_version") != layout.VERSION:
            raise DatasetError(
                f"{self.root}: format {info.get('codebase_version')!r}, allowed is {layout.VERSION!r}"
            )
        return info

    def _read_facts(self) -> list[dict[str, Any]]:
        """What is known of each episode, in order; episodes without facts from the names of their files."""
        facts = []
        for path in sorted((self.root / "meta/episodes").glob("*/*.parquet")):
            try:
                table = read_table(path, lambda name: not name.startswith("stats/"))
                for name in ("episode_index", "length", "data/chunk_index", "data/file_index"):
                    whole_numbers(table, name, path)
                facts += table.to_pylist()
            except DatasetError as error:
                self.dropped.append(f"facts of an episode: {error}")
        described = {(f["data/chunk_index"], f["data/file_index"]) for f in facts}
        for path, place in self._data_files():
            if (place["chunk_index"], place["file_index"]) not in described:
                facts += self._facts_from_files(path, place)
        return sorted(facts, key=lambda f: (f["data/chunk_index"], f["data/file_index"], f["episode_index"]))

    def _data_files(self) -> Iterator[tuple[Path, dict[str, int]]]:
        for path in sorted((self.root / "data").glob("chunk-*/file-*.parquet")):
            chunk, file = (int(name.rpartition("-")[2]) for name in (path.parent.name, path.stem))
            yield path, {"chunk_index": chunk, "file_index": file}

    def _facts_from_files(self, path: Path, place: dict[str, int]) -> list[dict[str, Any]]:
        """Facts of an episode that has files of its own, all with one number, as we record them."""
        try:
            numbers = np.unique(whole_numbers(self._table(path), "episode_index", path))
        except DatasetError as error:
            self.dropped.append(f"rows: {error}")
            return []
        if len(numbers) != 1:
            self.dropped.append(f"{self._name(path)}: {len(numbers)} episodes that nothing describes")
            return []
        facts: dict[str, Any] = {"episode_index": int(numbers[0]), "length": self._table(path).num_rows}
        facts |= {f"data/{name}": value for name, value in place.items()}
        for key in self.videos:
            facts |= {f"videos/{key}/{name}": value for name, value in place.items()}
            facts[f"videos/{key}/from_timestamp"] = 0.0
        self.recovered.append(f"facts of episode {facts['episode_index']}, made anew from its files")
        return [facts]

    def _read_tasks(self) -> dict[int, str]:
        """task_index -> text, from the table or, if it cannot be read, from the episodes' own lists."""
        try:
            table = read_table(self.root / layout.TASKS)
            (name,) = [name for name in table.column_names if name != "task_index"]
            numbers = whole_numbers(table, "task_index", self.root / layout.TASKS).tolist()
            known = zip(numbers, table[name].to_pylist(), strict=True)
            return {number: task for number, task in known if isinstance(task, str)}
        except (DatasetError, KeyError, ValueError):
            self.recovered.append(f"{layout.TASKS}: not readable, made anew from the episodes' lists")
        tasks: dict[int, str] = {}
        for facts in self.facts:
            texts = facts.get("tasks") or []
            if not isinstance(texts, list) or len(texts) != 1 or not isinstance(texts[0], str):
                continue
            try:
                path = self._data_of(facts)
                table = self._table(path)
                inside = whole_numbers(table, "episode_index", path) == facts["episode_index"]
                numbers = whole_numbers(table, "task_index", path)[inside]
            except DatasetError:
                continue
            tasks |= dict.fromkeys(np.unique(numbers).tolist(), texts[0])
        return tasks


def _place(facts: dict[str, Any], part: str) -> dict[str, int]:
    try:
        return {name: int(facts[f"{part}/{name}"]) for name in ("chunk_index", "file_index")}
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"nothing says where its {part} lies ({error})") from error
