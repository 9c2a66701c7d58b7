"""What info.json may say: checked once, so that nobody who uses it meets a wrong type, name or path."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import NAME_RULE, check_template, is_finite, is_name, short

DATA_FIELDS = ("chunk_index", "file_index", "episode_chunk", "episode_index")
VIDEO_FIELDS = ("video_key", *DATA_FIELDS)
LARGEST_IMAGE, LARGEST_VALUE = 16384, 1_000_000  # side [px]; numbers in one cell of a column
_NUMBERS = ("float", "int", "uint", "bool")
_COUNTS = ("total_episodes", "total_frames", "total_tasks", "chunks_size")


def is_numeric(feature: dict[str, Any]) -> bool:
    """Whether a feature is a column of numbers."""
    return feature["dtype"].startswith(_NUMBERS)


def check_info(info: dict[str, Any], path: Path) -> dict[str, Any]:
    """Give the content of info.json back, or refuse it.

    Args:
        info: What the file holds.
        path: The file, for the message.

    Raises:
        DatasetError: a key is missing, or a value has another type, size or form than is allowed.
    """

    def require(ok: bool, key: str, value: Any, allowed: str) -> None:
        if not ok:
            raise DatasetError(f"{path}: {key} = {short(value)}: allowed is {allowed}")

    features, fps = info.get("features"), info.get("fps")
    require(isinstance(features, dict) and len(features) > 0, "features", features, "a mapping with entries")
    require(is_finite(fps) and 0 < fps <= 1000, "fps", fps, "a number above 0, at most 1000")
    for key in _COUNTS:
        value = info.get(key, 1)
        good = type(value) is int and (value >= 1 if key == "chunks_size" else value >= 0)
        require(good and value < 10**12, key, value, "a whole number")
    for name, feature in features.items():
        require(is_name(name), "the name of a feature", name, NAME_RULE)
        _check_feature(name, feature, require)
    try:
        check_template(info.get("data_path"), DATA_FIELDS, f"{path}: data_path")
        if any(feature["dtype"] == "video" for feature in features.values()):
            check_template(info.get("video_path"), VIDEO_FIELDS, f"{path}: video_path")
        json.dumps(info, allow_nan=False)
    except ValueError as error:
        raise DatasetError(str(error) if "_path" in str(error) else f"{path}: {error}") from None
    return info


def _check_feature(name: str, feature: Any, require: Any) -> None:
    require(isinstance(feature, dict), f"features.{name}", feature, "a mapping")
    kind, shape = feature.get("dtype"), feature.get("shape")
    require(isinstance(kind, str), f"features.{name}.dtype", kind, "a text such as float32 or video")
    camera = kind in ("video", "image")
    if camera or is_numeric(feature):
        most = LARGEST_IMAGE if camera else LARGEST_VALUE
        good = isinstance(shape, list) and all(type(side) is int and 0 < side <= most for side in shape)
        good = good and (len(shape) == 3 if camera else len(shape) <= 8 and math.prod(shape) <= most)
        sizes = "three" if camera else "up to eight"
        require(good, f"features.{name}.shape", shape, f"a list of {sizes} whole numbers, 1 to {most}")
    names = feature.get("names")
    entries = [entry for group in names.values() for entry in (group if isinstance(group, list) else [])] if (
        isinstance(names, dict)
    ) else names  # fmt: skip
    good = entries is None or (
        isinstance(entries, list) and all(isinstance(entry, (str, int, float)) for entry in entries)
    )
    require(good, f"features.{name}.names", names, "null, a list of texts, or lists by group")
    note = feature.get("info", {})
    require(isinstance(note, dict), f"features.{name}.info", note, "a mapping, or no such key")


def fill(info: dict[str, Any], kind: str, **values: Any) -> str:
    """Path of a file by the template `data_path` or `video_path` of a checked info.json.

    Raises:
        DatasetError: the template asks for a number that the table has not, or that is none.
    """
    try:
        for name, value in values.items():
            if name != "video_key" and not (type(value) is int and 0 <= value < 10**9):
                raise DatasetError(f"{kind}: {name} = {short(value)}: allowed is a whole number from 0 on")
        return info[kind].format(**values)
    except (KeyError, ValueError) as error:
        raise DatasetError(
            f"{kind} = {short(info[kind])} asks for {error}; known are {list(values)}"
        ) from None


def names_of(feature: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    """Names of a feature's dimensions, however they are nested; prefix and number where there are none."""
    names: Any = feature.get("names")
    if isinstance(names, Mapping):
        names = [name for part in names.values() for name in (part if isinstance(part, Sequence) else [part])]
    width = int(feature["shape"][0])
    if not isinstance(names, Sequence) or len(names) != width:
        return tuple(f"{prefix}{n}" for n in range(width))
    return tuple(str(name) for name in names)
