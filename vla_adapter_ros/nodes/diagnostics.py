"""What a node says of itself: on /diagnostics, and in its log when a problem begins and when it is over."""

from __future__ import annotations

import os
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # Humble has no rclpy.clock_type
from rclpy.node import Node
from rclpy.qos import QoSProfile

from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes.faults import Faults
from vla_adapter_ros.nodes.graph_status import CONFIGURING, FAILED, KIND, LIFECYCLE, PROCESS
from vla_adapter_ros.nodes.said_once import SaidOnce
from vla_adapter_ros.observation.lateness import kind_of

STEADY = Clock(clock_type=ClockType.STEADY_TIME)
PERIOD_S = 0.5
"""Between two messages: whoever asks how the nodes are need not wait longer."""


_DETAIL = re.compile(r" \([^()]*(\([^()]*\)[^()]*)*\)$")


def _kind(problem: str) -> str:
    """What of a problem must change for it to be another one: neither numbers nor the detail at its end."""
    return kind_of(_DETAIL.sub("", problem))


class Diagnostics:
    """How a node is, published in every state of its lifecycle.

    Args:
        node: Publishes and logs.
        kind: Which of our nodes it is, such as `policy`.
    """

    def __init__(self, node: Node, kind: str) -> None:
        self._node, self._kind = node, kind
        self.faults = Faults(node.get_logger())
        """Errors of callbacks, which are published too."""
        self.faults.told_elsewhere = self._tells
        self.describe: Callable[[], Mapping[str, Any]] = dict
        """Gives further values for each message; must not wait for anything."""
        self._lock = threading.Lock()
        self._level, self._text, self._values = DiagnosticStatus.OK, "unconfigured", dict[str, Any]()
        self._lifecycle = "unconfigured"
        self._said, self._texts = SaidOnce(), dict[str, str]()  # kind -> text, of what was logged
        self._problems: tuple[str, ...] = ()
        self.hardware_id = ""
        """Name of the robot's contract, once it is known."""
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))
        self._timer = node.create_timer(PERIOD_S, self._publish, clock=STEADY)

    def set_problems(self, problems: Sequence[str], values: dict[str, Any]) -> None:
        """Say how the node is: without problems it is good.

        A problem is logged once when it begins and once when it is over; one that differs in numbers, or in
        the detail in parentheses at its end, is the same. What a fault tells in the same words is not told
        again.
        """
        untold = [problem for problem in problems if not self.faults.tells(_kind(problem))]
        with self._lock:
            self._level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
            self._text, self._values = "; ".join(problems) or "ok", values
            self._problems = tuple(problems)
            new = [problem for problem in self._begin() if problem in untold]
            self._texts.update({_kind(problem): problem for problem in new})
        if new:
            self._node.get_logger().warning("; ".join(new))

    def set_state(self, state: str) -> None:
        """Say in which state the node is; what an earlier state had to report is over."""
        with self._lock:
            self._level, self._text, self._values = DiagnosticStatus.OK, state, {}
            self._lifecycle, self._problems = state, ()
            self._said.forget()
            self._texts.clear()

    def set_failure(self, what: str, error: Exception) -> None:
        """Say why a transition failed; rclpy itself would say nothing."""
        if isinstance(error, VlaAdapterError):
            self._node.get_logger().error(str(error))
        else:
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self._node.get_logger().error(f"{what} failed:\n{text}")
        with self._lock:
            self._level, self._text, self._values = DiagnosticStatus.ERROR, f"{what} failed: {error}", {}
            self._lifecycle = FAILED

    @contextmanager
    def configuring(self) -> Iterator[None]:
        """Inside, a thread publishes that the node is being configured: no timer runs meanwhile."""
        self.set_state(CONFIGURING)
        ended = threading.Event()

        def publish() -> None:
            while not ended.is_set():
                self._publish()
                ended.wait(PERIOD_S)

        thread = threading.Thread(target=publish, name="diagnostics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def stop(self) -> None:
        """Publish no more."""
        self._timer.cancel()

    def _tells(self, kind: str) -> bool:
        with self._lock:
            return kind in self._texts

    def _begin(self) -> list[str]:
        """The problems that are new; they last until another call says otherwise."""
        now = time.monotonic()
        return [problem for problem in self._problems if self._said.begins(_kind(problem), now)]

    def _publish(self) -> None:
        with self.faults.boundary("diagnostics"):
            self._tell_ends()
            described = self.describe()
            with self._lock:
                level, text = self._level, self._text
                own = {KIND: self._kind, LIFECYCLE: self._lifecycle, PROCESS: str(os.getpid())}
                values = own | self._values | {**described}
            if faults := self.faults.current():
                level = max(level, DiagnosticStatus.WARN)
                text = "; ".join([text] * (text != "ok") + faults)
            status = DiagnosticStatus(level=level, name=self._node.get_fully_qualified_name(), message=text)
            status.hardware_id = self.hardware_id
            status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
            message = DiagnosticArray(status=[status])
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(message)

    def _tell_ends(self) -> None:
        with self._lock:
            self._begin()  # they last, though nobody may have said so lately
            over = [self._texts.pop(kind, "") for kind, _ in self._said.ended(time.monotonic())]
        if ended := [text for text in over if text]:
            self._node.get_logger().info(f"over: {'; '.join(ended)}")
