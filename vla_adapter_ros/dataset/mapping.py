"""Mapping files: under which names and units a data set by others shows what a contract asks for.

A mapping is YAML. All keys but `schema` may be left out:

    schema: 1
    contract: cr5                         # shipped name, or a file beside this one
    resample: true                        # rows at the contract's rate, where the data has another
    cameras:
      third_view: top                     # contract's name: theirs
      gripper: {from: wrist, rotation: 180}
    state: observation.state              # the whole column, in this order; or value by value:
    action:
      joint1: action[joint_0]             # contract's name: COLUMN[NAME or place]
      joint2: {from: "action[1]", unit: deg}
      gripper: {from: "action[6]", open: 0, closed: 100}

A value of theirs becomes `offset + factor * theirs`, after its unit was turned into
rad, m or a ratio. `open` and `closed` are their values of an open and a closed gripper;
they become those of the contract.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import MappingError
from vla_adapter_ros.paths import expand, locate
from vla_adapter_ros.untrusted import NAME_RULE, is_finite, is_name, read_yaml, short

SCHEMA = 1
UNIT_FACTORS = {  # their unit -> (factor, unit in contracts)
    "rad": (1.0, "rad"),
    "deg": (math.pi / 180, "rad"),
    "counts": (math.pi / 2048, "rad"),  # of a servo with 4096 per turn
    "m": (1.0, "m"),
    "cm": (0.01, "m"),
    "mm": (0.001, "m"),
    "rad/s": (1.0, "rad/s"),
    "deg/s": (math.pi / 180, "rad/s"),
    "m/s": (1.0, "m/s"),
    "mm/s": (0.001, "m/s"),
    "percent": (0.01, "1"),
    "Nm": (1.0, "Nm"),
    "N": (1.0, "N"),
    "1": (1.0, "1"),
}
ROTATIONS = (0, 90, 180, 270)
_SOURCE = re.compile(r"^(?P<column>[^\[\]]+?)(\[(?P<which>[^\[\]]+)\])?$")


@dataclass(frozen=True)
class CameraSource:
    """A camera of theirs, and the counter-clockwise turn [degrees] that makes it ours."""

    name: str
    rotation: int = 0


@dataclass(frozen=True)
class ValueSource:
    """One value: where it stands in their data set, and how it becomes ours.

    Attributes:
        column: Their feature.
        which: Name or place within it; None for a feature of one value.
        unit: Their unit, a key of `UNIT_FACTORS`; None where nothing is to be turned.
        factor, offset: Applied after the unit.
        open, closed: Their values of an open and a closed gripper, or both None.
    """

    column: str
    which: str | int | None = None
    unit: str | None = None
    factor: float = 1.0
    offset: float = 0.0
    open: float | None = None
    closed: float | None = None


@dataclass(frozen=True)
class DatasetMapping:
    """Content of a mapping file.

    Attributes:
        contract: Shipped name or absolute path; empty: the mapping names none.
        resample: Whether rows are shown at the contract's rate.
        cameras: Our name -> theirs, in our order; empty: all as they are.
        state, action: Our name -> source; or their column, all of it in its own order; or None: the column
            of our own name.
    """

    contract: str = ""
    cameras: dict[str, CameraSource] = field(default_factory=dict)
    state: dict[str, ValueSource] | str | None = None
    action: dict[str, ValueSource] | str | None = None
    resample: bool = False


def read_mapping(path: str | Path) -> DatasetMapping:
    """Read a mapping file.

    Raises:
        MappingError: no such file, bad YAML, or a value that is not allowed.
    """
    path = locate(path)
    try:
        data = read_yaml(path)
    except OSError as error:
        raise MappingError(f"no mapping at {path}: {error}") from error
    except ValueError as error:
        raise MappingError(f"{path}: {error}") from error
    try:
        return parse_mapping(data, path.parent)
    except MappingError as error:
        raise MappingError(f"{path}: {error}") from None


def parse_mapping(data: Any, folder: Path = Path()) -> DatasetMapping:
    """Build a mapping from plain data and check it.

    Args:
        data: What the YAML holds.
        folder: Where a contract's file is looked for.

    Raises:
        MappingError: names the key, the value and what is allowed.
    """
    _keys(data, "mapping", ("schema", "contract", "cameras", "state", "action", "resample"))
    _require(data.get("schema") == SCHEMA, "mapping.schema", data.get("schema"), str(SCHEMA))
    contract = data.get("contract", "")
    _require(isinstance(contract, str), "mapping.contract", contract, "a name or a file")
    if contract.endswith((".yaml", ".yml")):
        contract = str(locate(folder / expand(contract)))
    cameras = data.get("cameras", {})
    _require(isinstance(cameras, dict), "mapping.cameras", cameras, "a mapping of our names to theirs")
    for name in cameras:
        _require(is_name(str(name)), "mapping.cameras", name, NAME_RULE)
    resample = data.get("resample", False)
    _require(isinstance(resample, bool), "mapping.resample", resample, "true or false")
    return DatasetMapping(
        contract,
        {str(name): _camera(entry, f"mapping.cameras.{name}") for name, entry in cameras.items()},
        _values(data.get("state"), "mapping.state"),
        _values(data.get("action"), "mapping.action"),
        resample,
    )


def _camera(entry: Any, where: str) -> CameraSource:
    if isinstance(entry, str):
        return CameraSource(entry)
    _keys(entry, where, ("from", "rotation"))
    name, rotation = entry.get("from"), entry.get("rotation", 0)
    _require(isinstance(name, str), f"{where}.from", name, "the name of a camera")
    _require(
        type(rotation) is int and rotation in ROTATIONS,
        f"{where}.rotation",
        rotation,
        f"one of {list(ROTATIONS)}",
    )
    return CameraSource(name, rotation)


def _values(entry: Any, where: str) -> dict[str, ValueSource] | str | None:
    if entry is None or isinstance(entry, str):
        return entry
    _require(isinstance(entry, dict) and entry, where, entry, "a column, or a mapping of our names")
    return {str(name): _value(value, f"{where}.{name}") for name, value in entry.items()}


def _value(entry: Any, where: str) -> ValueSource:
    if isinstance(entry, str):
        return ValueSource(*_source(entry, where))
    _keys(entry, where, ("from", "unit", "factor", "offset", "open", "closed"))
    column, which = _source(entry.get("from"), f"{where}.from")
    unit = entry.get("unit")
    unit = str(unit) if unit is not None else None  # a bare 1 is a number in YAML
    _require(unit is None or unit in UNIT_FACTORS, f"{where}.unit", unit, f"one of {list(UNIT_FACTORS)}")
    numbers = {}
    for name in ("factor", "offset", "open", "closed"):
        if name in entry:
            value = entry[name]
            _require(is_finite(value), f"{where}.{name}", value, "a finite number")
            numbers[name] = float(value)
    _require(numbers.get("factor") != 0, f"{where}.factor", 0, "another number than 0")
    if "open" in numbers or "closed" in numbers:
        _require("open" in numbers and "closed" in numbers, where, sorted(numbers), "both open and closed")
        _require(
            numbers["open"] != numbers["closed"],
            f"{where}.open", numbers["open"], "another value than 'closed'",
        )  # fmt: skip
        others = [name for name in ("unit", "factor", "offset") if name in entry]
        _require(not others, where, others, "only 'from' beside open and closed")
    return ValueSource(column, which, unit, **numbers)


def _source(text: Any, where: str) -> tuple[str, str | int | None]:
    found = _SOURCE.match(text) if isinstance(text, str) else None
    _require(found is not None, where, text, "COLUMN, COLUMN[NAME] or COLUMN[PLACE]")
    which = found["which"]
    place = which is not None and len(which) < 10 and which.isdecimal()
    return found["column"], int(which) if place else which


def _keys(value: Any, where: str, allowed: tuple[str, ...]) -> None:
    _require(isinstance(value, dict), where, value, "a mapping")
    unknown = [key for key in value if key not in allowed]
    _require(not unknown, where, unknown, f"only these keys: {', '.join(allowed)}")


def _require(ok: bool, where: str, value: Any, allowed: str) -> None:
    if not ok:
        raise MappingError(f"{where} = {short(value)}: allowed is {allowed}")


def dimension_names(feature: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of a feature's values, given as a list or as one list per group; None if it has none."""
    names = feature.get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() if isinstance(group, list) for name in group]
    if not isinstance(names, list) or len(names) != math.prod(feature["shape"]):
        return None
    return tuple(str(name) for name in names)
