"""What the console shows of the robot's topics: pictures and curves, read only while somebody looks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
import simplejpeg
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, JointState

from vla_adapter_ros.console.curves import Curves, WantedRows
from vla_adapter_ros.console.live import LiveHub
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.camera import Camera
from vla_adapter_ros.contract.enums import Transport
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.msg import ActionChunk
from vla_adapter_ros.nodes.conversions import JointReader, action_of, chunk_of, seconds
from vla_adapter_ros.nodes.image_messages import decode_raw
from vla_adapter_ros.nodes.polling import Polling
from vla_adapter_ros.nodes.streams import IMAGE_TYPES, best_effort
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC
from vla_adapter_ros.observation.image_headers import picture_header
from vla_adapter_ros.observation.images import decode_image

QUALITY = 80
WIDEST = 1280  # [px]; larger pictures are made smaller for the pages
IDLE_S = 0.2  # between two looks whether somebody looks
LEFT_AFTER_S = 5.0  # without a page the topics are let go: a page that is loaded again needs them at once


class ConsoleStreams:
    """Reads the newest of every topic a few times per second, in a thread of its own.

    What nobody looks at is not read: a camera of 60 Hz, or joint states of 1 kHz, cost no more than slow
    ones.

    Args:
        node: In whose name the topics are heard.
        contract: Names the topics.
        hub: Gets the pictures.
        curves: Get the joints, the commands and the chunks.
        rate_hz: Readings per second, and so most pictures of each camera [Hz].
        watched: Whether anybody looks.
        report: Called with a stream and a sentence for what cannot be shown.
    """

    def __init__(
        self,
        node: Node,
        contract: Contract,
        hub: LiveHub,
        curves: Curves,
        rate_hz: float,
        watched: Callable[[], bool],
        report: Callable[[str, str], None],
    ) -> None:
        self._node, self._contract, self._hub, self._curves = node, contract, hub, curves
        self._period, self._watched, self._report = 1.0 / rate_hz, watched, report
        self.measured: dict[str, float] = {}
        """Newest position of each joint, as the contract calls it [rad or m]."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="console streams", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read nothing more."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        polling: Polling | None = None
        last_watched, due = -math.inf, 0.0
        while not self._ended.wait(max(due - time.monotonic(), 0.0)):
            began = time.monotonic()
            due = max(due, began - self._period) + (IDLE_S if polling is None else self._period)
            watched = self._watched()
            last_watched = began if watched else last_watched
            if polling is None and watched:
                polling = self._listen()
            elif polling is not None and began - last_watched > LEFT_AFTER_S:
                polling.destroy()
                polling = None
            if polling is not None:
                for _, handle, message in polling.read_messages(math.inf):
                    handle(message, 0.0)
        if polling is not None:
            polling.destroy()

    def _listen(self) -> Polling:
        polling, contract = Polling(self._node), self._contract

        def subscribe(kind: type, topic: str, what: str, take: Callable[[Any], None]) -> None:
            polling.subscribe(kind, topic, partial(self._take, what, take), best_effort(1))

        for name, camera in contract.cameras.items():
            show = partial(self._show, name, camera)
            subscribe(IMAGE_TYPES[camera.transport], camera.topic, contract.stream_title(name), show)
        for topic in contract.joint_state_topics:
            subscribe(JointState, topic, topic, partial(self._take_joints, JointReader(contract, topic)))
        subscribe(JointState, contract.action.topic, contract.action.topic, self._take_command)
        subscribe(ActionChunk, CHUNK_TOPIC, CHUNK_TOPIC, self._take_chunk)
        return polling

    def _take(self, what: str, take: Callable[[Any], None], message: Any, _: float) -> None:
        """Take a message, whatever it says: one that cannot be shown must not end the others."""
        try:
            take(message)
        except VlaAdapterError as error:
            self._report(what, str(error))
        except Exception as error:
            self._report(what, repr(error))

    def _show(self, name: str, camera: Camera, message: Any) -> None:
        if self._hub.watched:
            self._hub.put_picture(name, to_jpeg(message, camera))

    def _take_joints(self, reader: JointReader, message: JointState) -> None:
        self.measured.update(reader.positions(message))
        self._curves.add_measured(
            seconds(message.header.stamp), action_of_joints(self._contract, self.measured)
        )

    def _take_command(self, message: JointState) -> None:
        row = action_of(message, self._contract)
        self._curves.add_commanded(seconds(message.header.stamp), list(row))

    def _take_chunk(self, message: ActionChunk) -> None:
        if message.num_rows:
            start, rows = seconds(message.header.stamp), chunk_of(message).rows
            self._curves.add_chunk(WantedRows(message.sequence, start, message.rate_hz, rows))


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


def action_of_joints(contract: Contract, measured: Mapping[str, float]) -> list[float]:
    """The action that would mean where the joints are (A,); NaN where nothing measures a dimension.

    Args:
        contract: Of the robot.
        measured: Position by joint [rad or m].
    """
    grippers = {gripper.dimension: gripper for gripper in contract.grippers}
    values = []
    for dimension, joint in zip(contract.action.dimensions, contract.action_joints, strict=True):
        if (gripper := grippers.get(dimension.name)) is not None:
            values.append(gripper.value(gripper.opening(measured.get(gripper.joint, math.nan))))
        elif contract.action.space.is_delta:
            values.append(math.nan)
        else:
            values.append(measured.get(joint, math.nan) / dimension.scale)
    return values
