"""A client of running nodes: a node of its own, whose thread calls services and hears topics."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from vla_adapter_ros.errors import NoAnswerError
from vla_adapter_ros.nodes.graph import OWN_CLOCK
from vla_adapter_ros.nodes.service_client import CHECK_S, Job, Sent, ServiceClient

C = TypeVar("C", bound="RosClient")


class RosClient:
    """A node in a context of its own, with a thread that executes its callbacks.

    Args:
        name: Of the node.
        namespace: Of the node; None: the root.
        check_alive: Called while waiting; raises when there is nothing left to wait for.
        own_clock: Whether simulated time is that of the namespace's own clock.
    """

    def __init__(
        self,
        name: str,
        namespace: str | None = None,
        check_alive: Callable[[], None] = lambda: None,
        *,
        own_clock: bool = False,
    ) -> None:
        self._context = Context()
        # Signals end the command, not just ROS.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(
            name,
            namespace=namespace,
            context=self._context,
            start_parameter_services=False,
            cli_args=["--ros-args", "-r", OWN_CLOCK] if own_clock else None,
        )
        self._check_alive = check_alive
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=target, name=f"{name} {target.__name__.strip('_')}", daemon=True)
            for target in (self._spin, self._send_jobs)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Leave the graph."""
        self._jobs.put(None)
        self._context.try_shutdown()
        for thread in self._threads:
            thread.join()
        self.node.destroy_node()

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def service(self, kind: type, name: str) -> ServiceClient:
        """A client of a service; `name` is relative to the namespace."""
        return ServiceClient(self, kind, name, self._jobs)

    def subscribe(self, kind: type, topic: str, callback: Callable[[Any], None], quality: QoSProfile) -> None:
        """Call `callback` with each message of a topic, from the client's thread."""
        self.node.create_subscription(kind, topic, callback, quality)

    def poll_until(self, condition: Callable[[], bool], patience_s: float, period_s: float = 0.02) -> bool:
        """Look at a condition again and again; False if it did not hold within so long [s]."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.check_alive()
            time.sleep(period_s)
        return True

    @property
    def alive(self) -> bool:
        """Whether this client is in the graph."""
        return self._context.ok()

    def check_alive(self) -> None:
        """Raise when there is nothing left to wait for, or this client has left the graph."""
        if not self.alive:
            raise NoAnswerError("the client has left the graph", sent=False)
        self._check_alive()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def _send_jobs(self) -> None:
        """Send requests in the order in which they were made, and report answers that do not come."""
        awaited: list[Sent] = []
        while True:
            try:
                job = self._jobs.get(timeout=CHECK_S)
                if job is None or not self._context.ok():
                    return
                if (sent := job.begin()) is not None:
                    awaited.append(sent)
            except queue.Empty:
                pass
            awaited = [sent for sent in awaited if not sent.is_over()]
