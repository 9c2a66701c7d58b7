"""Where the values and cameras that a contract asks for stand in a data set by others; all of it checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.info_json import image_size, names_of
from vla_adapter_ros.dataset.mapping import (
    UNIT_FACTORS,
    CameraSource,
    DatasetMapping,
    ValueSource,
    dimension_names,
)
from vla_adapter_ros.dataset.outcome import COLUMNS
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import MappingError
from vla_adapter_ros.observation.fitting import can_fit

KEPT_COLUMNS = (
    "timestamp",
    *layout.INDEX_FEATURES,
    layout.STAMP,
    layout.AGE,
    layout.CONTROL_SOURCE,
    *COLUMNS,
)
"""Columns that are shown as they are, where they are there."""


@dataclass(frozen=True)
class ColumnSource:
    """A source that was found: column of the data set, place in it, and value = offset + factor * stored."""

    column: str
    place: int
    factor: float
    offset: float


def find_cameras(
    reader: DatasetReader, mapping: DatasetMapping, contract: Contract | None
) -> dict[str, CameraSource]:
    """Camera of the contract (without one: of the mapping, or of the data set) -> camera of the data set.

    Raises:
        MappingError: one is unknown to the contract, or not in the data set.
    """
    wanted = mapping.cameras
    if contract is not None:  # the contract's cameras in its order; further ones are left out
        names = contract.camera_names
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise MappingError(f"mapping.cameras: {unknown}: allowed are the contract's {list(names)}")
        wanted = {name: wanted.get(name, CameraSource(name)) for name in names}
    elif not wanted:
        wanted = {name: CameraSource(name) for name in reader.cameras}
    found = {}
    for name, source in wanted.items():
        camera = source.name.removeprefix(layout.image_key(""))
        if camera in reader.absent:
            raise MappingError(f"{reader.root}: camera {camera}: {reader.absent[camera]}")
        if camera not in reader.cameras:
            known = list(reader.cameras)
            raise MappingError(f"{reader.root}: no camera {source.name!r} for {name}: allowed are {known}")
        found[name] = CameraSource(camera, source.rotation)
    return found


def find_columns(
    reader: DatasetReader,
    wanted: Mapping[str, ValueSource] | str | None,
    key: str,
    contract: Contract | None,
) -> list[ColumnSource]:
    """Source of every value of state or action, in the contract's order.

    Args:
        reader: The data set.
        wanted: What the mapping says of it.
        key: Which of the two: `layout.STATE` or `layout.ACTION`.
        contract: Names the values; None: the mapping does, or the data set.

    Raises:
        MappingError: a value that is not there, a unit that does not fit, or another number of values.
    """
    names = contract_names(contract, key)
    if wanted is None or isinstance(wanted, str):
        column = wanted or key
        width = math.prod(_feature(reader, column, key)["shape"])
        if names is not None and width != len(names):
            raise MappingError(
                f"{reader.root}: {column} has {width} values, the contract's {key} {len(names)}: "
                f"name each under '{_last(key)}' in the mapping"
            )
        return [ColumnSource(column, place, 1.0, 0.0) for place in range(width)]
    if names is not None and sorted(wanted) != sorted(names):
        lacking, unknown = sorted({*names} - {*wanted}), sorted({*wanted} - {*names})
        raise MappingError(
            f"mapping.{_last(key)}: lacks {lacking}, unknown are {unknown}: "
            f"allowed are exactly the contract's {list(names)}"
        )
    return [_find_column(reader, name, wanted[name], key, contract) for name in names or wanted]


def contract_names(contract: Contract | None, key: str) -> tuple[str, ...] | None:
    """Names of the state or the action, by `key`; None without a contract."""
    if contract is None:
        return None
    return contract.state_names if key == layout.STATE else contract.action_names


def shown_features(
    reader: DatasetReader,
    mapping: DatasetMapping,
    contract: Contract | None,
    columns: Mapping[str, list[ColumnSource]],
    cameras: Mapping[str, CameraSource],
    depth_cameras: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    """What info.json of the data set would declare under the contract's names.

    Args:
        reader, mapping, contract: As for `find_columns`.
        columns: State and action, as found.
        cameras: As found.
        depth_cameras: Names of those that are shown.

    Raises:
        MappingError: a camera's images do not fit the contract's.
    """
    stored = reader.features
    features = {name: stored[name] for name in KEPT_COLUMNS if name in stored}
    if layout.AGE in features:  # the ages of cameras are under their names
        names_here = {source.name: name for name, source in cameras.items()}
        streams = [names_here.get(name, name) for name in names_of(stored[layout.AGE], "stream")]
        features[layout.AGE] = stored[layout.AGE] | {"names": streams}
    for key, wanted in ((layout.STATE, mapping.state), (layout.ACTION, mapping.action)):
        given = contract_names(contract, key)
        if given is None and isinstance(wanted, dict):
            given = tuple(wanted)
        if given is None:
            given = dimension_names(stored[columns[key][0].column])
        names = list(given) if given else None
        features[key] = {"dtype": "float32", "shape": [len(columns[key])], "names": names}
    for name, source in cameras.items():
        features[layout.image_key(name)] = _shown_camera(reader, name, source, contract)
    return features | {layout.image_key(name): stored[reader.camera_feature(name)] for name in depth_cameras}


def _shown_camera(
    reader: DatasetReader, name: str, source: CameraSource, contract: Contract | None
) -> dict[str, Any]:
    feature = dict(reader.features[reader.camera_feature(source.name)])
    height, width = image_size(feature)
    if source.rotation in (90, 270):
        height, width = width, height
    if contract is not None:
        camera = contract.cameras[name]
        if not can_fit((height, width), camera.size, camera.fit):
            raise MappingError(
                f"{reader.root}: camera {source.name} is {width}x{height}, the contract's {name} "
                f"{camera.width}x{camera.height}: allowed is that size, a larger one with fit: crop in "
                "the contract's camera, or a smaller one with fit: pad"
            )
        height, width = camera.height, camera.width
    return feature | {"shape": [height, width, 3], "names": ["height", "width", "channels"]}


def _find_column(
    reader: DatasetReader, name: str, source: ValueSource, key: str, contract: Contract | None
) -> ColumnSource:
    where = f"mapping.{_last(key)}.{name}"
    place = _find_place(_feature(reader, source.column, where), source, where)
    factor, offset = source.factor, source.offset
    if source.unit is not None:
        into, unit = UNIT_FACTORS[source.unit]
        factor *= into
        _require_unit(name, unit, key, where, contract)
    if source.open is not None and source.closed is not None:
        grippers = {g.dimension: g for g in contract.grippers} if contract else {}
        if key != layout.ACTION or name not in grippers:
            raise MappingError(
                f"{where}: open and closed are allowed for the contract's grippers in action: "
                f"{list(grippers)}"
            )
        gripper = grippers[name]
        factor = (gripper.open - gripper.closed) / (source.open - source.closed)
        offset = gripper.closed - factor * source.closed
    return ColumnSource(source.column, place, factor, offset)


def _find_place(feature: Mapping[str, Any], source: ValueSource, where: str) -> int:
    """Place of a value within its column."""
    width, known = math.prod(feature["shape"]), dimension_names(feature)
    place = source.which
    if place is None:
        if width != 1:
            raise MappingError(f"{where}: {source.column} has {width} values: say which, as COLUMN[NAME]")
        return 0
    if isinstance(place, str):
        if known is None or place not in known:
            raise MappingError(f"{where}: no {place!r} in {source.column}: allowed are {known or 'places'}")
        return known.index(place)
    if place >= width:
        raise MappingError(f"{where}: place {place} of {source.column}: allowed is 0 to {width - 1}")
    return place


def _require_unit(name: str, unit: str, key: str, where: str, contract: Contract | None) -> None:
    if contract is None:
        return
    units = {d.name: (d.unit.si, 1.0) for d in contract.state}
    if key == layout.ACTION:
        units = {d.name: (d.unit.si, d.scale) for d in contract.action.dimensions}
    wanted, scale = units[name]
    # A scale changes the unit in which the values stand: rad/s times s is rad.
    if wanted != unit and scale == 1.0:
        raise MappingError(f"{where}.unit: becomes {unit}, the contract says {wanted}")


def _feature(reader: DatasetReader, column: str, where: str) -> dict[str, Any]:
    features = reader.features
    numbers = [n for n, f in features.items() if f["dtype"].startswith(("float", "int", "bool"))]
    if column not in numbers:
        raise MappingError(f"{reader.root}: no column {column!r} (for {where}): allowed are {numbers}")
    return features[column]


def _last(key: str) -> str:
    return key.rpartition(".")[2]
