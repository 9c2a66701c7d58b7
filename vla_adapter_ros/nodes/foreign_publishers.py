"""Other nodes on topics that ought to be a node's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rclpy.node import Node

from vla_adapter_ros.contract import full_name
from vla_adapter_ros.nodes.topics import node_of


def foreign_publisher(node: Node, topics: Iterable[str], allowed: Collection[str]) -> str:
    """Another node that publishes on one of `topics`, in words; empty if there is none.

    Args:
        node: Publishes there itself.
        topics: Names, to be resolved as the node's own.
        allowed: Nodes that may publish there too, such as leader_node; in the node's namespace, unless
            absolute.
    """
    known = {node.get_fully_qualified_name(), *(full_name(name, node.get_namespace()) for name in allowed)}
    for topic in topics:
        for publisher in node.get_publishers_info_by_topic(node.resolve_topic_name(topic)):
            if (name := node_of(publisher)) and name not in known:
                return f"{name} publishes {topic} as well"
    return ""
