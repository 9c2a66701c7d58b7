"""Mapping files: under which names and units a data set by others shows what a contract asks for.

A mapping is YAML. All keys but `schema` may be left out:

    schema: 1
    contract: cr5                         # shipped name, or a file beside this one
    resample: true                        # rows at the contract's rate, where the data has another
    cameras:
      third_view: top                     # contract's name: the data set's
      gripper: {from: wrist, rotation: 180}
    state: observation.state              # the whole column, in this order; or value by value:
    action:
      joint1: action[joint_0]             # contract's name: COLUMN[NAME or place]
      joint2: {from: "action[1]", unit: deg}
      gripper: {from: "action[6]", open: 0, closed: 100}

A stored value becomes `offset + factor * value`, after its unit was turned into rad, m or a ratio.
`open` and `closed` are the stored values of an open and a closed gripper; they become those of the contract.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
)
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from vla_adapter_ros.contract.camera import Turn
from vla_adapter_ros.errors import MappingError
from vla_adapter_ros.paths import expand, locate
from vla_adapter_ros.settings import CHECKED, Number, Text, describe_errors, join_errors
from vla_adapter_ros.untrusted import NAME_RULE, is_name, read_yaml, short

SCHEMA: Final = 1
UNIT_FACTORS = {  # unit of the data set -> (factor, unit in contracts)
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
_SOURCE = re.compile(r"^(?P<column>[^\[\]]+?)(\[(?P<which>[^\[\]]+)\])?$")
_CHECKED: ConfigDict = {**CHECKED, "populate_by_name": True}


def _source(text: str) -> str:
    if _SOURCE.match(text) is None:
        raise PydanticCustomError("source", "COLUMN, COLUMN[NAME] or COLUMN[PLACE]")
    return text


def _unit(text: str) -> str:
    if text not in UNIT_FACTORS:
        raise PydanticCustomError("unit", f"one of {list(UNIT_FACTORS)}")
    return text


def _not_zero(value: float) -> float:
    if value == 0:
        raise PydanticCustomError("zero", "another number than 0")
    return value


def _spelled_out(entry: Any) -> Any:
    """An entry with all its keys: `top` is short for `{from: top}`."""
    if isinstance(entry, str):
        return {"from": entry}
    if not isinstance(entry, (dict, CameraSource, ValueSource)):
        raise PydanticCustomError("source", "a text, or a mapping with the key 'from'")
    return entry


def _texts(value: Any) -> Any:
    """A mapping with texts for keys; a bare 1 is a number in YAML."""
    return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else value


Source = Annotated[Text, AfterValidator(_source)]
SourceUnit = Annotated[
    Text, BeforeValidator(lambda unit: str(unit) if isinstance(unit, int) else unit), AfterValidator(_unit)
]


@dataclass(frozen=True, config=_CHECKED)
class CameraSource:
    """A camera of the data set.

    Attributes:
        name: Its name there; `from` in the file.
        rotation: The counter-clockwise turn [degrees] that makes its images those of the contract.
    """

    name: Text = Field(alias="from")
    rotation: Turn = 0


@dataclass(frozen=True, config=_CHECKED)
class ValueSource:
    """One value: where it stands in the data set, and how it becomes the contract's.

    Attributes:
        source: COLUMN, COLUMN[NAME] or COLUMN[PLACE]; `from` in the file.
        unit: Unit of the data set, a key of `UNIT_FACTORS`; None where nothing is to be converted.
        factor, offset: Applied after the unit.
        open, closed: Stored values of an open and a closed gripper, or both None.
    """

    source: Source = Field(alias="from")
    unit: SourceUnit | None = None
    factor: Annotated[Number, AfterValidator(_not_zero)] = 1.0
    offset: Number = 0.0
    open: Number | None = None
    closed: Number | None = None

    @property
    def column(self) -> str:
        """Feature of the data set."""
        return _SOURCE.sub(r"\g<column>", self.source)

    @property
    def which(self) -> str | int | None:
        """Name or place within the column; None for a column of one value."""
        found = _SOURCE.match(self.source)
        which = None if found is None else found["which"]
        if which is not None and len(which) < 10 and which.isdecimal():
            return int(which)
        return which


def _values_schema(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Values by name are checked, a text is a column; a union would name its kinds in every message."""
    values = handler.generate_schema(
        Annotated[dict[str, _Value], BeforeValidator(_texts), Field(min_length=1)]
    )
    return core_schema.no_info_wrap_validator_function(_column_or_values, values)


