"""Finds the nodes of one robot in the graph by what they publish and serve, whatever they are called.

A robot is one namespace. A command never guesses another one: while nodes are being discovered, the only
robot that is known may be the wrong one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node

from vla_adapter_ros.errors import NoAnswerError, ServiceError
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.topics import node_of

CONTROLLER_STATUS = "vla_adapter_ros/msg/ControllerStatus"
RECORDER_STATUS = "vla_adapter_ros/msg/RecorderStatus"
OTHERS_WITHIN_S = 3.0
"""After the first service of a name was found, those of other nodes are waited for [s]."""
INSTRUCT = "vla_adapter_ros/srv/Instruct"


def publishers_of(node: Node, kind: str) -> dict[str, tuple[str, str]]:
    """Who publishes messages of a type.

    Args:
        node: Knows the graph.
        kind: Such as `vla_adapter_ros/msg/ControllerStatus`.

    Returns:
        Full name of each node -> its namespace, and the topic.
    """
    found = {}
    for topic, kinds in node.get_topic_names_and_types():
        if kind not in kinds:
            continue
        for publisher in node.get_publishers_info_by_topic(topic):
            if name := node_of(publisher):
                found[name] = publisher.node_namespace, topic
    return found


def find_controller_service(client: RosClient, service: str, patience_s: float) -> tuple[str, float]:
    """Full name of a service of the controller in the client's namespace, and what is left of the wait [s].

    Args:
        client: In the namespace of the robot.
        service: Name below that of the node.
        patience_s: Longest wait for the controller [s].

    Raises:
        NoAnswerError: there is none in this namespace.
        ServiceError: there are several.
    """
    return _find_node_service(client, CONTROLLER_STATUS, "controller_node", service, patience_s)


def find_recorder_service(client: RosClient, service: str, patience_s: float) -> tuple[str, float]:
    """As `find_controller_service`, for a service of the recorder."""
    return _find_node_service(client, RECORDER_STATUS, "recorder_node", service, patience_s)


def find_instruct_service(client: RosClient, patience_s: float) -> tuple[str, float]:
    """As `find_controller_service`, for the policy's service `instruct`."""

    def find() -> dict[str, str]:
        served = client.node.get_service_names_and_types()
        return {name: name.rpartition("/")[0] or "/" for name, kinds in served if INSTRUCT in kinds}

    return _find(client, find, "instruct", patience_s)


def find_services(client: RosClient, name: str, patience_s: float) -> list[str]:
    """Full names of the services of that name of all nodes in the client's namespace; waits for the first.

    Args:
        client: In the namespace of the robot.
        name: Below that of a node.
        patience_s: Longest wait for the first one [s].

    Raises:
        NoAnswerError: there is none in this namespace.
    """
    namespace = client.node.get_namespace()

    def find() -> list[str]:
        served = (service for service, _ in client.node.get_service_names_and_types())
        mine = (s for s in served if s.rpartition("/")[2] == name)
        return sorted(s for s in mine if (s.rpartition("/")[0].rpartition("/")[0] or "/") == namespace)

    if not client.poll_until(lambda: bool(find()), patience_s):
        below = namespace.rstrip("/")
        raise NoAnswerError(f"no service {below}/*/{name} after {patience_s:g} s", sent=False)
    client.poll_until(lambda: len(find()) > 1, OTHERS_WITHIN_S)
    return find()


def the_one_of(found: dict[str, str], namespace: str) -> str:
    """The one of a namespace; empty where there is none.

    Args:
        found: Name -> namespace.
        namespace: Such as `/left`.

    Raises:
        ServiceError: there are several.
    """
    here = sorted(name for name, space in found.items() if space == namespace)
    if len(here) > 1:
        raise ServiceError(f"{' and '.join(here)} are both in namespace {namespace}: stop one of the two")
    return here[0] if here else ""


def _find_node_service(
    client: RosClient, status: str, usual: str, service: str, patience_s: float
) -> tuple[str, float]:
    """As `find_controller_service`, for the node that publishes such a status."""

    def find() -> dict[str, str]:
        publishers = publishers_of(client.node, status)
        return {f"{name}/{service}": space for name, (space, _) in publishers.items()}

    return _find(client, find, f"{usual}/{service}", patience_s)


def _find(
    client: RosClient, find: Callable[[], dict[str, str]], usual: str, patience_s: float
) -> tuple[str, float]:
    """The one service of the client's namespace, out of what `find` gives: name -> namespace."""
    deadline = time.monotonic() + patience_s
    namespace = client.node.get_namespace()
    client.poll_until(lambda: the_one_of(find(), namespace) != "", patience_s)
    found = find()
    if name := the_one_of(found, namespace):
        return name, max(deadline - time.monotonic(), 0.0)
    elsewhere = f"; others are in {', '.join(sorted(set(found.values())))} (--namespace)" if found else ""
    full = client.node.resolve_service_name(usual)
    raise NoAnswerError(f"no service {full} after {patience_s:g} s{elsewhere}", sent=False)
