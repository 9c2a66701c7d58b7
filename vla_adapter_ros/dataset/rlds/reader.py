"""An RLDS data set with the attributes of a LeRobot one, so that everything that reads those reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import exact_statistics
from vla_adapter_ros.dataset.episode_list import Episode, EpisodeList
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.rlds.description import Leaf, find_rlds, read_leaves, shard_files
from vla_adapter_ros.dataset.rlds.examples import read_example
from vla_adapter_ros.dataset.rlds.forms import Form, rules_of
from vla_adapter_ros.dataset.rlds.records import Record, find_records
from vla_adapter_ros.errors import DatasetError, ImageError
from vla_adapter_ros.observation.images import decode_picture
from vla_adapter_ros.paths import locate

INSTRUCTIONS = (
    "language_instruction", "natural_language_instruction", "observation.natural_language_instruction",
    "observation.language_instruction", "instruction", "task",
)  # fmt: skip
"""Names under which public data sets have the instruction, in the order in which they are looked for."""


class RldsReader(DatasetReader):
    """An RLDS data set in TFRecord files: every record is an episode.

    All records are read once to learn how long the episodes are. Rows and images of the episode that was
    asked for last stay in memory.

    Args:
        root: Its folder, or that of its only version.
        rate_hz: Steps per second, which RLDS does not store.
        form: What is done with its rows, see `forms`.
        split: Which part of it.

    Attributes:
        dropped: How many steps the form leaves out.
        empty: Numbers of the episodes of which it leaves no step.

    Raises:
        DatasetError: no RLDS data set, or it is damaged.
    """

    def __init__(
        self, root: str | Path, rate_hz: float, form: Form = Form.NONE, split: str = "train"
    ) -> None:
        self.root = find_rlds(locate(root))
        self.fps, self._rules = rate_hz, rules_of(form)
        self._leaves = read_leaves(self.root)
        self._instruction = self._find_instruction()
        index = {name: {"dtype": "int64", "shape": [1], "names": None} for name in layout.INDEX_FEATURES}
        time = {"timestamp": {"dtype": "float32", "shape": [1], "names": None}}
        own = {name: leaf.feature for name, leaf in self._leaves.items()}
        self.features: dict[str, dict[str, Any]] = {**own, **time, **index}
        self.info: dict[str, Any] = {
            "codebase_version": "RLDS", "fps": rate_hz, "features": self.features, "robot_type": "",
        }  # fmt: skip
        self._records: list[Record] = []
        self._kept: list[np.ndarray] = []
        self._newest: tuple[int, dict[str, Any]] = (-1, {})
        self.dropped, self.empty = 0, list[int]()
        self._list = self._find_episodes(shard_files(self.root, split))
        self._table = None

    @property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Exact statistics of the numeric columns; of the images there are none."""
        return exact_statistics(self)

    def rows(self, episode: int) -> dict[str, np.ndarray]:
        """All columns of an episode, as in `DatasetReader`."""
        facts = self._episode(episode)
        columns = self._columns(self._example(episode), facts.number)
        kept, changed = self._rules.standardize(columns)
        rows = {name: column[kept] for name, column in columns.items()} | changed
        texts = rows.pop(self._instruction, None)
        said = [""] * facts.length if texts is None else texts.tolist()
        rows["task_index"] = np.array([self.tasks.index(text) for text in said], dtype=np.int64)
        rows["timestamp"] = (np.arange(facts.length) / self.fps).astype(np.float32)
        rows["frame_index"] = np.arange(facts.length)
        rows["episode_index"] = np.full(facts.length, facts.index)
        rows["index"] = facts.first_row + np.arange(facts.length)
        return rows

    def _stored_images(self, camera: str, facts: Episode, rows: range) -> Iterator[np.ndarray]:
        leaf = self._leaves[self.camera_feature(camera)]
        stored = self._example(facts.index).get(leaf.key, [])
        for row in self._kept[facts.index][rows.start : rows.stop]:
            try:
                yield decode_picture(bytes(stored[row]))
            except (ImageError, IndexError) as error:
                raise DatasetError(
                    f"{facts.data}: step {row} of {leaf.key}, episode {facts.number}: {error}"
                ) from error

    def _find_instruction(self) -> str:
        texts = [name for name, leaf in self._leaves.items() if leaf.kind == "text"]
        return next((name for name in INSTRUCTIONS if name in texts), "")

    def _find_episodes(self, files: list[Path]) -> EpisodeList:
        """Read every record once."""
        episodes: list[Episode] = []
        tasks: dict[str, None] = {}
        number = first = 0
        for path in files:
            for record in find_records(path):
                columns = self._columns(read_example(record), number)
                count = len(next(iter(columns.values())))
                kept = self._rules.standardize(columns)[0] if count else np.arange(0)
                self.dropped += count - len(kept)
                if len(kept):
                    texts = columns[self._instruction][kept] if self._instruction else np.array([""])
                    said = tuple(dict.fromkeys(texts.tolist()))
                    tasks |= dict.fromkeys(said)
                    self._records.append(record)
                    self._kept.append(kept)
                    episodes.append(Episode(len(episodes), len(kept), first, said, path, {}, number))
                    first += len(kept)
                else:
                    self.empty.append(number)
                number += 1
        self.tasks, self._lists_tasks = tuple(tasks), True
        return EpisodeList(tuple(episodes))

    def _columns(self, example: dict[str, Any], number: int) -> dict[str, np.ndarray]:
        """All columns of an episode but the images, each of as many steps."""
        columns = {}
        for name, leaf in self._leaves.items():
            if leaf.kind in ("numbers", "text"):
                columns[name] = self._values(leaf, example, number)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DatasetError(f"{self.root}: episode {number}: steps {lengths}: allowed is one number")
        return columns

    def _values(self, leaf: Leaf, example: dict[str, Any], number: int) -> np.ndarray:
        try:
            return leaf.values(example.get(leaf.key, []))
        except (DatasetError, ValueError, TypeError, OverflowError) as error:
            raise DatasetError(f"{self.root}: episode {number}: {leaf.key}: {error}") from None

    def _example(self, episode: int) -> dict[str, Any]:
        if self._newest[0] != episode:
            self._newest = episode, read_example(self._records[episode])
        return self._newest[1]

    def __getstate__(self) -> dict[str, Any]:
        """Another process reads its records itself."""
        return {**self.__dict__, "_newest": (-1, {})}
