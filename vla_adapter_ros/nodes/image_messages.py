"""What ROS adds to images: cv_bridge to decode raw ones, and messages to be sent.

Where the distribution has no cv_bridge that works with the installed NumPy, OpenCV decodes; both give the
same array.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from array import array
from types import ModuleType

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from vla_adapter_ros.observation.images import decode_with_opencv

BRIDGED = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8")  # what cv_bridge converts without guessing


def decode_raw(message: Image, encoding: str) -> np.ndarray:
    """Decode a raw image that was checked, by an encoding: uint8 (H, W, 3) RGB."""
    bridge = cv_bridge()
    exact = len(message.data) == message.height * message.step  # it refuses further data
    if bridge is not None and exact and encoding == message.encoding and encoding in BRIDGED:
        image: np.ndarray = bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
        return image
    return decode_with_opencv(message, encoding)


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
    message.data.frombytes(np.ascontiguousarray(image).data.cast("B"))
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
        module = importlib.import_module("cv_bridge")
        module.CvBridge().imgmsg_to_cv2(array_to_image(np.zeros((2, 2, 3), np.uint8), ""), "rgb8")
    except Exception as error:  # an ABI clash can surface as nearly anything
        if not isinstance(error, ImportError):
            print(f"cv_bridge does not work here ({error}); using OpenCV", file=sys.stderr)
        return None
    return module
