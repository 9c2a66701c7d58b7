"""What a verdict consists of: thresholds, samples, checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import is_finite, read_yaml, short

PASS, WARN, FAIL, SKIP = "pass", "warn", "fail", "skip"
LEVELS = (SKIP, PASS, WARN, FAIL)
"""From harmless to bad."""


def _limits(warn: float, fail: float, unit: str, text: str, *, below: bool = False) -> Any:
    return field(default=(warn, fail), metadata={"unit": unit, "text": text, "below": below})


def _number(default: float, unit: str, text: str) -> Any:
    return field(default=default, metadata={"unit": unit, "text": text})


@dataclass(frozen=True)
class VerdictSettings:
    """Thresholds (warn, fail) of each check, and the numbers that say what counts.

    A check warns if its number is above the first threshold and fails if it is above the second; below
    them for `dark_images` and `gripper_motion`. inf (or -inf) switches a level off. Units and meaning
    stand in each field's metadata; angles are in rad and lengths in m where a contract says so.
    """

    missing_values: tuple[float, float] = _limits(0.0, 0.0, "1", "share of rows with a value not finite")
    dropped_frames: tuple[float, float] = _limits(0.0, 0.05, "1", "share of frames that are not there")
    refused_images: tuple[float, float] = _limits(
        0.0, 0.05, "1", "images that could not be used, per row, worst camera"
    )
    repeated_frames: tuple[float, float] = _limits(
        0.05, 0.3, "1", "share of rows in motion whose image is that of the row before, worst camera"
    )
    rate_error: tuple[float, float] = _limits(0.02, 0.05, "1", "true rate against the nominal one")
    stream_age_p95: tuple[float, float] = _limits(
        1.0, 2.0, "periods", "95th percentile of a stream's age, worst stream"
    )
    stream_skew: tuple[float, float] = _limits(
        1.5, 3.0, "periods", "largest spread of the streams' ages within one row"
    )
    camera_lag: tuple[float, float] = _limits(
        0.75, math.inf, "periods", "age that a camera's images always have, in its own periods, worst camera"
    )
    frozen_camera: tuple[float, float] = _limits(
        0.5, 2.0, "s", "longest motion during which a camera's image does not change"
    )
    black_camera: tuple[float, float] = _limits(0.0, 0.05, "1", "share of black images, worst camera")
    dark_images: tuple[float, float] = _limits(
        35.0, 12.0, "levels of 255", "median brightness, darkest camera", below=True
    )
    saturated_images: tuple[float, float] = _limits(
        0.3, 0.7, "1", "median share of saturated values in an image, worst camera"
    )
    constant_joints: tuple[float, float] = _limits(0.5, 0.99, "1", "share of joints that never move")
    action_is_next_state: tuple[float, float] = _limits(
        0.5, 0.9, "1", "share of moving rows whose action is the same or the next row's state"
    )
    idle_head: tuple[float, float] = _limits(2.0, 10.0, "s", "time before anything moves")
    idle_tail: tuple[float, float] = _limits(2.0, 10.0, "s", "time after everything has stopped")
    state_limits: tuple[float, float] = _limits(
        0.0, 0.02, "1", "share of rows in which a joint is out of its range or too fast"
    )
    action_limits: tuple[float, float] = _limits(
        0.0, 0.1, "1", "share of rows that command a joint out of its range"
    )
    gripper_motion: tuple[float, float] = _limits(
        0.2,
        -math.inf,
        "1",
        "way of a gripper's command, as a share of open to closed; of several, the longest",
        below=True,
    )
    unled_rows: tuple[float, float] = _limits(
        0.5, 0.99, "1", "share of rows in which nobody led, human or policy"
    )
    still_range: float = _number(0.002, "rad, m", "a joint that stays within this never moves")
    idle_range: float = _number(0.005, "rad, m", "idle means within this of the first or last row")
    motion_speed: float = _number(0.1, "rad/s, m/s", "from this speed on a camera must see a change")
    black_level: float = _number(12.0, "levels of 255", "an image without a brighter block is black")
    lossy_change: float = _number(
        0.6, "levels of 255", "change of a block that a video codec makes by itself"
    )
    saturated_level: float = _number(250.0, "levels of 255", "a value from here on is saturated")
    position_slack: float = _number(0.01, "rad, m", "a joint may be this far out of its range")
    velocity_slack: float = _number(1.3, "1", "factor on velocity limits: sampled states jitter")

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if "below" not in f.metadata:
                good = is_finite(value) and value >= 0
                allowed = "a number, at least 0"
            else:
                good = isinstance(value, (tuple, list)) and len(value) == 2
                good = good and all(isinstance(v, (int, float)) and not math.isnan(v) for v in value)
                good = good and (value[0] >= value[1] if f.metadata["below"] else value[0] <= value[1])
                order = ">=" if f.metadata["below"] else "<="
                allowed = f"two numbers, warn {order} fail"
            if not good:
                raise ParameterError(f"verdict setting {f.name} = {value!r}: allowed is {allowed}")
            if "below" in f.metadata:
                object.__setattr__(self, f.name, (float(value[0]), float(value[1])))


def read_settings(source: str | Path | Mapping[str, Any]) -> VerdictSettings:
    """Settings from a YAML file or a mapping; what is not named keeps its default.

    Raises:
        ParameterError: no such file, an unknown name, or a value that is not allowed.
    """
    if isinstance(source, Mapping):
        given = dict(source)
    else:
        try:
            given = read_yaml(locate(source)) or {}
        except (OSError, ValueError) as error:
            raise ParameterError(f"verdict settings {source}: not readable: {error}") from error
    known = [f.name for f in fields(VerdictSettings)]
    unknown = [name for name in given if name not in known] if isinstance(given, dict) else [short(given)]
    if unknown:
        raise ParameterError(f"verdict settings {unknown}: allowed are {known}")
    return VerdictSettings(**given)


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        name: A field of `VerdictSettings`, or the name of a structural check.
        level: pass, warn, fail or skip.
        value: The number that was compared; NaN if there is none.
        text: The number in words and what is allowed, without a line break.
    """

    name: str
    level: str
    value: float
    text: str

    @property
    def line(self) -> str:
        """One line for people: level, name, text."""
        return f"{self.level} {self.name}: {self.text}"

    def as_json(self) -> dict[str, Any]:
        """Plain values; a number that is none becomes null."""
        value = self.value if math.isfinite(self.value) else None
        return {"name": self.name, "level": self.level, "value": value, "text": self.text}


