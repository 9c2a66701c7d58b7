"""Depth images as LeRobot 0.6 stores them: 12-bit codes, in a video that loses nothing.

Its quantizer and its defaults: code = 4095 (ln(d + shift) - ln(min + shift)) / (ln(max + shift) - ln(min +
shift)), d in meters, so that near things get finer steps, as sensors see them. At 1 m a step is 1.5 mm.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.observation.depth_images import LARGEST_MM
from vla_adapter_ros.untrusted import is_finite

CODES = 4096
_DEEP_GREY = re.compile(r"gray(9|1\d|f?32)")
CODEC, PIXEL_FORMAT, UNIT = "hevc", "gray12le", "mm"


@dataclass(frozen=True)
class DepthCoding:
    """How depth becomes codes: nearest, farthest and shift [m]; logarithmic, or linear without `use_log`."""

    depth_min: float = 0.01
    depth_max: float = 10.0
    shift: float = 3.5
    use_log: bool = True

    def encode(self, depth: np.ndarray) -> np.ndarray:
        """Codes, uint16 (H, W), of depth, uint16 (H, W) [mm]. What is nearer, farther or 0 gets the end's."""
        return _code_of_mm(self)[depth]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Depth, uint16 (H, W) [mm], of codes, uint16 (H, W), as LeRobot reads it: `depth_min` if unknown."""
        return self.levels[np.minimum(codes, CODES - 1)]

    @property
    def levels(self) -> np.ndarray:
        """Depth of each code, uint16 (4096,) [mm]."""
        return _mm_of_code(self)

    @property
    def info(self) -> dict[str, Any]:
        """What info.json says about it."""
        names = ("depth_min", "depth_max", "shift", "use_log")
        return {f"video.{name}": getattr(self, name) for name in names}


def is_depth(feature: Mapping[str, Any]) -> bool:
    """Whether a camera's feature holds depth: by LeRobot's mark, in its old places too, or by its pixels.

    Gray pixels of more than 8 bits are no image of colors, whatever the marks say.
    """
    notes = (feature.get("info"), feature.get("video_info"), feature)
    return any(_says_depth(note) for note in notes if isinstance(note, Mapping))


def _says_depth(note: Mapping[str, Any]) -> bool:
    marks = (note.get(name) for name in ("is_depth_map", "video.is_depth_map"))
    return holds_depth(str(note.get("video.pix_fmt"))) or any(
        mark and str(mark).lower() not in ("false", "0") for mark in marks
    )


def holds_depth(pixel_format: str) -> bool:
    """Whether pixels of a format, by FFmpeg's name, are too deep a gray for an image of colors."""
    return bool(_DEEP_GREY.match(pixel_format))


def coding_of(feature: Mapping[str, Any]) -> DepthCoding | None:
    """Coding of a depth video; None for colors, and for depth in another form, which cannot be read.

    Raises:
        DatasetError: numbers that are no coding.
    """
    info = feature.get("info") or {}
    if not is_depth(feature) or feature.get("dtype") != "video" or info.get("video.pix_fmt") != PIXEL_FORMAT:
        return None
    values = {
        name.removeprefix("video."): info.get(name, value) for name, value in DepthCoding().info.items()
    }
    near, far, shift = (values[name] for name in ("depth_min", "depth_max", "shift"))
    good = all(map(is_finite, (near, far, shift))) and 0 <= near < far < 1e3 and near + shift > 0
    if not good or not isinstance(values["use_log"], bool):
        raise DatasetError(
            f"depth coding {values}: allowed is 0 <= depth_min < depth_max, depth_min + shift > 0"
        )
    return DepthCoding(**values)


@functools.lru_cache(maxsize=4)
def _code_of_mm(coding: DepthCoding) -> np.ndarray:
    depth = np.clip(np.arange(LARGEST_MM + 1) / 1000, coding.depth_min, coding.depth_max)
    low, high = _scaled(np.array([coding.depth_min, coding.depth_max]), coding)
    return np.rint((CODES - 1) * (_scaled(depth, coding) - low) / (high - low)).astype(np.uint16)


@functools.lru_cache(maxsize=4)
def _mm_of_code(coding: DepthCoding) -> np.ndarray:
    low, high = _scaled(np.array([coding.depth_min, coding.depth_max]), coding)
    scaled = low + (high - low) * np.arange(CODES) / (CODES - 1)
    depth = np.exp(scaled) - coding.shift if coding.use_log else scaled
    return np.rint(np.clip(depth * 1000, 0, LARGEST_MM)).astype(np.uint16)


def _scaled(depth: np.ndarray, coding: DepthCoding) -> np.ndarray:
    return np.log(depth + coding.shift) if coding.use_log else depth
