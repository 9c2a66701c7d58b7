"""A node in this process, over DDS, that answers services as a test wants."""

from __future__ import annotations

import threading
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class StandIn:
    """A context in which a node runs, in a participant of its own; its callbacks may fail.

    Args:
        name, namespace: Of the node.
        options: Of the node.
    """

    def __init__(self, name: str = "policy_node", namespace: str | None = None, **options: Any) -> None:
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(name, namespace=namespace, context=self._context, **options)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self.instruction = self.node.create_publisher(String, "instruction", LATCHED)

    def spin(self) -> None:
        """Begin to execute callbacks."""
        self._thread.start()

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.try_shutdown()
        if self._thread.ident is not None:
            self._thread.join()
        self.node.destroy_node()

    def _spin(self) -> None:
        while self._context.ok():
            try:
                self._executor.spin()
            except ExternalShutdownException:
                pass
            except ConnectionAbortedError:  # raised by a callback so that its caller gets no answer
                pass
