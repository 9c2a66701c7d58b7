"""What a node says of itself: on /diagnostics once per second, and in its log when a problem begins."""

from __future__ import annotations

import traceback
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # Humble has no rclpy.clock_type
from rclpy.node import Node
from rclpy.qos import QoSProfile

from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes.faults import Faults
from vla_adapter_ros.observation.lateness import kind_of

STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class Diagnostics:
    """How a node is, published in every state of its lifecycle.

    Args:
        node: Publishes and logs.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.faults = Faults(node.get_logger())
        """Errors of callbacks, which are published too."""
        self._diagnosis: tuple[bytes, str, dict[str, Any]] = (DiagnosticStatus.OK, "unconfigured", {})
        self._reported = ""
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))
        self._timer = node.create_timer(1.0, self._publish, clock=STEADY)

    def set_problem(self, problem: str, values: dict[str, Any]) -> None:
        """Say how the node is: an empty `problem` is good.

        A new problem is logged once; one that differs in numbers only is not new.
        """
        level = DiagnosticStatus.WARN if problem else DiagnosticStatus.OK
        self._diagnosis = (level, problem or "ok", values)
        kind = kind_of(problem)
        if problem and kind != self._reported:
            self._node.get_logger().warning(problem, throttle_duration_sec=1.0)
        self._reported = kind

    def set_state(self, state: str) -> None:
        """Say in which state the node is; what an earlier state had to report is over."""
        self._diagnosis, self._reported = (DiagnosticStatus.OK, state, {}), ""

    def set_failure(self, what: str, error: Exception) -> None:
        """Say why a transition failed; rclpy itself would say nothing."""
        if isinstance(error, VlaAdapterError):
            self._node.get_logger().error(str(error))
        else:
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self._node.get_logger().error(f"{what} failed:\n{text}")
        self._diagnosis = (DiagnosticStatus.ERROR, f"{what} failed: {error}", {})

    def stop(self) -> None:
        """Publish no more."""
        self._timer.cancel()

    def _publish(self) -> None:
        with self.faults.boundary("diagnostics"):
            level, text, values = self._diagnosis
            if faults := self.faults.current():
                level = max(level, DiagnosticStatus.WARN)
                text = "; ".join([text] * (text != "ok") + faults)
            status = DiagnosticStatus(level=level, name=self._node.get_fully_qualified_name(), message=text)
            status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
            message = DiagnosticArray(status=[status])
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(message)
