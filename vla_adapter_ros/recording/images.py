"""Images of messages to arrays, through OpenCV.

Only the fields of a message are used, so that it may come from ROS or from a bag reader. Nothing that a
message says is believed before it is compared with the data: whatever does not fit is an `ImageError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.recording.image_headers import picture_size

MOST_PIXELS = 40_000_000  # 8K has 33 million; what decodes one of unknown size asks for 120 MB at most
# encoding -> (bytes per value, values per pixel, OpenCV conversion to RGB or None)
# OpenCV names Bayer patterns by the second row, second and third pixel: ROS rggb is OpenCV BG.
ENCODINGS: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (1, 3, None),
    "8UC3": (1, 3, None),
    "bgr8": (1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (2, 3, None),
    "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "mono16": (2, 1, cv2.COLOR_GRAY2RGB),
    "uyvy": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    "bayer_rggb8": (1, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, 1, cv2.COLOR_BayerGB2RGB),
}


def decode_image(
    message: Any, rotation: int = 0, size: tuple[int, int] | None = None, raw: Callable | None = None
) -> np.ndarray:
    """Decode a sensor_msgs Image or CompressedImage.

    Args:
        message: Raw image of a usual encoding, or compressed JPEG or PNG (it has a `format`).
        rotation: Counter-clockwise turn after decoding: 0, 90, 180 or 270 degrees.
        size: Width and height that are wanted, after the turn. An image of another size is not decoded:
            what comes is black and of its size, for a frame to say so, and takes no memory.
        raw: Decodes a raw image that was checked; `decode_with_opencv` if None.

    Returns:
        uint8 (H, W, 3) RGB, contiguous if decoded. 16-bit values keep their upper byte.

    Raises:
        ImageError: unknown encoding, no pixels or too many, less data than the header says, or damaged data.
    """
    compressed = hasattr(message, "format")
    width, height = _compressed_size(message) if compressed else raw_size(message)
    shape = (width, height) if rotation % 180 else (height, width)
    if size is not None and shape != size[::-1]:
        return np.broadcast_to(np.uint8(0), (*shape, 3))
    if size is None and width * height > MOST_PIXELS:
        raise ImageError(f"image is {width}x{height}: allowed are at most {MOST_PIXELS} pixels")
    try:
        image = decode_compressed(message) if compressed else (raw or decode_with_opencv)(message)
    except ImageError:
        raise
    except Exception as error:  # OpenCV and cv_bridge have errors of their own
        what = f"compressed image '{message.format}'" if compressed else f"{message.encoding} image"
        raise ImageError(f"{width}x{height} {what} cannot be decoded: {_words(error)}") from error
    if image.shape != (height, width, 3):
        raise ImageError(f"image is {image.shape} decoded, allowed is the header's ({height}, {width}, 3)")
    return turn(image, rotation)


def turn(image: np.ndarray, rotation: int) -> np.ndarray:
    """Turn an image counter-clockwise by 0, 90, 180 or 270 degrees; the result is contiguous."""
    return np.ascontiguousarray(np.rot90(image, rotation // 90) if rotation else image)


def decode_with_opencv(message: Any) -> np.ndarray:
    """Decode a raw image without cv_bridge; honours `step` and `is_bigendian`."""
    width, height = raw_size(message)
    size, channels, conversion = ENCODINGS[message.encoding]
    step = message.step
    rows = np.frombuffer(message.data, np.uint8, height * step).reshape(height, step)
    pixels = rows[:, : width * channels * size]
    if size == 2:
        values = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2")
        pixels = (values >> 8).astype(np.uint8)
    image = np.ascontiguousarray(pixels.reshape(height, width, channels))
    return image if conversion is None else cv2.cvtColor(image, conversion)


def decode_compressed(message: Any) -> np.ndarray:
    """Decode JPEG or PNG, uint8 (H, W, 3) RGB, as it is stored: an orientation in its EXIF data is not
    followed, the contract's `rotation` turns images."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(message.data, np.uint8), flags)
    if image is None:
        raise ImageError(
            f"compressed image '{_short(message.format)}' of {len(message.data)} bytes is no readable "
            "JPEG or PNG: its data is damaged"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def raw_size(message: Any) -> tuple[int, int]:
    """Width and height of a raw image, once all that its header says fits its data.

    Raises:
        ImageError: unknown encoding, a size that the encoding cannot have, less data than the header says.
    """
    encoding, width, height, step = message.encoding, message.width, message.height, message.step
    if encoding not in ENCODINGS:
        raise ImageError(f"image encoding '{_short(encoding)}': allowed are {', '.join(ENCODINGS)}")
    size, channels, _ = ENCODINGS[encoding]
    least = 3 if encoding.startswith("bayer") else 1  # of fewer, OpenCV makes black
    if width < least or height < least:
        raise ImageError(f"{encoding} image is {width}x{height}: allowed is {least}x{least} and more")
    if channels == 2 and width % 2:
        raise ImageError(f"{encoding} image is {width} pixels wide: allowed are even widths")
    if size == 2 and message.is_bigendian not in (0, 1):
        raise ImageError(f"{encoding} image has is_bigendian = {message.is_bigendian}: allowed are 0 and 1")
    row = width * channels * size
    if step < row or len(message.data) < height * step:
        raise ImageError(
            f"{width}x{height} {encoding} image has step {step} and {len(message.data)} bytes: "
            f"allowed are step >= {row} and >= height x step bytes"
        )
    return width, height


def _compressed_size(message: Any) -> tuple[int, int]:
    if not len(message.data):
        raise ImageError(
            f"compressed image '{_short(message.format)}' of 0 bytes is no readable JPEG or PNG: "
            "allowed are whole JPEG and PNG files"
        )
    return picture_size(memoryview(message.data).tobytes())


def _short(text: str) -> str:
    """What a stranger wrote, for a sentence."""
    return text if len(text) <= 40 else f"{text[:40]}..."


def _words(error: Exception) -> str:
    """An error of a library, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
