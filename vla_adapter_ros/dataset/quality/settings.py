"""Thresholds of the checks as a user may set them, and the comparison of a number with them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from vla_adapter_ros.dataset.quality.checks import BY_NAME, CHECKS, Check
from vla_adapter_ros.dataset.quality.findings import Finding, Level
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.settings import CHECKED, Number, describe_errors, join_errors
from vla_adapter_ros.untrusted import read_yaml


def _number(unit: str, meaning: str) -> Any:
    return Field(ge=0, description=meaning, json_schema_extra={"unit": unit})


@dataclass(frozen=True, config=CHECKED)
class QualityNumbers:
    """Numbers that say what counts as what.

    Each field carries its unit and its meaning. Angles are in rad and lengths in m where a contract says so.
    """

    still_range: Annotated[Number, _number("rad, m", "a joint that stays within this never moves")] = 0.002
    idle_range: Annotated[Number, _number("rad, m", "idle means within this of the first or last row")] = (
        0.005
    )
    motion_speed: Annotated[
        Number, _number("rad/s, m/s", "from this speed on a camera must see a change")
    ] = 0.1
    black_level: Annotated[Number, _number("levels of 255", "an image without a brighter block is black")] = (
        12.0
    )
    lossy_change: Annotated[
        Number, _number("levels of 255", "change of a block that a video codec makes by itself")
    ] = 0.6
    visible_change: Annotated[
        Number,
        _number("levels of 255", "change of a block around a row from which on a repeated image can be told"),
    ] = 2.0
    saturated_level: Annotated[Number, _number("levels of 255", "a value from here on is saturated")] = 250.0
    chunk_rows: Annotated[
        Number, _number("rows", "an episode with fewer is shorter than a chunk of actions")
    ] = 8.0
    position_slack: Annotated[Number, _number("rad, m", "a joint may be this far out of its range")] = 0.01
    velocity_slack: Annotated[Number, _number("1", "factor on velocity limits: sampled states jitter")] = 1.3


@dataclass(frozen=True, config=CHECKED)
class QualitySettings(QualityNumbers):
    """The numbers, and thresholds that differ from those of the list.

    Attributes:
        limits: Check -> (warn, fail), for checks whose thresholds are not those of the list.
    """

    limits: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def limits_of(self, name: str) -> tuple[float, float]:
        """Thresholds (warn, fail) of a check."""
        check = BY_NAME[name]
        return self.limits.get(name, (check.warn, check.fail))


DEFAULTS = QualitySettings()


def _ordered_pair(check: Check, value: Any) -> tuple[float, float]:
    good = isinstance(value, (tuple, list)) and len(value) == 2
    good = good and all(type(v) in (int, float) and not math.isnan(v) for v in value)
    if not (good and (value[0] >= value[1] if check.below else value[0] <= value[1])):
        order = ">=" if check.below else "<="
        raise PydanticCustomError("limits", "two numbers, warn {order} fail", {"order": order})
    return float(value[0]), float(value[1])


_PAIRS = {
    check.name: Annotated[tuple[float, float] | None, BeforeValidator(partial(_ordered_pair, check))]
    for check in CHECKS
}
_FILE: Any = dataclass(frozen=True, config=CHECKED)(
    type("QualityFile", (QualityNumbers,), {"__annotations__": _PAIRS, **dict.fromkeys(_PAIRS)})
)
"""What a file may say: the numbers, and [warn, fail] under the name of each check."""


def read_settings(source: str | Path | Mapping[str, Any]) -> QualitySettings:
    """Settings from a YAML file or a mapping; what is not named keeps its default.

    Raises:
        ParameterError: no such file, an unknown name, or a value that is not allowed: all, a line each.
    """
    where = ""
    if isinstance(source, Mapping):
        given: Any = dict(source)
    else:
        where = f"{source}: "
        try:
            given = read_yaml(locate(source)) or {}
        except (OSError, ValueError) as error:
            raise ParameterError(f"quality settings {source}: not readable: {error}") from error
    try:
        said = TypeAdapter(_FILE).validate_python(given)
    except ValidationError as error:
        raise ParameterError(where + join_errors(describe_errors(error, _FILE, "quality"))) from None
    numbers = {name: getattr(said, name) for name in QualityNumbers.__dataclass_fields__}
    limits = {check.name: getattr(said, check.name) for check in CHECKS}
    return QualitySettings(
        **numbers, limits={name: pair for name, pair in limits.items() if pair is not None}
    )


def grade(
    name: str,
    value: float,
    settings: QualitySettings,
    what: str,
    *,
    episodes: tuple[int, ...] = (),
    at_least: Level = Level.PASS,
) -> Finding:
    """Compare a number with the thresholds of a check.

    Args:
        name: The check.
        value: Its number.
        settings: Thresholds.
        what: The number in words.
        episodes: Which are concerned.
        at_least: A level that it has at least, for what a number does not say.
    """
    check, (warn, fail) = BY_NAME[name], settings.limits_of(name)
    beyond = [value < limit if check.below else value > limit for limit in (warn, fail)]
    level = Level.FAIL if beyond[1] else Level.WARN if beyond[0] else Level.PASS
    unit = "" if check.unit == "1" else f" {check.unit}"
    side = "at least" if check.below else "at most"
    ending = "" if math.isinf(fail) else f", fails {'below' if check.below else 'above'} {fail:g}{unit}"
    level = max(level, at_least, key=lambda one: one.rank)
    return Finding(name, level, value, f"{what}; allowed {side} {warn:g}{unit}{ending}", episodes)


def count_faults(
    name: str, faults: list[str], settings: QualitySettings, otherwise: str, *, episodes: tuple[int, ...] = ()
) -> Finding:
    """A check whose number is how many faults there are; they are named, or `otherwise` says what is good."""
    if not faults:
        return Finding(name, Level.PASS, 0.0, otherwise)
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    warn, fail = settings.limits_of(name)
    level = Level.FAIL if len(faults) > fail else Level.WARN if len(faults) > warn else Level.PASS
    return Finding(name, level, float(len(faults)), "; ".join(faults[:3]) + more, episodes)
