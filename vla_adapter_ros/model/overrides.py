"""Settings that a user may change when a checkpoint is opened: `preprocessing={...}`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vla_adapter_ros.errors import ModelConfigError
from vla_adapter_ros.model.config import VlaAdapterConfig
from vla_adapter_ros.model.config_enums import Resize, Scaling
from vla_adapter_ros.model.config_presets import OFFICIAL_PREPROCESSING
from vla_adapter_ros.model.official import Platform

IMAGE_COUNTS = (1, 2, 3)
_RANGES = tuple(kind for kind in Scaling if kind.is_range)
_SIZES = ("chunk", "action_dim", "proprio_dim")
_CONSTANTS = {**{name: name for name in _SIZES}, "normalization": "scaling"}
"""Constants of the published code that may have been edited before a training, and a platform's names."""
_KINDS = {
    "center_crop": "true (keep 0.9 of the area), false, or the fraction of the area that is kept",
    "jpeg_round_trip": "true or false",
    "rotate_180": "true or false",
    "resize": f"one of {Resize.words()}",
    "gripper_binarize": "true or false",
    "gripper_invert": "true or false",
    "gripper_columns": "a list of whole numbers: the columns of the grippers",
    "num_images": f"one of {list(IMAGE_COUNTS)}, for an official checkpoint only",
    "normalization": f"one of {[str(kind) for kind in _RANGES]}, for an official checkpoint only",
    **dict.fromkeys(_SIZES, "a whole number above 0, for an official checkpoint only"),
}
_OFFICIAL_ONLY = ("num_images", *_CONSTANTS)
OVERRIDES = tuple(_KINDS)


def override(
    config: VlaAdapterConfig, changes: Mapping[str, Any] | None, *, official: bool
) -> VlaAdapterConfig:
    """Change single settings; they become part of the configuration, and are saved with it.

    Args:
        config: The checkpoint's configuration.
        changes: Any of `OVERRIDES`; None or empty for none.
        official: Whether it is an official checkpoint, which does not store the number of images.

    Raises:
        ModelConfigError: an unknown key or a value that is not allowed.
    """
    changes = check_changes(changes, official=official)
    parts: dict[str, dict[str, Any]] = {"preprocessing": {}, "output": {}, "top": {}}
    for key, value in changes.items():
        if key in _CONSTANTS:  # see `edited`
            continue
        if key == "center_crop" and isinstance(value, bool):
            value = OFFICIAL_PREPROCESSING.center_crop if value else 1.0
        part = "top" if key == "num_images" else "output" if key.startswith("gripper_") else "preprocessing"
        made = {"center_crop": float, "gripper_columns": tuple}.get(key)
        parts[part][key] = made(value) if made else value
    return dataclasses.replace(
        config,
        preprocessing=dataclasses.replace(config.preprocessing, **parts["preprocessing"]),
        output=dataclasses.replace(config.output, **parts["output"]),
        **parts["top"],
    )


def check_changes(changes: Mapping[str, Any] | None, *, official: bool) -> Mapping[str, Any]:
    """The changes; arguments and errors as of `override`."""
    if changes is None:
        return {}
    if not isinstance(changes, Mapping):
        raise ModelConfigError(
            f"preprocessing = {changes!r}: a mapping with keys of {list(OVERRIDES)} is needed"
        )
    for key, value in changes.items():
        if key not in _KINDS:
            raise ModelConfigError(f"preprocessing key {key!r} is unknown: allowed are {list(OVERRIDES)}")
        if not _fits(key, value) or (key in _OFFICIAL_ONLY and not official):
            raise ModelConfigError(f"preprocessing.{key} = {value!r}: allowed is {_KINDS[key]}")
    return changes


def edited(platform: Platform, changes: Mapping[str, Any] | None) -> Platform:
    """A platform with other constants, for a checkpoint of code in which they were edited.

    Columns of grippers that its actions do not have are left out.

    Args:
        platform: As published.
        changes: Those of `override`; others than constants change nothing here.

    Raises:
        ModelConfigError: as `override`.
    """
    changes = check_changes(changes, official=True)
    given: dict[str, Any] = {own: changes[key] for key, own in _CONSTANTS.items() if key in changes}
    if "scaling" in given:
        given["scaling"] = Scaling(given["scaling"])
    width = given.get("action_dim", platform.action_dim)
    columns = tuple(column for column in platform.gripper_columns if column < width)
    return dataclasses.replace(platform, **given, gripper_columns=columns)


def _fits(key: str, value: Any) -> bool:
    if key == "resize":
        return value in Resize.words()
    if key == "normalization":
        return value in _RANGES
    if key in _SIZES:
        return type(value) is int and value > 0
    if key == "center_crop":
        return isinstance(value, bool | int | float)  # the range is the configuration's to check
    if key == "num_images":
        return type(value) is int and value in IMAGE_COUNTS
    if key == "gripper_columns":
        return isinstance(value, list | tuple) and all(type(column) is int for column in value)
    return type(value) is bool
