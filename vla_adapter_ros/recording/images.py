"""Images of messages to arrays, through OpenCV.

Only the fields of a message are used, so that it may come from ROS or from a bag reader.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.errors import ImageError

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


def decode_image(message: Any, rotation: int = 0) -> np.ndarray:
    """Decode a sensor_msgs Image or CompressedImage.

    Args:
        message: Raw image of a usual encoding, or compressed JPEG or PNG (it has a `format`).
        rotation: Counter-clockwise turn after decoding: 0, 90, 180 or 270 degrees.

    Returns:
        uint8 (H, W, 3) RGB, contiguous. 16-bit values keep their upper byte.

    Raises:
        ImageError: unknown encoding, less data than the header says, or damaged data.
    """
    image = decode_compressed(message) if hasattr(message, "format") else decode_with_opencv(message)
    return turn(image, rotation)


def turn(image: np.ndarray, rotation: int) -> np.ndarray:
    """Turn an image counter-clockwise by 0, 90, 180 or 270 degrees; the result is contiguous."""
    return np.ascontiguousarray(np.rot90(image, rotation // 90) if rotation else image)


def decode_with_opencv(message: Any) -> np.ndarray:
    """Decode a raw image without cv_bridge; honours `step` and `is_bigendian`."""
    if message.encoding not in ENCODINGS:
        raise ImageError(f"image encoding '{message.encoding}': allowed are {', '.join(ENCODINGS)}")
    size, channels, conversion = ENCODINGS[message.encoding]
    check_size(message, size, channels)
    height, width, step = message.height, message.width, message.step
    rows = np.frombuffer(message.data, np.uint8, height * step).reshape(height, step)
    pixels = rows[:, : width * channels * size]
    if size == 2:
        values = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2")
        pixels = (values >> 8).astype(np.uint8)
    image = np.ascontiguousarray(pixels.reshape(height, width, channels))
    return image if conversion is None else cv2.cvtColor(image, conversion)


def decode_compressed(message: Any) -> np.ndarray:
    """Decode JPEG or PNG, uint8 (H, W, 3) RGB."""
    data = np.frombuffer(message.data, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ImageError(
            f"compressed image '{message.format}' of {len(data)} bytes is no readable JPEG or PNG"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def check_size(message: Any, size: int, channels: int) -> None:
    """Raise ImageError if a raw image has less data than its header says."""
    least = message.width * channels * size
    if message.step < least or len(message.data) < message.height * message.step:
        raise ImageError(
            f"{message.width}x{message.height} {message.encoding} image has step {message.step} and "
            f"{len(message.data)} bytes: allowed are step >= {least} and >= height x step bytes"
        )
