"""Messages of depth cameras to arrays in millimeters."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.contract.encodings import DEPTH, depth_codec, shortened
from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.observation.fitting import can_fit, fit_image
from vla_adapter_ros.observation.image_headers import picture_header
from vla_adapter_ros.observation.images import raw_size, turn

LARGEST_MM = 65535  # in 16 bits
_QUANTIZATION = struct.Struct("<iff")  # before the picture of compressedDepth: kind, a and b of a / (v - b)


def decode_depth(
    message: Any, rotation: int = 0, size: tuple[int, int] | None = None, fit: str = ""
) -> np.ndarray:
    """Decode a sensor_msgs Image or CompressedImage of a depth camera.

    Args:
        message: Raw 16UC1 [mm] or 32FC1 [m], or these as PNG or by compressed_depth_image_transport as PNG.
        rotation: Counter-clockwise turn after decoding: 0, 90, 180 or 270 degrees.
        size: Width and height that are wanted, after the turn; an image of another size comes empty.
        fit: Crop or pad images of another size; empty: neither.

    Returns:
        uint16 (H, W) [mm], contiguous if decoded. 0 where depth is unknown: not finite, negative, beyond
        65.535 m, or 0 already.

    Raises:
        ImageError: no depth, less data than the header says, or damaged data.
    """
    if hasattr(message, "format"):
        encoding, codec = depth_codec(message.format)
        data = memoryview(message.data).tobytes()
        skipped = _QUANTIZATION.size if codec == "compressedDepth" else 0
        header = picture_header(data[skipped:])
        if (header.kind, header.gray, header.bits) != ("PNG", True, 16):
            raise ImageError(
                f"compressed image '{shortened(message.format)}' holds a {header.kind} of {header.bits} "
                "bits: allowed is a gray PNG of 16 bits"
            )
        width, height = header.width, header.height
    elif message.encoding in DEPTH:
        encoding, data, skipped = message.encoding, b"", 0
        width, height = raw_size(message, encoding)
    else:
        raise ImageError(
            f"image encoding '{shortened(message.encoding)}' is no depth: "
            "allowed are 16UC1 [mm] and 32FC1 [m]"
        )
    shape = (width, height) if rotation % 180 else (height, width)
    if size is not None and not can_fit(shape, size, fit):
        return np.broadcast_to(np.uint16(0), shape)
    values = _decode_png(data[skipped:]) if data else _raw_values(message, encoding)
    if encoding == "32FC1":
        meters = _from_inverse(values, data) if skipped else values
        with np.errstate(invalid="ignore", over="ignore"):
            depth = np.rint(meters.astype(np.float64) * 1000)
            values = np.where((depth >= 0) & (depth <= LARGEST_MM), depth, 0).astype(np.uint16)
    values = turn(values, rotation)
    return values if size is None else fit_image(values, size, fit)


def _raw_values(message: Any, encoding: str) -> np.ndarray:
    """Values as they are sent, (H, W), of a message that `raw_size` has checked."""
    height, step = message.height, message.step
    rows = np.frombuffer(message.data, np.uint8, height * step).reshape(height, step)
    kind = np.dtype({"16UC1": "u2", "32FC1": "f4"}[encoding])
    pixels = np.ascontiguousarray(rows[:, : message.width * kind.itemsize])
    return pixels.view(kind.newbyteorder(">" if message.is_bigendian else "<")).astype(kind)


def _decode_png(data: bytes) -> np.ndarray:
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more than 2^30 pixels
        values = None
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        raise ImageError(
            f"PNG of {len(data)} bytes is damaged: its data does not fit its checksums or its size"
        )
    return values


def _from_inverse(values: np.ndarray, data: bytes) -> np.ndarray:
    """Depth [m] of inverse depth, as compressed_depth_image_transport sends floats; NaN where unknown."""
    _, a, b = _QUANTIZATION.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(values > 0, a / (values.astype(np.float64) - b), np.nan)
