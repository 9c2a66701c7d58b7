"""What info.json may say: checked once, so that nobody who uses it meets a wrong type, name or path.

Its features come back in one form: names as a flat list, cameras as height, width, channels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import NAME_RULE, check_template, is_finite, is_name, short

DATA_FIELDS = ("chunk_index", "file_index", "episode_chunk", "episode_index")
VIDEO_FIELDS = ("video_key", *DATA_FIELDS)
LARGEST_IMAGE, LARGEST_VALUE = 16384, 1_000_000  # side [px]; numbers in one cell of a column
_NUMBERS = ("float", "int", "uint", "bool")
_AXES = ("height", "width", "channels")
_AXIS_OF = {"height": "height", "h": "height", "rows": "height", "width": "width", "w": "width",
            "columns": "width", "channels": "channels", "channel": "channels", "c": "channels",
            "rgb": "channels"}  # fmt: skip
_CHANNELS = (1, 3, 4)
_COUNTS = ("total_episodes", "total_frames", "total_tasks", "chunks_size")


def is_numeric(feature: dict[str, Any]) -> bool:
    """Whether a feature is a column of numbers."""
    return bool(feature["dtype"].startswith(_NUMBERS))


def check_info(info: dict[str, Any], path: Path) -> dict[str, Any]:
    """Give the content of info.json back, its features in their usual form, or refuse it.

    Args:
        info: What the file holds.
        path: The file, for the message.

    Raises:
        DatasetError: a key is missing, or a value has another type, size or form than is allowed.
    """
    features, fps = info.get("features"), info.get("fps")
    if not isinstance(features, dict) or not features:
        raise _refusal(path, "features", features, "a mapping with entries")
    if fps is None or not is_finite(fps) or not 0 < fps <= 1000:
        raise _refusal(path, "fps", fps, "a number above 0, at most 1000")
    for key in _COUNTS:
        value = info.get(key, 1)
        if type(value) is not int or not (1 if key == "chunks_size" else 0) <= value < 10**12:
            raise _refusal(path, key, value, "a whole number")
    for name, feature in features.items():
        if not is_name(name):
            raise _refusal(path, "the name of a feature", name, NAME_RULE)
        _check_feature(name, feature, path)
    try:
        check_template(info.get("data_path"), DATA_FIELDS, f"{path}: data_path")
        if any(feature["dtype"] == "video" for feature in features.values()):
            check_template(info.get("video_path"), VIDEO_FIELDS, f"{path}: video_path")
        json.dumps(info, allow_nan=False)
    except ValueError as error:
        raise DatasetError(str(error) if "_path" in str(error) else f"{path}: {error}") from None
    return info | {"features": {name: _usual(feature) for name, feature in features.items()}}


def _refusal(path: Path, key: str, value: Any, allowed: str) -> DatasetError:
    return DatasetError(f"{path}: {key} = {short(value)}: allowed is {allowed}")


def _check_feature(name: str, feature: Any, path: Path) -> None:
    if not isinstance(feature, dict):
        raise _refusal(path, f"features.{name}", feature, "a mapping")
    kind, shape = feature.get("dtype"), feature.get("shape")
    if not isinstance(kind, str):
        raise _refusal(path, f"features.{name}.dtype", kind, "a text such as float32 or video")
    camera = kind in ("video", "image")
    if camera or is_numeric(feature):
        largest = LARGEST_IMAGE if camera else LARGEST_VALUE
        sides = shape if isinstance(shape, list) else [None]
        good = all(type(side) is int and 0 < side <= largest for side in sides)
        if not good or not (len(sides) == 3 if camera else len(sides) <= 8 and math.prod(sides) <= largest):
            sizes = "three" if camera else "up to eight"
            raise _refusal(
                path, f"features.{name}.shape", shape, f"a list of {sizes} whole numbers, 1 to {largest}"
            )
    names = feature.get("names")
    if names is not None and not all(isinstance(entry, (str, int, float)) for entry in _leaves(names)):
        raise _refusal(path, f"features.{name}.names", names, "null, a list of texts, or lists by group")
    note = feature.get("info")
    if note is not None and not isinstance(note, dict):
        raise _refusal(path, f"features.{name}.info", note, "a mapping, or no such key")


def _usual(feature: dict[str, Any]) -> dict[str, Any]:
    """A checked feature with a flat list of names or none; a camera's shape is height, width, channels."""
    names = feature.get("names")
    names = None if names is None else _flat(names)
    shown = feature | {"names": names}
    if feature["dtype"] in ("video", "image"):
        older = feature.get("video_info")  # an older name of it
        info = feature.get("info") or (older if isinstance(older, dict) else {})
        shown |= {"shape": _image_shape(feature["shape"], names, info), "names": list(_AXES), "info": info}
    return shown


