"""Checks of what a data set or a checkpoint says about itself: statistics, counts, splits, places, videos."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_ORDER = ("min", "q01", "q10", "q50", "q90", "q99", "max")
_SLACK = 1e-3  # part of a column's range by which its minimum and maximum may be off
_MEAN_SLACK = 0.01  # and its mean
_SUMMED = 4e-3  # part of a value by which its mean and std may be off: some tools add up in float32
_STD_SLACK = 0.05  # part of a std by which it may be off
_CODECS = {
    "mp4v": "mpeg4", "avc1": "h264", "libx264": "h264", "h265": "hevc", "libx265": "hevc",
    "libsvtav1": "av1", "libaom-av1": "av1", "libdav1d": "av1", "av01": "av1", "h264_nvenc": "h264",
}  # fmt: skip
"""Other names of codecs, as tools write them."""


@dataclass(frozen=True)
class ColumnSums:
    """Exact statistics of a column of width D: float64 (D,) each, and the number of rows."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    count: int

    @classmethod
    def of(cls, values: np.ndarray) -> ColumnSums:
        """Of the finite rows (N, D) of a column, N >= 1."""
        floats = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        return cls(
            floats.min(axis=0), floats.max(axis=0), floats.mean(axis=0), floats.std(axis=0), len(floats)
        )

    def joined(self, other: ColumnSums) -> ColumnSums:
        """Of the rows of both."""
        count = self.count + other.count
        mean = (self.mean * self.count + other.mean * other.count) / count
        square = sum(part.count * (part.std**2 + (part.mean - mean) ** 2) for part in (self, other)) / count
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return ColumnSums(low, high, mean, np.sqrt(square), count)


def order_faults(name: str, stored: Mapping[str, Any]) -> list[str]:
    """Statistics that contradict each other: min, quantiles and max in order, the mean inside, std from 0.

    Args:
        name: What they are of.
        stored: Statistic -> numbers, of any nesting; what is not there is not compared.
    """
    flats = {key: _flat(stored.get(key)) for key in (*_ORDER, "mean", "std")}
    known = {key: values for key, values in flats.items() if values is not None}
    if any(not np.isfinite(values).all() for values in known.values()):
        return [
            f"{name}: {', '.join(k for k, v in known.items() if not np.isfinite(v).all())} are not finite"
        ]
    if len({values.size for values in known.values()}) > 1:
        return [f"{name}: {', '.join(f'{k} has {v.size}' for k, v in known.items())} values"]
    faults = []
    order = [key for key in _ORDER if key in known]
    for lower, upper in itertools.pairwise(order):
        slack = 1e-6 + 1e-4 * np.abs(known[upper])
        if (known[lower] > known[upper] + slack).any():
            faults.append(f"{name}: {lower} is above {upper}")
    if {"min", "mean", "max"} <= known.keys():
        slack = 1e-6 + _SLACK * (known["max"] - known["min"]) + _SUMMED * np.abs(known["max"])
        if ((known["mean"] < known["min"] - slack) | (known["mean"] > known["max"] + slack)).any():
            faults.append(f"{name}: the mean is not between min and max")
    if "std" in known and (known["std"] < 0).any():
        faults.append(f"{name}: std is below 0")
    return faults


def statistics_faults(name: str, stored: Mapping[str, Any], true: ColumnSums) -> list[str]:
    """Statistics that are missing, contradict each other, or are not those of the rows.

    Quantiles are compared with each other only: many tools average those of episodes.
    """
    said: dict[str, np.ndarray] = {}
    for key in ("min", "max", "mean", "std"):
        flat = _flat(stored.get(key))
        if flat is None or flat.size != true.low.size or not np.isfinite(flat).all():
            return [f"{name}/{key} is missing or not finite"]
        said[key] = flat
    faults = order_faults(name, stored)
    span = np.maximum(true.high - true.low, 1e-6)
    size = np.maximum(np.abs(true.low), np.abs(true.high))
    std_slack = true.std * (_STD_SLACK + 1.0 / true.count) + _SLACK * span
    for key, values, slack in (
        ("min", true.low, _SLACK * span + 1e-6 * size),
        ("max", true.high, _SLACK * span + 1e-6 * size),
        ("mean", true.mean, _MEAN_SLACK * span + _SUMMED * size),
        ("std", true.std, std_slack + _SUMMED * size),
    ):
        off = np.abs(said[key] - values)
        if (off > slack).any():
            n = int((off - slack).argmax())
            faults.append(
                f"{name}/{key} is not that of the rows: value {n} is {said[key][n]:.4g}, not {values[n]:.4g}"
            )
    count = _flat(stored.get("count"))
    if count is not None and count.size and int(count[0]) != true.count:
        faults.append(f"{name}/count is {int(count[0])}, there are {true.count} rows")
    return faults


