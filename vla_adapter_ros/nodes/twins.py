"""Whether another living node of the same name runs, such as that of a forgotten second bring-up.

On one machine, a name in the kernel tells at once, and is free as soon as its
holder is dead, however it died. Elsewhere the graph tells, as soon as it is
known; but a node that was killed stays in the graph for up to 20 s, so that a
name there counts only if somebody answers.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from vla_adapter_ros.errors import NodeError

# Nodes of one machine, which have the kernel's name as well, need up to 3 s to discover each other
# (measured with Fast DDS on the loopback alone, whose announcements at the start are often lost).
DISCOVERY_S = 0.5
PATIENCE_S = 1.5
PAUSE_S = 0.3  # between two questions


def claim_name(node: Node, born: float) -> Callable[[], None]:
    """Make sure that `node` is the only living one of its name; returns what gives the name back.

    To be called in a transition, or before the node is spun: its own executor must not answer.

    Args:
        node: The node that wants to become active.
        born: When it was made, by the steady clock [s].

    Raises:
        NodeError: there is another one.
    """
    name = node.get_fully_qualified_name()
    twin = f"another node named {name} runs already (a second bring-up?): stop it, or use a namespace"
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_reserved(held, f"{node.context.get_domain_id()}{name}"):
            raise NodeError(twin)
        if _is_in_graph(node, born) and _answers(node):
            raise NodeError(twin)
    except BaseException:
        held.close()
        raise
    return held.close


def _is_reserved(held: socket.socket, name: str) -> bool:
    """Reserve a name in the kernel, unless somebody has it; only Linux has such names."""
    try:
        if sys.platform == "linux":
            held.bind(f"\0vla_adapter_ros/{name}")  # the 0 in front means: in no folder
    except OSError as error:  # others than this one, such as a name that is too long, say nothing of a twin
        return error.errno == errno.EADDRINUSE
    return False


def _is_in_graph(node: Node, born: float) -> bool:
    """Whether the graph has the name twice. A new node knows the others after DISCOVERY_S."""
    me = (node.get_name(), node.get_namespace())
    while node.get_node_names_and_namespaces().count(me) < 2:
        if time.monotonic() - born >= DISCOVERY_S:
            return False
        time.sleep(0.05)
    return True


def _answers(node: Node) -> bool:
    """Ask every node of this name for its state; one that was shut down does not count."""
    executor = SingleThreadedExecutor(context=node.context)
    probe = Node(
        f"_{node.get_name()}_probe",
        namespace=node.get_namespace(),
        context=node.context,
        use_global_arguments=False,  # else a `__node:=` would give it the same name again
        start_parameter_services=False,
        enable_rosout=False,
    )
    try:
        executor.add_node(probe)
        client: Client[Any, Any] = probe.create_client(
            GetState, f"{node.get_fully_qualified_name()}/get_state"
        )
        deadline = time.monotonic() + PATIENCE_S
        asked: list[Future[Any]] = []
        while time.monotonic() < deadline:
            # Once more, since the first question may come before the other's service is known.
            asked.append(client.call_async(GetState.Request()))
            executor.spin_until_future_complete(asked[-1], PAUSE_S)
            answers = [answer for future in asked if (answer := future.result()) is not None]
            states = [answer.current_state.id for answer in answers]
            if any(state != State.PRIMARY_STATE_FINALIZED for state in states):
                return True
        return False
    finally:
        executor.shutdown()
        probe.destroy_node()
