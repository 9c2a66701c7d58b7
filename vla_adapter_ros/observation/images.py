"""Images of messages to arrays, through OpenCV.

Only the fields of a message are used, so that it may come from ROS or from a bag reader. Nothing that a
message says is believed before it is compared with the data: whatever does not fit is an `ImageError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import simplejpeg

from vla_adapter_ros.contract.encodings import (
    LAYOUTS,
    PIXELS,
    PLANAR,
    meaning_of,
    require_as_said,
    says_grey,
    shortened,
)
from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.observation.fitting import can_fit, fit_image
from vla_adapter_ros.observation.image_headers import PictureHeader, picture_header

RawDecoder = Callable[[Any, str], np.ndarray]
"""Decodes a raw image that was checked, by an encoding: uint8 (H, W, 3) RGB."""
MAX_PIXELS = 40_000_000  # 8K has 33 million; what decodes one of unknown size asks for 120 MB at most
# OpenCV names Bayer patterns by the second row, second and third pixel: ROS rggb is OpenCV BG.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_TO_RGB: dict[str, int | None] = {
    "rgb": None,
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "mono": cv2.COLOR_GRAY2RGB,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
    **{f"bayer_{pattern}": conversion for pattern, conversion in _BAYER.items()},
}
CONVERSIONS: dict[str, int | None] = {
    name: _TO_RGB[name if name in _TO_RGB else name.removesuffix("16").removesuffix("8")] for name in PIXELS
}
"""Encoding -> OpenCV's conversion to RGB; None where it is RGB."""


def decode_image(
    message: Any,
    rotation: int = 0,
    size: tuple[int, int] | None = None,
    encoding: str = "",
    decode_raw: RawDecoder | None = None,
    fit: str = "",
) -> np.ndarray:
    """Decode a sensor_msgs Image or CompressedImage of a color camera.

    Args:
        message: Raw image, or compressed JPEG or PNG (it has a `format`).
        rotation: Counter-clockwise turn after decoding: 0, 90, 180 or 270 degrees.
        size: Width and height that are wanted, after the turn. An image of another size is not decoded:
            what comes is black and of its size, for a frame to say so, and takes no memory.
        fit: Crop or pad images of another size; empty: neither.
        encoding: What the contract says that raw images are; empty: what they say.
        decode_raw: Decodes a raw image that was checked, by an encoding; `decode_with_opencv` if None.

    Returns:
        uint8 (H, W, 3) RGB, contiguous if decoded. 16-bit values keep their upper byte.

    Raises:
        ImageError: an encoding or a format that is unknown or leaves the colors open, no pixels or too
            many, less data than the header says, or damaged data.
    """
    compressed = hasattr(message, "format")
    if compressed:
        says_grey(message.format)  # or refuses what is no picture, which its data would say less clearly
        data, header = _open_compressed(message)
        require_as_said(message.format, gray=header.gray, bits=header.bits)
        width, height = header.width, header.height
    else:
        encoding = meaning_of(message.encoding, encoding)
        width, height = raw_size(message, encoding)
    shape = (width, height) if rotation % 180 else (height, width)
    if size is not None and not can_fit(shape, size, fit):
        return np.broadcast_to(np.uint8(0), (*shape, 3))
    if (size is None or fit) and width * height > MAX_PIXELS:
        raise ImageError(f"image is {width}x{height}: allowed are at most {MAX_PIXELS} pixels")
    try:
        image = decode_picture(data) if compressed else (decode_raw or decode_with_opencv)(message, encoding)
    except ImageError:
        raise
    except Exception as error:  # OpenCV and cv_bridge have errors of their own
        what = f"compressed image '{message.format}'" if compressed else f"{message.encoding} image"
        raise ImageError(f"{width}x{height} {what} cannot be decoded: {_words(error)}") from error
    if image.shape != (height, width, 3):
        raise ImageError(f"image is {image.shape} decoded, allowed is the header's ({height}, {width}, 3)")
    image = turn(image, rotation)
    return image if size is None else fit_image(image, size, fit)


