"""Subscribes to everything that a contract names and feeds a frame builder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState

from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.nodes.images import image_to_array
from vla_adapter_ros.recording.align import FrameBuilder
from vla_adapter_ros.recording.buffers import pose_values

IMAGE_TYPES = {"raw": Image, "compressed": CompressedImage}
TOPIC_TYPES = {"joint_state": JointState, "pose": PoseStamped}
VALUE_DEPTH = 10  # messages without images that may wait for their callback
POLL_PERIOD_S = 0.02
# What may wait to be polled while the process gets no processor: a second of images, and of an arm at 1 kHz.
POLLED_IMAGES, POLLED_VALUES = 30, 1000


class StreamSubscriber:
    """Subscriptions of a node to the streams of its contract.

    A message that cannot be used is reported through the node's diagnostics
    and dropped; it never ends the node.

    Polled, all that has come is taken in every POLL_PERIOD_S, in the order and with the times in which it
    came, however late the process gets to it: a frame is then what it would have been on an idle machine.
    It also costs less: rclpy needs up to a millisecond to wake up for a message, which for joint states
    at some hundred hertz is more than for the images.

    Args:
        node: Configured node.
        builder: Takes the samples.
        on_samples: Called after a sample, or after each look if polled, with the time [s] up to which all
            is taken in.
        polled: Whether to look at all streams at once instead of waiting for each message. For nodes that
            need everything, in real time; others get the newest of what waits, by a callback each.
    """

    def __init__(
        self,
        node: ManagedNode,
        builder: FrameBuilder,
        on_samples: Callable[[float], None],
        *,
        polled: bool = False,
    ) -> None:
        self._node, self._builder, self._on_samples = node, builder, on_samples
        self._polled: list[tuple[Any, Callable[[Any, float], None]]] = []
        self._group = _Never() if polled else None
        self.images: dict[str, int] = dict.fromkeys(node.contract.cameras, 0)
        depth = POLLED_IMAGES if polled else qos_profile_sensor_data.depth
        quality = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        for name, camera in node.contract.cameras.items():
            self._subscribe(IMAGE_TYPES[camera.transport], camera.topic, partial(self._image, name), quality)
        action_topic = node.contract.action.topic
        topics = {topic: TOPIC_TYPES[entry.type] for topic, entry in node.contract.topics.items()}
        if action_topic in builder.streams:
            topics[action_topic] = JointState
        quality = QoSProfile(depth=POLLED_VALUES if polled else VALUE_DEPTH)
        for topic, kind in topics.items():
            handle = self._pose if kind is PoseStamped else self._joints
            self._subscribe(kind, topic, partial(handle, topic), quality)
        if polled:
            node.create_timer(POLL_PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def poll(self) -> float:
        """Take in what waits, if the streams are polled; returns the time up to which all is in [s]."""
        now = self._node.now()
        waiting: list[tuple[float, Callable[[Any, float], None], Any]] = []
        for subscription, handle in self._polled:
            with subscription.handle:
                while (taken := subscription.handle.take_message(subscription.msg_type, False)) is not None:
                    message, info = taken
                    waiting.append((info["received_timestamp"] * 1e-9 or now, handle, message))
        for received, handle, message in sorted(waiting, key=lambda entry: entry[0]):
            # What came while looking may have overtaken messages of a topic that was looked at before.
            self._accept(handle, message, min(received, now))
        return now

    def mismatches(self) -> list[str]:
        """Publishers that polled streams cannot hear, in words (rclpy itself tells of all others)."""
        found = []
        for subscription, _ in self._polled:
            topic = subscription.topic_name
            wanted = _type_name(subscription.msg_type)
            reliable = subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            for publisher in self._node.get_publishers_info_by_topic(topic):
                if publisher.topic_type != wanted:
                    found.append(f"{topic} is published as {publisher.topic_type}, allowed is {wanted}")
                elif reliable and publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT:
                    found.append(f"{topic} is published as best effort, allowed is reliable")
        return found

    def _subscribe(
        self, kind: type, topic: str, handle: Callable[[Any, float], None], quality: QoSProfile
    ) -> None:
        subscription = self._node.create_subscription(
            kind, topic, partial(self._take, handle), quality, callback_group=self._group
        )
        if self._group is not None:
            self._polled.append((subscription, handle))

    def _look(self) -> None:
        self._on_samples(self.poll())

    def _take(self, handle: Callable[[Any, float], None], message: Any) -> None:
        now = self._node.now()
        self._accept(handle, message, now)
        self._on_samples(now)

    def _accept(self, handle: Callable[[Any, float], None], message: Any, received: float) -> None:
        try:
            handle(message, received)
        except VlaAdapterError as error:
            self._node.diagnose(f"{handle.args[0]}: {error}")

    def _image(self, name: str, message: Any, received: float) -> None:
        image = image_to_array(message, self._node.contract.cameras[name].rotation)
        self.images[name] += 1
        self._builder.add_image(name, seconds(message.header.stamp), received, image)

    def _joints(self, topic: str, message: JointState, received: float) -> None:
        self._builder.add_joint_state(
            topic,
            seconds(message.header.stamp),
            received,
            message.name,
            message.position,
            message.velocity,
            message.effort,
        )

    def _pose(self, topic: str, message: PoseStamped, received: float) -> None:
        stamp = seconds(message.header.stamp)
        self._builder.add_values(topic, stamp, received, *pose_values(message))


class _Never(CallbackGroup):
    """Subscriptions that no executor waits for."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass


def _type_name(kind: type) -> str:
    """Such as sensor_msgs/msg/Image."""
    package, *_ = kind.__module__.split(".")
    return f"{package}/msg/{kind.__name__}"