def image_statistics_faults(name: str, stored: Mapping[str, Any], seen: float) -> list[str]:
    """Statistics of a color camera: in order, from 0 to 1, and about as bright as its images.

    Args:
        name: Of the camera.
        stored: Its statistics.
        seen: Mean level of the images that were looked at, 0 to 1.
    """
    faults = order_faults(name, stored)
    low, high, mean = (_flat(stored.get(key)) for key in ("min", "max", "mean"))
    if faults or low is None or high is None or mean is None:
        return faults
    if low.min() < -1e-6 or high.max() > 1 + 1e-6:
        return [f"{name}: {low.min():.4g} to {high.max():.4g}, allowed is 0 to 1"]
    off = abs(float(mean.mean()) - seen)
    return [f"{name}/mean is {mean.mean():.2f}, its images have {seen:.2f}"] if off > 0.2 else []


def split_faults(splits: Any, episodes: int) -> list[str]:
    """Splits of info.json, such as {"train": "0:5"}, against the number of episodes."""
    if splits is None:
        return []
    if not isinstance(splits, Mapping):
        return [f"info.json: splits = {str(splits)[:60]}: allowed is {{'train': '0:{episodes}'}}"]
    faults, named = [], set()
    for name, text in splits.items():
        first, colon, end = str(text).partition(":")
        good = colon and first.isdecimal() and end.isdecimal() and int(first) <= int(end) <= episodes
        if not good:
            faults.append(
                f"info.json: splits.{str(name)[:40]} = {str(text)[:40]!r}: there are episodes 0:{episodes}"
            )
        else:
            named |= set(range(int(first), int(end)))
    if not faults and splits and len(named) < episodes:
        faults.append(f"info.json: splits name {len(named)} of {episodes} episodes")
    return faults


@dataclass(frozen=True)
class VideoHeader:
    """What a video's header says: images, codec, rate [Hz] (0: unknown), width and height [px]."""

    frames: int
    codec: str
    rate: float
    width: int
    height: int


def video_faults(
    name: str, header: VideoHeader, said: Mapping[str, Any], size: Sequence[int], fps: float
) -> list[str]:
    """Codec, rate and size of a video against what info.json says of its camera.

    Args:
        name: Of the file.
        header: Of the file.
        said: `video.codec`, `video.fps` and so on, as far as they are there.
        size: Declared height and width [px].
        fps: Of the data set.
    """
    faults = []
    codec = said.get("video.codec", said.get("codec"))
    if isinstance(codec, str) and plain_codec(codec) != plain_codec(header.codec):
        faults.append(f"{name} is {header.codec}, info.json says {codec}")
    rate = said.get("video.fps", said.get("fps"))
    for what, value in (("video.fps", rate), ("fps", fps)):
        if (
            isinstance(value, (int, float))
            and header.rate > 0
            and abs(header.rate / max(value, 1e-9) - 1) > 0.01
        ):
            faults.append(
                f"{name} has {header.rate:.4g} images per second, {what} of info.json says {value:g}"
            )
            break
    if (header.height, header.width) != tuple(size):
        faults.append(f"{name} is {header.width}x{header.height}, info.json says {size[1]}x{size[0]}")
    return faults


def plain_codec(name: str) -> str:
    """One name for a codec that tools call differently."""
    return _CODECS.get(name.lower(), name.lower())


def _flat(values: Any) -> np.ndarray | None:
    """Numbers of any nesting as float64 (D,); None if they are none."""
    if values is None:
        return None
    try:
        flat = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        return None
    return flat if flat.size else None
