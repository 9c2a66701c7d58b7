"""The tables of docs/cameras.md: what becomes of every encoding and format, asked of the code itself.

python test/unit/recording/camera_page.py      prints them
"""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np

from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.recording.images import decode_image

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
    """A grey image of 16 x 12 pixels that has more than enough data."""
    step = 16 * 32
    return SimpleNamespace(
        encoding=encoding, width=16, height=12, step=step, is_bigendian=0, data=bytes(2 * 12 * step)
    )


def compressed_image(format: str) -> SimpleNamespace:
    """A picture of 16 x 12 pixels as its format says."""
    target = format.rpartition(" compressed")[2].strip() if ";" in format else "bgr8"
    values = np.zeros((12, 16, 3) if target.startswith("bgr") else (12, 16), np.uint8)
    if target == "bgr16" or format.startswith("mono16; png"):
        values = values.astype(np.uint16)
    data = cv2.imencode(".jpg" if "jp" in format else ".png", values)[1].tobytes()
    return SimpleNamespace(format=format, data=bytes(500) if format in ("zstd", "tiff") else data)


def outcome(message: SimpleNamespace) -> str:
    """What becomes of an image: taken, or the sentence that refuses it."""
    try:
        decode_image(message)
    except ImageError as error:
        return f"refused: {error}"
    return "taken"


def tables() -> str:
    """Both tables in Markdown."""
    lines = ["| encoding of a raw image | from a colour camera |", "|---|---|"]
    lines += [f"| `{name}` | {outcome(raw_image(name))} |" for name in ENCODINGS]
    lines += ["", "| format of a compressed image | from a colour camera |", "|---|---|"]
    lines += [f"| `{name.strip()}` | {outcome(compressed_image(name))} |" for name in FORMATS]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tables(), end="")
