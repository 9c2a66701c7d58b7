"""Reads everything that waits at several topics at once, with the times at which it came.

rclpy needs 0.4 ms to get from one message to the next when it waits for each,
and forgets in which order messages of different topics came. Here the messages
wait in the middleware instead, and are read in short bursts.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

Handle = Callable[[Any, float], None]
# Humble gives callbacks the message alone; there, a message came when it was read.
TELLS_TIMES = hasattr(Subscription, "CallbackType")


class Polling:
    """Subscriptions of a node of its own, whose executor only runs within `read_messages`.

    Args:
        node: In whose name; gives names, remappings and the context.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._quiet = Node(
            f"_{node.get_name()}_streams",
            namespace=node.get_namespace(),
            context=node.context,
            use_global_arguments=False,  # else a `__node:=` would give it the other node's name
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._quiet)
        self._lock = threading.Lock()
        self._found: list[tuple[float, Handle, Any]] = []
        self._later: list[tuple[float, Handle, Any]] = []  # came after the time of the last reading
        self._topics: list[tuple[str, type, QoSProfile]] = []

    def subscribe(self, kind: type, topic: str, handle: Handle, quality: QoSProfile) -> None:
        """Let messages wait for `read_messages`; `quality` says how many may.

        Args:
            handle: Comes back with each message, to be called with it and the time at which it came [s].
        """
        name = self._node.resolve_topic_name(topic)
        self._topics.append((name, kind, quality))

        def keep(message: Any, info: Any) -> None:
            self._found.append((info["received_timestamp"] * 1e-9, handle, message))

        def keep_without_time(message: Any) -> None:
            self._found.append((0.0, handle, message))

        self._quiet.create_subscription(kind, name, keep if TELLS_TIMES else keep_without_time, quality)

    def read_messages(self, now: float) -> list[tuple[float, Handle, Any]]:
        """All that came until `now` [s], in the order in which it came: time [s], handle and message.

        What comes meanwhile waits for the next reading. A process that gets little of a processor would else
        read on and on behind a fast topic, and take what comes then for something of the past.
        """
        most = sum(quality.depth for _, _, quality in self._topics)
        with self._lock:
            found = self._found = self._later
            empty = run = 0  # looks that found nothing, and messages that came after `now`, in a row
            # The end of what one look at all topics found is reported as if nothing waited: look again. As
            # topics take turns, a run through all of them leaves nothing older behind.
            while empty < 2 and run < len(self._topics) and len(found) < most:
                before = len(found)
                self._executor.spin_once(timeout_sec=0)
                empty = 0 if len(found) > before else empty + 1
                for received, _, _ in found[before:]:
                    run = run + 1 if received > now else 0
            found.sort(key=lambda entry: entry[0])
            self._later = [entry for entry in found if entry[0] > now]
        return [(received or now, handle, message) for received, handle, message in found if received <= now]

    def discard(self) -> None:
        """Forget all that waits."""
        self.read_messages(math.inf)

    def mismatches(self) -> list[str]:
        """Publishers that cannot be heard since they send another type, in words."""
        problems = []
        for topic, kind, _ in self._topics:
            wanted = _type_name(kind)
            for publisher in self._node.get_publishers_info_by_topic(topic):
                if publisher.topic_type != wanted:
                    problems.append(f"{topic} is published as {publisher.topic_type}, allowed is {wanted}")
        return problems

    def destroy(self) -> None:
        """Leave the graph."""
        with self._lock:
            self._executor.shutdown()
            self._quiet.destroy_node()


def _type_name(kind: type) -> str:
    """Such as sensor_msgs/msg/Image."""
    package, *_ = kind.__module__.split(".")
    return f"{package}/msg/{kind.__name__}"
