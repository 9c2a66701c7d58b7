"""Hears the topics of an episode as they are sent, for its bag: nothing is decoded."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Any, cast

from sensor_msgs.msg import JointState
from std_msgs.msg import String

from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION
from vla_adapter_ros.msg import ActionChunk, ControllerStatus
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.capsule_messages import topic_of
from vla_adapter_ros.nodes.streams import IMAGE_TYPES, TOPIC_TYPES, best_effort
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, INSTRUCTION_TOPIC, LATCHED, STATUS_TOPIC
from vla_adapter_ros.observation.messages import message_types
from vla_adapter_ros.recorder.episode_bags import EpisodeBags

_DEPTH = 100


def hear_raw_topics(node: ManagedNode[Any], bags: EpisodeBags) -> None:
    """Put all that the contract names, and what policy and controller say, into the bag of the episode.

    Args:
        node: Configured node; subscribes.
        bags: Of its episodes.
    """
    contract = node.contract
    kinds: dict[str, type] = {
        camera.topic: IMAGE_TYPES[camera.transport] for camera in contract.recorded_cameras.values()
    }
    kinds |= {topic: TOPIC_TYPES[kind] for topic, kind in message_types(contract).items()}
    kinds |= {group.topic: JointState for group in contract.teleop_groups}
    kinds |= {STATUS_TOPIC: ControllerStatus, CHUNK_TOPIC: ActionChunk}
    qualities = dict.fromkeys(kinds, best_effort(_DEPTH))
    for topic in (INSTRUCTION_TOPIC, ROBOT_DESCRIPTION):
        kinds[topic], qualities[topic] = String, LATCHED
    for topic, kind in kinds.items():
        name = node.resolve_topic_name(topic)
        receive = partial(_add, node, bags, topic_of(name, cast(Hashable, kind)))
        node.own(
            partial(
                node.destroy_subscription,
                node.create_subscription(kind, topic, receive, qualities[topic], raw=True),
            )
        )


def _add(node: ManagedNode[Any], bags: EpisodeBags, topic: Any, data: bytes) -> None:
    bags.add(topic, node.get_clock().now().nanoseconds, data)
