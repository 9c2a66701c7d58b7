"""Pictures for the console: the newest image of each camera as JPEG, made only while somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import simplejpeg
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage

from vla_adapter_ros.console.live import LiveHub
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import Transport
from vla_adapter_ros.contract.schema import Camera
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes.image_messages import decode_raw
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.streams import IMAGE_TYPES, best_effort
from vla_adapter_ros.observation.image_headers import picture_header
from vla_adapter_ros.observation.images import decode_image

QUALITY = 80
WIDEST = 1280  # [px]; larger pictures are made smaller for the pages
IDLE_S = 0.2  # between two looks whether somebody looks


class CameraPictures:
    """Hears all color cameras of a contract.

    Messages stay bytes until a picture is due, so that a camera of 60 Hz costs no more than one of 15. A
    thread makes the pictures, the newest of each camera, once for all pages.

    Args:
        client: Hears the topics.
        contract: Names the cameras.
        hub: Gets the pictures.
        rate_hz: Most pictures per second of each camera [Hz].
        report: Called with a camera and a sentence for an image that cannot be shown.
    """

    def __init__(
        self,
        client: RosClient,
        contract: Contract,
        hub: LiveHub,
        rate_hz: float,
        report: Callable[[str, str], None],
    ) -> None:
        self._cameras, self._hub, self._period, self._report = contract.cameras, hub, 1.0 / rate_hz, report
        self._newest: dict[str, bytes] = {}
        self._due = dict.fromkeys(self._cameras, 0.0)
        self._news = threading.Event()
        self._ended = threading.Event()
        for name, camera in self._cameras.items():
            kind = IMAGE_TYPES[camera.transport]
            client.subscribe(kind, camera.topic, partial(self._hear, name), best_effort(1), raw=True)
        self._thread = threading.Thread(target=self._work, name="console pictures", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Make no more pictures."""
        self._ended.set()
        self._news.set()
        self._thread.join()

    def _hear(self, name: str, data: bytes) -> None:
        self._newest[name] = data
        self._news.set()

    def _work(self) -> None:
        while not self._ended.is_set():
            if not self._hub.watched:
                self._newest.clear()
                self._ended.wait(IDLE_S)
                continue
            self._news.wait(IDLE_S)
            self._news.clear()
            now = time.monotonic()
            waits = [self._due[name] - now for name in list(self._newest) if self._due[name] > now]
            for name in [name for name in list(self._newest) if self._due[name] <= now]:
                # A camera at 15.1 Hz is shown at its own rate, not at every second image.
                self._due[name] = max(self._due[name] + self._period, now)
                self._show(name, self._newest.pop(name))
            if waits:
                self._ended.wait(max(min(waits), 0.0))
                self._news.set()

    def _show(self, name: str, data: bytes) -> None:
        camera = self._cameras[name]
        try:
            self._hub.put_picture(
                name, to_jpeg(deserialize_message(data, IMAGE_TYPES[camera.transport]), camera)
            )
        except VlaAdapterError as error:
            self._report(name, str(error))
        except Exception as error:  # a message that cannot be read must not end the pictures
            self._report(name, repr(error))


def to_jpeg(message: object, camera: Camera) -> bytes:
    """An image as JPEG, turned as the contract says, at most WIDEST px wide.

    Args:
        message: `sensor_msgs/Image` or `CompressedImage`.
        camera: What the contract says of it.

    Raises:
        ImageError: see `decode_image`.
    """
    if (
        camera.transport is Transport.COMPRESSED
        and camera.rotation == 0
        and isinstance(message, CompressedImage)
    ):
        data = bytes(message.data)
        header = picture_header(data)
        if header.kind == "JPEG" and header.width <= WIDEST:
            return data
    image = decode_image(message, camera.rotation, encoding=camera.encoding, decode_raw=decode_raw)
    if image.shape[1] > WIDEST:
        size = WIDEST, max(round(image.shape[0] * WIDEST / image.shape[1]), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=QUALITY, colorsubsampling="420"))