def _leaves(names: Any) -> Iterator[Any]:
    """Texts and numbers in names, however deep they are nested in lists and groups."""
    if isinstance(names, (dict, list)):
        for entry in names.values() if isinstance(names, dict) else names:
            yield from _leaves(entry)
    else:
        yield names


def _flat(names: Any) -> list[str]:
    """Names in their order; a mapping from names to places, as some tools write it, is turned around."""
    if isinstance(names, dict) and all(type(place) in (int, float) for place in names.values()):
        if sorted(names.values()) == list(range(len(names))):
            return sorted(names, key=lambda name: names[name])
        return list(names)
    return [str(name) for name in _leaves(names)]


def _image_shape(shape: list[int], names: list[str] | None, info: dict[str, Any]) -> list[int]:
    """Height, width, channels of a shape in any order, by its names, its numbers and what its video says."""
    axes = [_AXIS_OF.get(str(name).lower()) for name in names or ()]
    order = axes if sorted(map(str, axes)) == sorted(_AXES) else list(_AXES)
    at = order.index("channels")
    if shape[at] not in _CHANNELS:  # the names have another order than the shape
        places = [place for place in (2, 0, 1) if shape[place] in _CHANNELS]
        at = places[0] if places else 2
    sides = [side for place, side in enumerate(shape) if place != at]
    height, width = sides if order.index("height") < order.index("width") else sides[::-1]
    if (info.get("video.height"), info.get("video.width")) == (width, height):
        height, width = width, height
    return [height, width, shape[at]]


def fill(
    info: Mapping[str, Any], kind: str, path: Path, numbers: Mapping[str, Any], video_key: str = ""
) -> str:
    """Path of a file by the template `data_path` or `video_path` of a checked info.json.

    Args:
        info: What the file holds.
        kind: Which template.
        path: Of info.json, for the message.
        numbers: What is known of the episode; `episode_chunk` and `file_index` follow from its number.
        video_key: Feature of the camera.

    Raises:
        DatasetError: the template asks for a number that is not known, or that is none.
    """
    known = dict(numbers)
    if type(number := numbers.get("episode_index")) is int:
        chunk, place = divmod(number, info.get("chunks_size", 1000))
        known = {"episode_chunk": chunk, "chunk_index": chunk, "file_index": place} | known
    for _, name, _, _ in Formatter().parse(info[kind]):
        if name is None or name == "video_key":
            continue
        value = known.get(name)
        if not (type(value) is int and 0 <= value < 10**9):
            has = [name for name, value in known.items() if value is not None]
            raise DatasetError(
                f"{path}: {kind} = {short(info[kind])}: {name} = {short(value)}: allowed is a whole number "
                f"from 0 on; known are {has}"
            )
    return str(info[kind].format(video_key=video_key, **known))


def names_of(feature: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    """Names of a checked feature's values; prefix and number where there are none."""
    names, width = feature.get("names"), math.prod(feature["shape"])
    if not isinstance(names, list) or len(names) != width:
        return tuple(f"{prefix}{n}" for n in range(width))
    return tuple(str(name) for name in names)


def image_size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width [px] of a camera's feature, as readers show it."""
    height, width = feature["shape"][:2]
    return int(height), int(width)
