"""Shows a data set by others under the names, units and order of a contract."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.description import names_of
from vla_adapter_ros.dataset.mapping import (
    UNIT_FACTORS,
    CameraSource,
    DatasetMapping,
    ValueSource,
    dimension_names,
)
from vla_adapter_ros.dataset.reader import DatasetReader, Episode, sentences
from vla_adapter_ros.dataset.resampling import SAME_RATE, merged_actions, picked_rows
from vla_adapter_ros.dataset.statistics import exact_statistics
from vla_adapter_ros.errors import MappingError
from vla_adapter_ros.observation.fitting import can_fit, fit_image
from vla_adapter_ros.observation.images import turn

_KEPT = ("timestamp", *layout.INDEX_FEATURES, layout.STAMP, layout.AGE, layout.CONTROL_SOURCE)


@dataclasses.dataclass(frozen=True)
class _Column:
    """A source that was looked up: their column, the place in it, and value = offset + factor * theirs."""

    column: str
    place: int
    factor: float
    offset: float


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
        self._cameras = self._look_up_cameras(mapping)
        wanted = contract.depth_cameras if contract else reader.depth_cameras
        self.depth_cameras = tuple(name for name in reader.depth_cameras if name in wanted)
        """Names of the depth cameras, as the data set has them; a mapping cannot rename them."""
        reader.require_cameras([*(s.name for s in self._cameras.values()), *self.depth_cameras])
        self.fps = self._rate(mapping)
        self._picks: dict[int, np.ndarray] = {}  # episode -> rows that are shown; empty: all
        if self.fps != reader.fps:
            lengths = {episode.index: episode.length for episode in reader.episodes}
            self._picks = {n: picked_rows(length, reader.fps, self.fps) for n, length in lengths.items()}
        self.num_episodes = reader.num_episodes
        self.num_frames = sum(map(len, self._picks.values())) if self._picks else reader.num_frames
        self.missing, self.missing_file = reader.missing, reader.missing_file
        self.absent: dict[str, str] = {}
        """Always empty: a camera without files is refused here."""
        names, action_names = (contract.state_names, contract.action_names) if contract else (None, None)
        self._state = self._look_up(mapping.state, layout.STATE, names)
        self._action = self._look_up(mapping.action, layout.ACTION, action_names)
        self.features: dict[str, dict[str, Any]] = self._build_features(mapping)
        self.info: dict[str, Any] = {**reader.info, "features": self.features}
        if self._picks:
            self.info |= {"fps": self.fps, "total_frames": self.num_frames}
        self.episodes: tuple[Episode, ...] = self._show_episodes()

    def _rate(self, mapping: DatasetMapping) -> float:
        """Rate at which rows are shown [Hz]."""
        theirs = self.reader.fps
        if not mapping.resample:
            return theirs
        if self.contract is None:
            raise MappingError(f"{self.root}: mapping.resample needs a contract, which says the rate")
        rate = self.contract.rate_hz
        if rate > theirs * (1 + SAME_RATE):
            raise MappingError(
                f"{self.root}: mapping.resample: the data has {theirs:g} Hz, the contract says {rate:g} Hz: "
                f"allowed is a rate_hz up to {theirs:g}, since rows would repeat"
            )
        return rate

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
        """Their columns of which state and action are made -> places of the values that are used."""
        used: dict[str, set[int]] = {}
        for source in (*self._state, *self._action):
            used.setdefault(source.column, set()).add(source.place)
        return used

    def source_of(self, camera: str) -> CameraSource:
        """Their camera behind one of ours.

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
        theirs = self.reader.rows(episode)
        lacking = {c.column for c in (*self._state, *self._action)} - set(theirs)
        if lacking:
            raise MappingError(f"{self.root}: {sorted(lacking)} hold no plain numbers")
        rows = {name: theirs[name] for name in _KEPT if name in theirs}
        for name, columns in ((layout.STATE, self._state), (layout.ACTION, self._action)):
            values = [
                theirs[c.column].reshape(len(theirs["index"]), -1)[:, c.place].astype(np.float64) * c.factor
                + c.offset
                for c in columns
            ]
            rows[name] = np.stack(values, axis=1).astype(np.float32)
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
        return sentences(self.tasks, self.rows(episode)["task_index"], f"{self.root}: episode {episode}")

    def images(self, camera: str, episode: int, rows: range | None = None) -> Iterator[np.ndarray]:
        """Give out the images of an episode one by one. Kinds and errors as in `DatasetReader`."""
        if rows is not None and self._picks:
            picks = self._picks[episode][rows.start : rows.stop]
            first, wanted = int(picks[0]), set(picks.tolist())
            rows = range(first, int(picks[-1]) + 1)
        else:
            first = 0 if rows is None else rows.start
            wanted = set(self._picks[episode].tolist()) if self._picks else None
        theirs = self.reader.images(self.source_of(camera).name, episode, rows)
        for row, image in enumerate(theirs, first):
            if wanted is None or row in wanted:
                yield self.shown(camera, image)

    def image(self, camera: str, episode: int, row: int) -> np.ndarray:
        """Decode one image of an episode. Kinds and errors as in `images`."""
        if self._picks and 0 <= row < len(self._picks.get(episode, ())):
            row = int(self._picks[episode][row])
        return self.shown(camera, self.reader.image(self.source_of(camera).name, episode, row))

    def shown(self, camera: str, image: np.ndarray) -> np.ndarray:
        """An image as it is shown, of one as their files have it: turned, cropped or padded."""
        image = turn(image, self.source_of(camera).rotation)
        ours = self.contract.recorded_cameras.get(camera) if self.contract else None
        return fit_image(image, ours.size, ours.fit) if ours else image

    def why_changed(self, camera: str) -> str:
        """Why a camera's videos cannot be copied as they are, in words; empty if they can."""
        source = self.source_of(camera)
        if self._picks:
            return f"it is resampled from {self.reader.fps:g} to {self.fps:g} Hz"
        if source.rotation:
            return f"it is turned by {source.rotation} degrees"
        ours = self.contract.recorded_cameras.get(camera) if self.contract else None
        height, width = image_size(self.reader.features[self.reader.camera_feature(source.name)])
        if ours and ours.fit and (width, height) != ours.size:
            return f"it is {'cropped' if ours.fit == 'crop' else 'padded'} from {width}x{height}"
        return ""

    def decode(self, camera: str, episode: int) -> np.ndarray:
        """Decode the images of an episode: (T, H, W, 3) or (T, H, W). Kinds and errors as in `images`."""
        return np.stack(list(self.images(camera, episode)))

    def _look_up_cameras(self, mapping: DatasetMapping) -> dict[str, CameraSource]:
        wanted = mapping.cameras
        if self.contract is not None:  # the contract's cameras in its order; further ones are left out
            names = self.contract.camera_names
            unknown = [name for name in wanted if name not in names]
            if unknown:
                raise MappingError(f"mapping.cameras: {unknown}: allowed are the contract's {list(names)}")
            wanted = {name: wanted.get(name, CameraSource(name)) for name in names}
        elif not wanted:
            wanted = {name: CameraSource(name) for name in self.reader.cameras}
        found = {}
        for name, source in wanted.items():
            theirs = source.name.removeprefix(layout.image_key(""))
            if theirs in self.reader.absent:
                raise MappingError(f"{self.root}: camera {theirs}: {self.reader.absent[theirs]}")
            if theirs not in self.reader.cameras:
                known = list(self.reader.cameras)
                raise MappingError(f"{self.root}: no camera {source.name!r} for {name}: allowed are {known}")
            found[name] = CameraSource(theirs, source.rotation)
        return found

    def _look_up(
        self, wanted: Mapping[str, ValueSource] | str | None, key: str, names: tuple[str, ...] | None
    ) -> list[_Column]:
        """Find the source of every value of state or action, in the contract's order."""
        if wanted is None or isinstance(wanted, str):
            column = wanted or key
            width = math.prod(self._feature(column, key)["shape"])
            if names is not None and width != len(names):
                raise MappingError(
                    f"{self.root}: {column} has {width} values, the contract's {key} {len(names)}: "
                    f"name each under '{_short(key)}' in the mapping"
                )
            return [_Column(column, place, 1.0, 0.0) for place in range(width)]
        if names is not None and sorted(wanted) != sorted(names):
            lacking, unknown = sorted({*names} - {*wanted}), sorted({*wanted} - {*names})
            raise MappingError(
                f"mapping.{_short(key)}: lacks {lacking}, unknown are {unknown}: "
                f"allowed are exactly the contract's {list(names)}"
            )
        return [self._column_of(name, wanted[name], key) for name in names or wanted]

    def _column_of(self, name: str, source: ValueSource, key: str) -> _Column:
        where = f"mapping.{_short(key)}.{name}"
        feature = self._feature(source.column, where)
        width, known = math.prod(feature["shape"]), dimension_names(feature)
        place = source.which
        if place is None:
            if width != 1:
                raise MappingError(f"{where}: {source.column} has {width} values: say which, as COLUMN[NAME]")
            place = 0
        elif isinstance(place, str):
            if known is None or place not in known:
                raise MappingError(
                    f"{where}: no {place!r} in {source.column}: allowed are {known or 'places'}"
                )
            place = known.index(place)
        elif place >= width:
            raise MappingError(f"{where}: place {place} of {source.column}: allowed is 0 to {width - 1}")
        factor, offset = source.factor, source.offset
        if source.unit is not None:
            into, unit = UNIT_FACTORS[source.unit]
            factor *= into
            self._check_unit(name, unit, key, where)
        if source.open is not None and source.closed is not None:
            grippers = {g.dimension: g for g in self.contract.grippers} if self.contract else {}
            if key != layout.ACTION or name not in grippers:
                raise MappingError(
                    f"{where}: open and closed are allowed for the contract's grippers in action: "
                    f"{list(grippers)}"
                )
            gripper = grippers[name]
            factor = (gripper.open - gripper.closed) / (source.open - source.closed)
            offset = gripper.closed - factor * source.closed
        return _Column(source.column, place, factor, offset)

    def _check_unit(self, name: str, unit: str, key: str, where: str) -> None:
        if self.contract is None:
            return
        dimensions = self.contract.state if key == layout.STATE else self.contract.action.dimensions
        ours = next(d for d in dimensions if d.name == name)
        # A scale changes the unit in which the values stand: rad/s times s is rad.
        if ours.unit != unit and getattr(ours, "scale", 1.0) == 1.0:
            raise MappingError(f"{where}.unit: becomes {unit}, the contract says {ours.unit}")

    def _feature(self, column: str, where: str) -> dict[str, Any]:
        features = self.reader.features
        numbers = [n for n, f in features.items() if f["dtype"].startswith(("float", "int", "bool"))]
        if column not in numbers:
            raise MappingError(f"{self.root}: no column {column!r} (for {where}): allowed are {numbers}")
        return features[column]

    def _build_features(self, mapping: DatasetMapping) -> dict[str, dict[str, Any]]:
        theirs = self.reader.features
        features = {name: theirs[name] for name in _KEPT if name in theirs}
        if layout.AGE in features:  # the ages of cameras are under their names
            ours = {source.name: name for name, source in self._cameras.items()}
            streams = [ours.get(name, name) for name in names_of(theirs[layout.AGE], "stream")]
            features[layout.AGE] = theirs[layout.AGE] | {"names": streams}
        for key, columns, wanted in (
            (layout.STATE, self._state, mapping.state),
            (layout.ACTION, self._action, mapping.action),
        ):
            names = list(wanted) if isinstance(wanted, dict) else None
            if self.contract is not None:
                names = list(self.contract.state_names if key == layout.STATE else self.contract.action_names)
            elif names is None:
                names = list(dimension_names(theirs[columns[0].column]) or ()) or None
            features[key] = {"dtype": "float32", "shape": [len(columns)], "names": names}
        for name, source in self._cameras.items():
            feature = dict(theirs[self.reader.camera_feature(source.name)])
            height, width = image_size(feature)
            if source.rotation in (90, 270):
                height, width = width, height
            if self.contract is not None:
                ours = self.contract.cameras[name]
                if not can_fit((height, width), ours.size, ours.fit):
                    raise MappingError(
                        f"{self.root}: camera {source.name} is {width}x{height}, the contract's {name} "
                        f"{ours.width}x{ours.height}: allowed is that size, a larger one with fit: crop in "
                        "the contract's camera, or a smaller one with fit: pad"
                    )
                height, width = ours.height, ours.width
            feature |= {"shape": [height, width, 3], "names": ["height", "width", "channels"]}
            features[layout.image_key(name)] = feature
        return features | {
            layout.image_key(name): theirs[self.reader.camera_feature(name)] for name in self.depth_cameras
        }

    def _show_episodes(self) -> tuple[Episode, ...]:
        """Their episodes with our cameras; where rows are picked, videos are none that could be copied."""
        shown, first = [], 0
        for theirs in self.reader.episodes:
            videos = {n: theirs.videos[s.name] for n, s in self._cameras.items() if s.name in theirs.videos}
            videos |= {name: theirs.videos[name] for name in self.depth_cameras if name in theirs.videos}
            episode = dataclasses.replace(theirs, videos=videos)
            if self._picks:
                length = len(self._picks[theirs.index])
                episode = dataclasses.replace(theirs, videos={}, length=length, first_row=first)
                first += length
            shown.append(episode)
        return tuple(shown)


def image_size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width [px] of a camera's feature, as readers show it."""
    height, width = feature["shape"][:2]
    return int(height), int(width)


def _short(key: str) -> str:
    return key.rpartition(".")[2]
