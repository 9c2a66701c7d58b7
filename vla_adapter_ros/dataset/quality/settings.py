"""Thresholds of the checks as a user may set them, and the comparison of a number with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vla_adapter_ros.dataset.quality.checks import BY_NAME, Check
from vla_adapter_ros.dataset.quality.findings import Finding, Level
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import is_finite, read_yaml, short


def _number(default: float, unit: str, text: str) -> Any:
    return field(default=default, metadata={"unit": unit, "text": text})


@dataclass(frozen=True)
class QualitySettings:
    """Numbers that say what counts, and thresholds that differ from those of the list.

    Units and meaning stand in each field's metadata; angles are in rad and lengths in m where a contract
    says so.

    Attributes:
        limits: Check -> (warn, fail), for checks whose thresholds are not those of the list.
    """

    still_range: float = _number(0.002, "rad, m", "a joint that stays within this never moves")
    idle_range: float = _number(0.005, "rad, m", "idle means within this of the first or last row")
    motion_speed: float = _number(0.1, "rad/s, m/s", "from this speed on a camera must see a change")
    black_level: float = _number(12.0, "levels of 255", "an image without a brighter block is black")
    lossy_change: float = _number(
        0.6, "levels of 255", "change of a block that a video codec makes by itself"
    )
    visible_change: float = _number(
        2.0, "levels of 255", "change of a block around a row from which on a repeated image can be told"
    )
    saturated_level: float = _number(250.0, "levels of 255", "a value from here on is saturated")
    chunk_rows: float = _number(8.0, "rows", "an episode with fewer is shorter than a chunk of actions")
    position_slack: float = _number(0.01, "rad, m", "a joint may be this far out of its range")
    velocity_slack: float = _number(1.3, "1", "factor on velocity limits: sampled states jitter")
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for f in number_fields():
            value = getattr(self, f.name)
            if not (is_finite(value) and value >= 0):
                raise ParameterError(f"verdict setting {f.name} = {value!r}: allowed is a number, at least 0")
        kept = {name: _pair(BY_NAME[name], value) for name, value in self.limits.items()}
        object.__setattr__(self, "limits", MappingProxyType(kept))

    def limits_of(self, name: str) -> tuple[float, float]:
        """Thresholds (warn, fail) of a check."""
        check = BY_NAME[name]
        return self.limits.get(name, (check.warn, check.fail))


def number_fields() -> tuple[Any, ...]:
    """Fields of the settings that are single numbers."""
    return tuple(f for f in fields(QualitySettings) if f.metadata)


def _pair(check: Check, value: Any) -> tuple[float, float]:
    good = isinstance(value, (tuple, list)) and len(value) == 2
    good = good and all(isinstance(v, (int, float)) and not math.isnan(v) for v in value)
    good = good and (value[0] >= value[1] if check.below else value[0] <= value[1])
    if not good:
        order = ">=" if check.below else "<="
        raise ParameterError(
            f"verdict setting {check.name} = {value!r}: allowed is two numbers, warn {order} fail"
        )
    return float(value[0]), float(value[1])


def read_settings(source: str | Path | Mapping[str, Any]) -> QualitySettings:
    """Settings from a YAML file or a mapping; what is not named keeps its default.

    Raises:
        ParameterError: no such file, an unknown name, or a value that is not allowed.
    """
    if isinstance(source, Mapping):
        given: Any = dict(source)
    else:
        try:
            given = read_yaml(locate(source)) or {}
        except (OSError, ValueError) as error:
            raise ParameterError(f"verdict settings {source}: not readable: {error}") from error
    numbers = [f.name for f in number_fields()]
    known = [*BY_NAME, *numbers]
    unknown = [name for name in given if name not in known] if isinstance(given, dict) else [short(given)]
    if unknown:
        raise ParameterError(f"verdict settings {unknown}: allowed are {known}")
    limits = {name: value for name, value in given.items() if name in BY_NAME}
    return QualitySettings(**{name: given[name] for name in numbers if name in given}, limits=limits)


def grade(
    name: str,
    value: float,
    settings: QualitySettings,
    what: str,
    *,
    episodes: tuple[int, ...] = (),
    least: Level = Level.PASS,
) -> Finding:
    """Compare a number with the thresholds of a check.

    Args:
        name: The check.
        value: Its number.
        settings: Thresholds.
        what: The number in words.
        episodes: Which are concerned.
        least: A level that it has at least, for what a number does not say.
    """
    check, (warn, fail) = BY_NAME[name], settings.limits_of(name)
    beyond = [value < limit if check.below else value > limit for limit in (warn, fail)]
    level = Level.FAIL if beyond[1] else Level.WARN if beyond[0] else Level.PASS
    unit = "" if check.unit == "1" else f" {check.unit}"
    side = "at least" if check.below else "at most"
    ending = "" if math.isinf(fail) else f", fails {'below' if check.below else 'above'} {fail:g}{unit}"
    level = max(level, least, key=lambda one: one.rank)
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