def turn(image: np.ndarray, rotation: int) -> np.ndarray:
    """Turn an image counter-clockwise by 0, 90, 180 or 270 degrees; the result is contiguous."""
    return np.ascontiguousarray(np.rot90(image, rotation // 90) if rotation else image)


def decode_with_opencv(message: Any, encoding: str) -> np.ndarray:
    """Decode a raw image that `raw_size` has checked, without cv_bridge; honors `step` and `is_bigendian`.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    width, height, step = message.width, message.height, message.step
    size, values = PIXELS[encoding]
    lines = height * 3 // 2 if encoding in PLANAR else height
    rows = np.frombuffer(message.data, np.uint8, lines * step).reshape(lines, step)
    pixels = rows[:, : width * values * size]
    if size == 2:
        levels = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2")
        pixels = (levels >> 8).astype(np.uint8)
    image = np.ascontiguousarray(pixels.reshape(lines, width, values))
    conversion = CONVERSIONS[encoding]
    return image if conversion is None else cv2.cvtColor(image, conversion)


def decode_picture(data: bytes) -> np.ndarray:
    """Decode a JPEG or PNG as it is stored: an orientation in its EXIF data is not followed.

    A JPEG that libjpeg warns about is damaged: its decoder goes on with what it makes of the rest, which
    may be wrong in half of the pixels. A PNG has checksums.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ImageError: neither of them, or damaged.
    """
    header = picture_header(data)
    image, why = None, "its data does not fit its checksums or its size"
    try:
        if header.kind == "JPEG":
            image = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
        else:
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (ValueError, cv2.error) as error:
        why = _words(error)
    if image is None:
        raise ImageError(f"{header.kind} of {len(data)} bytes is damaged: {why}")
    return image if header.kind == "JPEG" else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def raw_size(message: Any, encoding: str) -> tuple[int, int]:
    """Width and height of a raw image, once all that its header says fits its data.

    Args:
        message: A sensor_msgs Image.
        encoding: One of `LAYOUTS`, by which it is to be read.

    Raises:
        ImageError: a size that the encoding cannot have, less data than the header says.
    """
    width, height, step = message.width, message.height, message.step
    size, values = LAYOUTS[encoding]
    planar = encoding in PLANAR
    minimum = 3 if encoding.startswith("bayer") else 1  # of fewer, OpenCV makes black
    if width < minimum or height < minimum:
        raise ImageError(f"{encoding} image is {width}x{height}: allowed is {minimum}x{minimum} and more")
    if (values == 2 or planar) and width % 2:
        raise ImageError(f"{encoding} image is {width} pixels wide: allowed are even widths")
    if planar and height % 2:
        raise ImageError(f"{encoding} image is {height} pixels high: allowed are even heights")
    if size > 1 and message.is_bigendian not in (0, 1):
        raise ImageError(f"{encoding} image has is_bigendian = {message.is_bigendian}: allowed are 0 and 1")
    row, lines = width * values * size, height * 3 // 2 if planar else height
    if step < row or len(message.data) < lines * step:
        times = "1.5 x height x step" if planar else "height x step"
        raise ImageError(
            f"{width}x{height} {encoding} image has step {step} and {len(message.data)} bytes: "
            f"allowed are step >= {row} and >= {times} bytes"
        )
    return width, height


def _open_compressed(message: Any) -> tuple[bytes, PictureHeader]:
    """A compressed image's data and header."""
    if not len(message.data):
        raise ImageError(
            f"compressed image '{shortened(message.format)}' of 0 bytes is no readable JPEG or PNG: "
            "allowed are whole JPEG and PNG files"
        )
    data = memoryview(message.data).tobytes()
    return data, picture_header(data)


def _words(error: Exception) -> str:
    """An error of a library, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