def _column_or_values(value: Any, values: ValidatorFunctionWrapHandler) -> Any:
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("values", "a column, or a mapping of the contract's names")
    return values(value)


_Camera = Annotated[CameraSource, BeforeValidator(_spelled_out)]
_Value = Annotated[ValueSource, BeforeValidator(_spelled_out)]
Values = Annotated[dict[str, ValueSource] | str | None, GetPydanticSchema(_values_schema)]


@dataclass(frozen=True, config=_CHECKED)
class DatasetMapping:
    """Content of a mapping file.

    Attributes:
        schema: Of the file.
        contract: Shipped name or absolute path; empty: the mapping names none.
        resample: Whether rows are shown at the contract's rate.
        cameras: Name in the contract -> camera of the data set; empty: all as they are.
        state, action: Name in the contract -> source; or a column, all of it in its own order; or None: the
            column of the contract's name.
    """

    schema: Literal[1] = SCHEMA
    contract: Text = ""
    cameras: Annotated[dict[str, _Camera], BeforeValidator(_texts)] = field(default_factory=dict)
    state: Values = None
    action: Values = None
    resample: Annotated[bool, Field(strict=True)] = False


_MAPPING = TypeAdapter(DatasetMapping)


def read_mapping(path: str | Path) -> DatasetMapping:
    """Read a mapping file.

    Raises:
        MappingError: no such file, bad YAML, or values that are not allowed: all of them, a line each.
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
        MappingError: names the key, the value and what is allowed; with several errors, in a line each.
    """
    if isinstance(data, dict) and "schema" not in data:
        data = data | {"schema": None}
    try:
        mapping = _MAPPING.validate_python(data)
    except ValidationError as error:
        raise MappingError(join_errors(describe_errors(error, DatasetMapping, "mapping"))) from None
    if broken := _broken_rules(mapping):
        raise MappingError(join_errors(broken))
    if not mapping.contract.endswith((".yaml", ".yml")):
        return mapping
    return dataclasses.replace(mapping, contract=str(locate(folder / expand(mapping.contract))))


def _broken_rules(mapping: DatasetMapping) -> list[str]:
    """What is wrong though each value alone is allowed, one line each."""
    broken = [
        f"mapping.cameras = {short(name)}: allowed is {NAME_RULE}"
        for name in mapping.cameras
        if not is_name(name)
    ]
    for part, values in (("state", mapping.state), ("action", mapping.action)):
        for name, value in values.items() if isinstance(values, dict) else ():
            if why := _gripper_fault(value):
                broken.append(f"mapping.{part}.{name}{why}")
    return broken


def _gripper_fault(value: ValueSource) -> str:
    """What is wrong with `open` and `closed`; empty if nothing is."""
    if value.open is None and value.closed is None:
        return ""
    if value.open is None or value.closed is None:
        given = "closed" if value.open is None else "open"
        return f" = {given!r} alone: allowed are both open and closed"
    if value.open == value.closed:
        return f".open = {value.open:g}: allowed is another value than 'closed'"
    others = [
        name
        for name, usual in (("unit", None), ("factor", 1.0), ("offset", 0.0))
        if getattr(value, name) != usual
    ]
    return f" = {others}: allowed is only 'from' beside open and closed" if others else ""


def dimension_names(feature: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of a feature's values, given as a list or as one list per group; None if it has none."""
    names = feature.get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() if isinstance(group, list) for name in group]
    if not isinstance(names, list) or len(names) != math.prod(feature["shape"]):
        return None
    return tuple(str(name) for name in names)
