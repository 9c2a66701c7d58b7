"""The tables of docs/how-to/cameras.md: what becomes of every encoding and format, asked of the code itself.

python test/unit/camera_page.py      prints them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from types import SimpleNamespace

import cv2
import numpy as np

from vla_adapter_ros.contract.encodings import PIXELS
from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.observation.depth_images import decode_depth
from vla_adapter_ros.observation.images import decode_image

_OPENCV = [f"{bits}{kind}C{n}" for bits, kinds in ((8, "US"), (16, "US"), (32, "SF"), (64, "F"))
           for kind in kinds for n in range(1, 5)]  # fmt: skip
_BAYER = [f"bayer_{pattern}{bits}" for bits in (8, 16) for pattern in ("rggb", "bggr", "gbrg", "grbg")]
ENCODINGS = (
    "rgb8", "rgba8", "rgb16", "rgba16", "bgr8", "bgra8", "bgr16", "bgra16", "mono8", "mono16",
    *_OPENCV, *_BAYER, "uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv21", "nv24", "nv12",
)  # fmt: skip
"""All of sensor_msgs/image_encodings.hpp, and nv12."""
FORMATS = (
    "jpeg", "png",
    "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", "yuv422; jpeg compressed bgr8",
    "mono8; jpeg compressed mono8", "mono8; jpeg compressed ", "yuv422; jpeg compressed mono8",
    "bayer_rggb8; jpeg compressed mono8", "16UC1; jpeg compressed mono8", "8UC3; jpeg compressed mono8",
    "rgb8; png compressed bgr8", "rgb16; png compressed bgr16", "mono8; png compressed ",
    "mono16; png compressed ", "bayer_rggb8; png compressed ", "8UC3; png compressed ",
    "16UC1; png compressed ", "rgb8; jpeg compressed rgb8", "rgb8; tiff compressed ",
    "32FC1; tiff compressed ", "16UC1; compressedDepth", "16UC1; compressedDepth png",
    "32FC1; compressedDepth png", "16UC1; compressedDepth rvl", "zstd",
)  # fmt: skip
"""What compressed_image_transport and its sisters write, and what others do."""


def raw_image(encoding: str) -> SimpleNamespace:
    """A gray image of 16 x 12 pixels that has more than enough data."""
    step = 16 * 32
    return SimpleNamespace(
        encoding=encoding, width=16, height=12, step=step, is_bigendian=0, data=bytes(2 * 12 * step)
    )


def compressed_image(format: str) -> SimpleNamespace:
    """A picture of 16 x 12 pixels, as its format says."""
    colors = ";" not in format or format.rstrip().endswith(("bgr8", "bgr16", "rgb8"))
    deep = format.startswith(("16UC1", "32FC1", "mono16; png")) or "16" in format.rpartition(" ")[2]
    values = np.zeros((12, 16, 3) if colors else (12, 16), np.uint16 if deep else np.uint8)
    data = cv2.imencode(
        ".jpg" if "jp" in format else ".png", values.astype(np.uint8) if "jp" in format else values
    )[1].tobytes()
    before = bytes(12) if "compressedDepth" in format else b""
    return SimpleNamespace(format=format, data=bytes(500) if format == "zstd" else before + data)


def outcome(message: SimpleNamespace, decode: Callable[[SimpleNamespace], np.ndarray]) -> str:
    """What becomes of an image: taken, or the end of the sentence that refuses it."""
    try:
        decode(message)
    except ImageError as error:
        name = message.format if hasattr(message, "format") else message.encoding
        words = str(error).replace(f"image encoding '{name}'", "").replace(f"compressed image '{name}'", "")
        words = words.replace(", ".join(PIXELS), "those that are taken").strip(" :")
        return f"refused: {words}"
    return "taken"


def table(first: str, names: tuple[str, ...], make: Callable[[str], SimpleNamespace]) -> Iterator[str]:
    """Lines of a table; neighbors of the same fate share one."""
    yield f"| {first} | from a camera | from a depth camera |"
    yield "|---|---|---|"
    fates = [
        (name, outcome(make(name), decode_image), outcome(make(name), decode_depth).partition(":")[0])
        for name in names
    ]
    for fate, group in groupby(fates, key=lambda entry: entry[1:]):
        which = ", ".join(f"`{name.strip()}`" for name, *_ in group)
        yield f"| {which} | {' | '.join(fate)} |"


def tables() -> str:
    """Both tables in Markdown."""
    lines = [*table("encoding of a raw image", ENCODINGS, raw_image), ""]
    lines += table("format of a compressed image", FORMATS, compressed_image)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tables(), end="")
