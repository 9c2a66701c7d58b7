"""Names of the topics that this package's nodes share, and the qualities of service of their messages."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo

CHUNK_TOPIC = "action_chunk"
INSTRUCTION_TOPIC = "instruction"
SCENE_TOPIC = "simulator/scene"
STATUS_TOPIC = "controller/status"
MOTION_TOPIC = "controller/committed_motion"
RECORDER_TOPIC = "recorder_node/status"
ACK_TOPIC = "simulator/step_ack"

DEPTH = QoSProfile(depth=10)
NEWEST = QoSProfile(depth=1)
"""Only the newest message counts: an old chunk must never move anything."""
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Who comes later hears the newest message too."""
ACK_QOS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Latched: a node that starts before the simulator must still be heard."""

_NOT_KNOWN_YET = "_NODE_NAME_UNKNOWN_"


def node_of(endpoint: TopicEndpointInfo) -> str:
    """Full name of the node behind a publisher or a subscription; empty while the graph does not know it."""
    known = endpoint.node_name != _NOT_KNOWN_YET
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}" if known else ""