@dataclass(frozen=True)
class Verdict:
    """All checks of an episode, or of whatever else was looked at."""

    checks: tuple[Check, ...]

    @property
    def level(self) -> str:
        """The worst level: pass, warn or fail."""
        return max((c.level for c in self.checks if c.level != SKIP), key=LEVELS.index, default=PASS)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per check."""
        return tuple(check.line for check in self.checks)

    @property
    def complaints(self) -> tuple[str, ...]:
        """The lines that warn or fail, failures first."""
        return tuple(c.line for level in (FAIL, WARN) for c in self.checks if c.level == level)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)


@dataclass(frozen=True)
class Samples:
    """What is known of an episode of T rows; None for what is not.

    Attributes:
        fps: Nominal rate [Hz].
        stamps: float64 (T,), when each row was captured [s].
        state: float64 (T, S); `state_names` has S names.
        action: float64 (T, A), scaled as recorded; `action_names` has A names.
        ages: float64 (T, N), age of each of the N `streams` [s].
        images: Camera -> float64 (M, 4), rows as of `measure_image`; M is T, or less where only some
            images were looked at (`every_image` False).
        lossy: The images went through a video codec.
        dropped: Frames that the recorder says it left out.
        refused: Camera -> how many of its images could not be used, and why the first could not.
        sources: int (T,), who led: 0 nobody, 1 a human, 2 the policy.
        periods: Camera -> time between its images [s]; inf, or no entry, where it was not measured.
        obstacle: Why nothing could move, as the controller said; empty: it did not.
    """

    fps: float
    state: np.ndarray
    action: np.ndarray
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    stamps: np.ndarray | None = None
    ages: np.ndarray | None = None
    streams: tuple[str, ...] = ()
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    every_image: bool = True
    lossy: bool = False
    dropped: int = 0
    refused: Mapping[str, tuple[int, str]] | None = None
    sources: np.ndarray | None = None
    periods: Mapping[str, float] = field(default_factory=dict)
    obstacle: str = ""


def grade(name: str, value: float, settings: VerdictSettings, what: str) -> Check:
    """Compare a number with the thresholds of a check; `what` says it in words."""
    (definition,) = (f for f in fields(settings) if f.name == name)
    warn, fail = getattr(settings, name)
    below = definition.metadata["below"]
    beyond = [value < limit if below else value > limit for limit in (warn, fail)]
    level = FAIL if beyond[1] else WARN if beyond[0] else PASS
    unit = "" if definition.metadata["unit"] == "1" else f" {definition.metadata['unit']}"
    side = "at least" if below else "at most"
    ending = "" if math.isinf(fail) else f", fails {'below' if below else 'above'} {fail:g}{unit}"
    return Check(name, level, value, f"{what}; allowed {side} {warn:g}{unit}{ending}")


def skip(name: str, why: str) -> Check:
    """A check that could not be made."""
    return Check(name, SKIP, math.nan, why)
