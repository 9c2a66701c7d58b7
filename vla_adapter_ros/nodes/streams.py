"""Subscribes to everything that a contract names and feeds a frame builder."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes import said_once
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.graph_status import STREAM, stream_value
from vla_adapter_ros.nodes.image_messages import decode_raw
from vla_adapter_ros.nodes.polling import Polling
from vla_adapter_ros.nodes.stream_rates import StreamRates
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.messages import message_types

IMAGE_TYPES = {"raw": Image, "compressed": CompressedImage}
TOPIC_TYPES = {
    "joint_state": JointState,
    "pose": PoseStamped,
    "joint_trajectory": JointTrajectory,
    "float64_array": Float64MultiArray,
    "twist": TwistStamped,
    "wrench": WrenchStamped,
}
VALUE_DEPTH = 10  # messages without images that may wait for their callback
POLL_PERIOD_S = 0.02
DISCOVERY_S = 3.5  # on one machine nodes need up to 3 s to find each other
UNPUBLISHED = (
    " (no publisher is discovered: is it up, with this ROS_DOMAIN_ID and within the discovery range?)"
)
UNHEARD = " (published, but nothing arrives)"
UNSEEN = " (published, but nothing arrives: large images need fastdds_shm.xml where they are sent)"
# What may wait to be polled while the process gets no processor: a second of images, and of an arm at 1 kHz.
POLLED_IMAGES, POLLED_VALUES = 30, 1000


def best_effort(depth: int) -> QoSProfile:
    """Quality of a subscription that hears reliable and best-effort publishers alike.

    On an idle machine none of 15 000 joint states at 1 kHz was lost that way, polled every 20 ms and with
    stalls of 0.6 s. With all cores taken many are, but so they are by a reliable subscription: publishers
    keep few messages, and what waits here is bounded either way.
    """
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


class StreamSubscriber:
    """Subscriptions of a node to the streams of its contract; to be made in `configure`.

    A message that cannot be used is reported as a fault of the node, as long as
    such messages come, and dropped; it never ends the node.

    When polled, all that has come is read every POLL_PERIOD_S by a thread, in the order and with the times
    in which it came, however late the process gets to it: a frame is then what it would have been on an
    idle machine. It also costs less (see `polling`), which for joint states at some hundred hertz is more
    than for the images.

    Args:
        node: Configured node.
        on_samples: Called after a sample, or after each look if polled, with the time [s] up to which all
            is taken in.
        with_action: Whether frames need the command as well.
        polled: Whether to look at all streams at once instead of waiting for each message. For nodes that
            need everything, in real time; others get the newest of what waits, by a callback each.
        on_refused: Called with the camera and the reason for each image that cannot be used; it must not
            wait for anything, since nothing else comes in meanwhile.
        on_image: Called with the camera, the message and its receipt [s] of each image that can be used.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        on_samples: Callable[[float], None],
        *,
        with_action: bool,
        polled: bool = False,
        on_refused: Callable[[str, str], None] = lambda camera, why: None,
        on_image: Callable[[str, Any, float], None] = lambda camera, message, received: None,
    ) -> None:
        self._node, self._on_samples, self._with_action = node, on_samples, with_action
        self._on_refused, self._on_image = on_refused, on_image
        self.builder = ObservationBuilder(node.contract, with_action=with_action)
        """Stores the samples; a new one after each `start`."""
        self.images: dict[str, int] = dict.fromkeys(self.builder.cameras, 0)
        """Camera -> images received."""
        self._rates = StreamRates(self.builder.streams)
        self._started = -math.inf  # by the steady clock [s]
        self._refused: dict[str, tuple[str, float]] = {}  # stream -> why its newest message was, when
        self._order = threading.Lock()  # what one thread has found goes in before another looks
        self._polling = Polling(node) if polled else None
        if self._polling is not None:
            node.own(self._polling.destroy)
        quality = best_effort(POLLED_IMAGES if polled else qos_profile_sensor_data.depth)
        for name, camera in self.builder.cameras.items():
            self._subscribe(IMAGE_TYPES[camera.transport], camera.topic, name, self._add_image, quality)
        topics = message_types(node.contract, with_action=with_action)
        quality = best_effort(POLLED_VALUES if polled else VALUE_DEPTH)
        for topic, kind in topics.items():
            self._subscribe(TOPIC_TYPES[kind], topic, topic, self._add_values, quality)

    def start(self) -> ObservationBuilder:
        """Begin anew, to be called in `activate`: what came before counts no more. Returns the builder."""
        self.builder = ObservationBuilder(self._node.contract, with_action=self._with_action)
        self.images = dict.fromkeys(self.images, 0)
        self._rates = StreamRates(self.builder.streams)
        self._started = time.monotonic()
        self._refused.clear()
        if self._polling is not None:
            self._polling.discard()
            ended = threading.Event()
            thread = threading.Thread(target=self._poll_in_thread, args=(ended,), name="streams", daemon=True)

            def end() -> None:
                ended.set()
                thread.join()

            self._node.own(end)
            thread.start()
        return self.builder

    def poll(self) -> float:
        """Read what waits, if the streams are polled; returns the time up to which all is in [s]."""
        with self._order:
            now = self._node.now()
            if self._polling is not None:
                for received, handle, message in self._polling.read_messages(now):
                    handle(message, received)
        return now

    def obstacles(self, now: float) -> list[str]:
        """Why no good frame could be made at `now` [s], the first cause first; empty if one can."""
        return self._with_causes(self.builder.obstacles(now, self._why_silent), now)

    def issues(self, now: float) -> list[str]:
        """What keeps good frames from coming at `now` [s], in the order in which it began."""
        return self._with_causes(self.builder.issues(now, self._why_silent), now)

    def describe(self, now: float) -> dict[str, str]:
        """Rate and age of each stream at `now` [s], as values of /diagnostics."""
        title, rates = self._node.contract.stream_title, self._rates
        return {
            f"{STREAM}{title(stream)}": stream_value(rates.rate_hz(stream, now), age)
            for stream, age in self.builder.newest_ages(now).items()
        }

    def mismatches(self) -> list[str]:
        """Publishers of another type, whom polled streams cannot hear, in words."""
        return [] if self._polling is None else self._polling.mismatches()

    def problems(self, now: float, of_frame: str) -> list[str]:
        """What a node says of its inputs: the silent streams, else what its newest frame lacks.

        Without what was refused, which is a fault of the node already; and nothing in the first seconds, in
        which the publishers become known one by one.

        Args:
            now: Time [s].
            of_frame: What the newest frame lacks; empty: nothing.
        """
        if time.monotonic() - self._started < DISCOVERY_S:
            return []
        refused = self._refused_lately(now)
        return self._without_echoes(self.builder.issues(now, self._why_silent), refused) or [of_frame]

    def _why_silent(self, stream: str, heard: bool) -> str:
        """What ROS knows about a silent stream, as the end of a message."""
        cameras = self.builder.cameras
        topic = self._node.resolve_topic_name(cameras[stream].topic if stream in cameras else stream)
        if self._node.count_publishers(topic) == 0:
            return UNPUBLISHED
        if heard or self.mismatches():
            return ""
        return UNSEEN if stream in cameras else UNHEARD

    def _with_causes(self, found: list[str], now: float) -> list[str]:
        """What a frame lacks, after what was refused lately: of that camera, its age is only the echo."""
        if not found:
            return []
        title, refused = self._node.contract.stream_title, self._refused_lately(now)
        causes = [f"{title(stream)}: {why}" for stream, why in refused.items()]
        return causes + self._without_echoes(found, refused)

    def _refused_lately(self, now: float) -> dict[str, str]:
        """Stream -> why its newest message was refused, if that was lately."""
        newest = list(self._refused.items())
        return {stream: why for stream, (why, at) in newest if now - at < said_once.ENDED_AFTER_S}

    def _without_echoes(self, found: list[str], refused: Iterable[str]) -> list[str]:
        """What a frame lacks but for the age of cameras whose images are refused."""
        if not found:
            return []
        echoes = tuple(f"camera {stream}: {age}" for stream in refused for age in ("newest ", "no sample"))
        return [text for text in found if not text.startswith(echoes)] + self.mismatches()

    def _subscribe(
        self, kind: type, topic: str, stream: str, add: Callable[[str, Any, float], None], quality: QoSProfile
    ) -> None:
        if self._polling is not None:
            self._polling.subscribe(kind, topic, partial(self._add_sample, stream, add), quality)
        else:
            self._node.listen(kind, topic, partial(self._receive, stream, add), quality)

    def _poll_in_thread(self, ended: threading.Event) -> None:
        while not ended.wait(POLL_PERIOD_S):
            with self._node.boundary("streams"):
                self._on_samples(self.poll())

    def _receive(self, stream: str, add: Callable[[str, Any, float], None], message: Any) -> None:
        now = self._node.now()
        self._add_sample(stream, add, message, now)
        self._on_samples(now)

    def _add_sample(
        self, stream: str, add: Callable[[str, Any, float], None], message: Any, received: float
    ) -> None:
        with self._node.boundary(self._node.contract.stream_title(stream)):
            try:
                add(stream, message, received)
                self._rates.note(stream, received)
                self._refused.pop(stream, None)
            except VlaAdapterError as error:
                self._refused[stream] = str(error), received
                if stream in self.builder.cameras:
                    self._on_refused(stream, str(error))
                raise

    def _add_image(self, name: str, message: Any, received: float) -> None:
        self.builder.add_message(name, message, received, decode_raw)
        self.images[name] += 1
        self._on_image(name, message, received)

    def _add_values(self, topic: str, message: Any, received: float) -> None:
        self.builder.add_message(topic, message, received)
