"""Subscribes to everything that a contract names and feeds a frame builder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped
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


class StreamSubscriber:
    """Subscriptions of a node to the streams of its contract.

    A message that cannot be used is reported through the node's diagnostics
    and dropped; it never ends the node.

    Args:
        node: Configured node.
        builder: Takes the samples.
        on_sample: Called after each sample.
        image_depth: Images per camera that may wait for the callback. A policy wants the newest, a
            recorder all of them.
    """

    def __init__(
        self,
        node: ManagedNode,
        builder: FrameBuilder,
        on_sample: Callable[[], None],
        image_depth: int = qos_profile_sensor_data.depth,
    ) -> None:
        self._node, self._builder, self._on_sample = node, builder, on_sample
        self.images: dict[str, int] = dict.fromkeys(node.contract.cameras, 0)
        image_quality = QoSProfile(depth=image_depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        for name, camera in node.contract.cameras.items():
            node.create_subscription(
                IMAGE_TYPES[camera.transport],
                camera.topic,
                lambda message, name=name: self._take(self._image, name, message),
                image_quality,
            )
        action_topic = node.contract.action.topic
        topics = {topic: TOPIC_TYPES[entry.type] for topic, entry in node.contract.topics.items()}
        if action_topic in builder.streams:
            topics[action_topic] = JointState
        for topic, kind in topics.items():
            handle = self._pose if kind is PoseStamped else self._joints
            node.create_subscription(
                kind,
                topic,
                lambda message, topic=topic, handle=handle: self._take(handle, topic, message),
                QoSProfile(depth=10),
            )

    def _take(self, handle: Callable[[str, Any], None], stream: str, message: Any) -> None:
        try:
            handle(stream, message)
        except VlaAdapterError as error:
            self._node.diagnose(f"{stream}: {error}")
        self._on_sample()

    def _image(self, name: str, message: Any) -> None:
        image = image_to_array(message, self._node.contract.cameras[name].rotation)
        self.images[name] += 1
        self._builder.add_image(name, seconds(message.header.stamp), self._node.now(), image)

    def _joints(self, topic: str, message: JointState) -> None:
        self._builder.add_joint_state(
            topic,
            seconds(message.header.stamp),
            self._node.now(),
            message.name,
            message.position,
            message.velocity,
            message.effort,
        )

    def _pose(self, topic: str, message: PoseStamped) -> None:
        stamp = seconds(message.header.stamp)
        self._builder.add_values(topic, stamp, self._node.now(), *pose_values(message))
