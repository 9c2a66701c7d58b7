"""Image messages to arrays: the one place where an image is decoded.

Through cv_bridge where the distribution has one that works with the installed
NumPy, else through OpenCV; both give the same array.
"""

from __future__ import annotations

import functools
import math
import sys
from array import array
from types import ModuleType

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

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
BRIDGED = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")  # what cv_bridge converts without guessing


def image_to_array(message: Image | CompressedImage, rotation: int = 0) -> np.ndarray:
    """Decode an image message.

    Args:
        message: Raw image of a usual encoding, or compressed JPEG or PNG.
        rotation: Counter-clockwise turn after decoding: 0, 90, 180 or 270 degrees.

    Returns:
        uint8 (H, W, 3) RGB, contiguous. 16-bit values keep their upper byte.

    Raises:
        ImageError: unknown encoding, less data than the header says, or damaged data.
    """
    image = decode_compressed(message) if isinstance(message, CompressedImage) else decode_raw(message)
    if rotation:
        image = np.rot90(image, rotation // 90)
    return np.ascontiguousarray(image)


def decode_raw(message: Image) -> np.ndarray:
    """Decode a raw image, uint8 (H, W, 3) RGB."""
    bridge = cv_bridge()
    if bridge is not None and message.encoding in BRIDGED:
        _check_size(message, *ENCODINGS[message.encoding][:2])
        return bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
    return decode_with_opencv(message)


def decode_with_opencv(message: Image) -> np.ndarray:
    """Decode a raw image without cv_bridge; honours `step` and `is_bigendian`."""
    if message.encoding not in ENCODINGS:
        raise ImageError(f"image encoding '{message.encoding}': allowed are {', '.join(ENCODINGS)}")
    size, channels, conversion = ENCODINGS[message.encoding]
    _check_size(message, size, channels)
    height, width, step = message.height, message.width, message.step
    rows = np.frombuffer(message.data, np.uint8, height * step).reshape(height, step)
    pixels = rows[:, : width * channels * size]
    if size == 2:
        values = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2")
        pixels = (values >> 8).astype(np.uint8)
    image = np.ascontiguousarray(pixels.reshape(height, width, channels))
    return image if conversion is None else cv2.cvtColor(image, conversion)


def decode_compressed(message: CompressedImage) -> np.ndarray:
    """Decode JPEG or PNG, uint8 (H, W, 3) RGB."""
    data = np.frombuffer(message.data, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ImageError(
            f"compressed image '{message.format}' of {len(data)} bytes is no readable JPEG or PNG"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def array_to_image(image: np.ndarray, frame_id: str) -> Image:
    """Build an rgb8 message from uint8 (H, W, 3) RGB; the caller sets the stamp."""
    message = Image()
    message.header.frame_id = frame_id
    message.height, message.width = image.shape[:2]
    message.encoding = "rgb8"
    message.is_bigendian = 0
    message.step = 3 * image.shape[1]
    # A list would take 30 ms; the setter takes an array('B') as it is.
    message.data = array("B")
    message.data.frombytes(memoryview(np.ascontiguousarray(image)).cast("B"))
    return message


def camera_info(image: Image, vertical_fov: float) -> CameraInfo:
    """Calibration of an ideal pinhole camera with square pixels that took `image`.

    Args:
        image: Its header and size are taken over.
        vertical_fov: Opening angle [rad].
    """
    info = CameraInfo(header=image.header, width=image.width, height=image.height)
    focal = image.height / 2 / math.tan(vertical_fov / 2)
    cx, cy = image.width / 2, image.height / 2
    info.distortion_model, info.d = "plumb_bob", [0.0] * 5
    info.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


@functools.cache
def cv_bridge() -> ModuleType | None:
    """The distribution's cv_bridge, or None if there is none that works with this NumPy."""
    try:
        import cv_bridge as module

        module.CvBridge().imgmsg_to_cv2(array_to_image(np.zeros((2, 2, 3), np.uint8), ""), "rgb8")
    except Exception as error:  # an ABI clash can surface as nearly anything
        if not isinstance(error, ImportError):
            print(f"cv_bridge does not work here ({error}); using OpenCV", file=sys.stderr)
        return None
    return module


def _check_size(message: Image, size: int, channels: int) -> None:
    least = message.width * channels * size
    if message.step < least or len(message.data) < message.height * message.step:
        raise ImageError(
            f"{message.width}x{message.height} {message.encoding} image has step {message.step} and "
            f"{len(message.data)} bytes: allowed are step >= {least} and >= height x step bytes"
        )
