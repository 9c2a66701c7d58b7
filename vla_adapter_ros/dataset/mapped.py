"""Shows a data set by others under the names, units and order of a contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import exact_statistics
from vla_adapter_ros.dataset.episode_list import Episode
from vla_adapter_ros.dataset.info_json import image_size
from vla_adapter_ros.dataset.mapped_names import (
    KEPT_COLUMNS,
    find_cameras,
    find_columns,
    shown_features,
)
from vla_adapter_ros.dataset.mapping import CameraSource, DatasetMapping
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.resampling import SAME_RATE, merged_actions, picked_rows
from vla_adapter_ros.dataset.task_texts import row_texts
from vla_adapter_ros.errors import MappingError
from vla_adapter_ros.observation.fitting import fit_image
from vla_adapter_ros.observation.images import turn


class MappedDataset:
    """A data set by others, with the attributes and methods of `DatasetReader`, under a contract's names.

    `rows` gives state, action, the index columns and, where they are there, capture.stamp, capture.age and
    control_source. All checks are made here, before a row is read.

    Args:
        reader: The data set.
        mapping: Where what the contract asks for is found.
        contract: Instead of the mapping's contract, or of the data set's.

    Raises:
        MappingError: a camera or value is not there, a unit does not fit, or a width or an image size.
        ContractError: the mapping's contract cannot be read.
    """

    def __init__(
        self, reader: DatasetReader, mapping: DatasetMapping, contract: Contract | None = None
    ) -> None:
        self.reader = reader
        if contract is None:
            contract = read_contract(mapping.contract) if mapping.contract else reader.contract
        self.contract: Contract | None = contract
        self.root: Path = reader.root
        self.tasks = reader.tasks
        self._cameras = find_cameras(reader, mapping, contract)
        wanted = contract.depth_cameras if contract else reader.depth_cameras
        self.depth_cameras = tuple(name for name in reader.depth_cameras if name in wanted)
        """Names of the depth cameras, as the data set has them; a mapping cannot rename them."""
        reader.require_cameras([*(s.name for s in self._cameras.values()), *self.depth_cameras])
        self.fps = _shown_rate(reader, mapping, contract)
        self._picks: dict[int, np.ndarray] = {}  # episode -> rows that are shown; empty: all
        if self.fps != reader.fps:
            self._picks = {e.index: picked_rows(e.length, reader.fps, self.fps) for e in reader.episodes}
        self.num_episodes = reader.num_episodes
        self.num_frames = sum(map(len, self._picks.values())) if self._picks else reader.num_frames
        self.missing, self.missing_file = reader.missing, reader.missing_file
        self.absent: dict[str, str] = {}
        """Always empty: a camera without files is refused here."""
        self._columns = {
            layout.STATE: find_columns(reader, mapping.state, layout.STATE, contract),
            layout.ACTION: find_columns(reader, mapping.action, layout.ACTION, contract),
        }
        self.features: dict[str, dict[str, Any]] = shown_features(
            reader, mapping, contract, self._columns, self._cameras, self.depth_cameras
        )
        self.info: dict[str, Any] = {**reader.info, "features": self.features}
        if self._picks:
            self.info |= {"fps": self.fps, "total_frames": self.num_frames}
        self.episodes: tuple[Episode, ...] = self._show_episodes()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the mapping's order."""
        return tuple(self._cameras)

    @property
    def stats(self) -> dict[str, dict[str, Any]]:
        """Exact statistics of the columns as they are shown; of the images there are none."""
        return exact_statistics(self)

    @property
    def places_used(self) -> dict[str, set[int]]:
        """Columns of the data set that state and action are made of -> places of the values that are used."""
        used: dict[str, set[int]] = {}
        for source in (source for sources in self._columns.values() for source in sources):
            used.setdefault(source.column, set()).add(source.place)
        return used

    def camera_feature(self, camera: str) -> str:
        """Feature of a camera."""
        return layout.image_key(camera)

    def source_of(self, camera: str) -> CameraSource:
        """Camera of the data set behind one that is shown.

        Raises:
            MappingError: no such camera.
        """
        if camera in self.depth_cameras:
            return CameraSource(camera)
        if camera not in self._cameras:
            raise MappingError(f"{self.root}: camera {camera!r}: allowed are {list(self._cameras)}")
        return self._cameras[camera]

    def rows(self, episode: int) -> dict[str, np.ndarray]:
        """Columns of an episode of length T: state (T, S) and action (T, A), float32, and (T,) each.

        Raises:
            DatasetError: no such episode, or its file lacks rows.
        """
        stored = self.reader.rows(episode)
        used = self.places_used
        lacking = set(used) - set(stored)
        if lacking:
            raise MappingError(f"{self.root}: {sorted(lacking)} hold no plain numbers")
        tables = {name: stored[name].reshape(len(stored["index"]), -1).astype(np.float64) for name in used}
        rows = {name: stored[name] for name in KEPT_COLUMNS if name in stored}
        for key, sources in self._columns.items():
            values = [tables[s.column][:, s.place] * s.factor + s.offset for s in sources]
            rows[key] = np.stack(values, axis=1).astype(np.float32)
        return self._pick(rows, episode) if self._picks else rows

    def _pick(self, rows: dict[str, np.ndarray], episode: int) -> dict[str, np.ndarray]:
        """The rows that are shown, (K, ...) of (T, ...), numbered and timed anew."""
        picks = self._picks[episode]
        shown = {name: column[picks] for name, column in rows.items()}
        shown[layout.ACTION] = merged_actions(rows[layout.ACTION], picks, self.contract)
        shown["frame_index"] = np.arange(len(picks))
        shown["index"] = self.episodes[episode].first_row + np.arange(len(picks))
        shown["timestamp"] = rows["timestamp"][picks] if len(picks) < len(rows["timestamp"]) else (
            rows["timestamp"] * (self.reader.fps / self.fps)
        )  # fmt: skip
        return shown

    def task_of(self, episode: int) -> str:
        """What was to be done in an episode's first row. Errors as in `DatasetReader`."""
        return self.row_tasks(episode)[0]

    def row_tasks(self, episode: int) -> list[str]:
        """What was to be done in each row of an episode. Errors as in `DatasetReader`."""
        return row_texts(self.tasks, self.rows(episode)["task_index"], f"{self.root}: episode {episode}")

    def images(self, camera: str, episode: int, rows: range | None = None) -> Iterator[np.ndarray]:
        """Give out the images of an episode one by one. Kinds and errors as in `DatasetReader`."""
        source = self.source_of(camera).name
        if not self._picks:
            for image in self.reader.images(source, episode, rows):
                yield self.shown(camera, image)
            return
        picks = self._picks[episode] if rows is None else self._picks[episode][rows.start : rows.stop]
        first, wanted = int(picks[0]), set(picks.tolist())
        for row, image in enumerate(
            self.reader.images(source, episode, range(first, int(picks[-1]) + 1)), first
        ):
            if row in wanted:
                yield self.shown(camera, image)

    def image(self, camera: str, episode: int, row: int) -> np.ndarray:
        """Decode one image of an episode. Kinds and errors as in `images`."""
        if self._picks and 0 <= row < len(self._picks.get(episode, ())):
            row = int(self._picks[episode][row])
        return self.shown(camera, self.reader.image(self.source_of(camera).name, episode, row))

    def shown(self, camera: str, image: np.ndarray) -> np.ndarray:
        """An image as it is shown, of one as the files have it: turned, cropped or padded."""
        image = turn(image, self.source_of(camera).rotation)
        wanted = self.contract.recorded_cameras.get(camera) if self.contract else None
        return fit_image(image, wanted.size, wanted.fit) if wanted else image

    def why_changed(self, camera: str) -> str:
        """Why a camera's videos cannot be copied as they are, in words; empty if they can."""
        source = self.source_of(camera)
        if self._picks:
            return f"it is resampled from {self.reader.fps:g} to {self.fps:g} Hz"
        if source.rotation:
            return f"it is turned by {source.rotation} degrees"
        wanted = self.contract.recorded_cameras.get(camera) if self.contract else None
        height, width = image_size(self.reader.features[self.reader.camera_feature(source.name)])
        if wanted and wanted.fit and (width, height) != wanted.size:
            return f"it is {'cropped' if wanted.fit == 'crop' else 'padded'} from {width}x{height}"
        return ""

    def decode(self, camera: str, episode: int) -> np.ndarray:
        """Decode the images of an episode: (T, H, W, 3) or (T, H, W). Kinds and errors as in `images`."""
        return np.stack(list(self.images(camera, episode)))

    def _show_episodes(self) -> tuple[Episode, ...]:
        """The episodes with our cameras; where rows are picked, there are no videos that could be copied."""
        shown, first = [], 0
        for stored in self.reader.episodes:
            videos = {n: stored.videos[s.name] for n, s in self._cameras.items() if s.name in stored.videos}
            videos |= {name: stored.videos[name] for name in self.depth_cameras if name in stored.videos}
            episode = dataclasses.replace(stored, videos=videos)
            if self._picks:
                length = len(self._picks[stored.index])
                episode = dataclasses.replace(stored, videos={}, length=length, first_row=first)
                first += length
            shown.append(episode)
        return tuple(shown)


def _shown_rate(reader: DatasetReader, mapping: DatasetMapping, contract: Contract | None) -> float:
    """Rate at which rows are shown [Hz]."""
    if not mapping.resample:
        return reader.fps
    if contract is None:
        raise MappingError(f"{reader.root}: mapping.resample needs a contract, which says the rate")
    rate = contract.rate_hz
    if rate > reader.fps * (1 + SAME_RATE):
        raise MappingError(
            f"{reader.root}: mapping.resample: the data has {reader.fps:g} Hz, the contract says {rate:g} "
            f"Hz: allowed is a rate_hz up to {reader.fps:g}, since rows would repeat"
        )
    return rate
