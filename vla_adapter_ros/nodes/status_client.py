"""Listens to the nodes of one robot, and asks nothing of them: where `vla-adapter status` looks."""

from __future__ import annotations

import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile

from vla_adapter_ros.msg import ControllerStatus, RecorderStatus
from vla_adapter_ros.nodes.addressee import CONTROLLER_STATUS, RECORDER_STATUS, publishers_of
from vla_adapter_ros.nodes.graph_status import KIND, GraphStatus, NodeReport
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.streams import best_effort

KINDS = ("simulator", "controller", "policy", "recorder")
LOOK_S = 0.05  # between two looks at the graph
LONGEST_LOOK_S = 0.25  # counts of a look: who got no processor meanwhile has heard nothing
SHORTEST_S = 0.5  # counted so: for nodes that are not known yet
LONGEST_S = 3.5  # where controller or policy is not known: discovery may take 3 s on one machine
HEARS_ALL = best_effort(50)


class StatusClient:
    """Knows the newest that the nodes of the client's namespace have said.

    Args:
        client: In the namespace of the robot.
    """

    def __init__(self, client: RosClient) -> None:
        self._client, self._lock = client, threading.Lock()
        self._reports: dict[str, tuple[NodeReport, float]] = {}  # kind -> report, when heard
        self._newest: dict[str, tuple[Any, float]] = {}  # type of status -> message, when heard
        self._topics: set[str] = set()  # that are listened to
        client.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, HEARS_ALL)

    def look(self) -> GraphStatus:
        """The picture as it is now."""
        node = self._client.node
        namespace = node.get_namespace()
        found = {kind: publishers_of(node, kind) for kind in (CONTROLLER_STATUS, RECORDER_STATUS)}
        for kind, message in ((CONTROLLER_STATUS, ControllerStatus), (RECORDER_STATUS, RecorderStatus)):
            for space, topic in found[kind].values():
                if space == namespace and topic not in self._topics:
                    self._topics.add(topic)
                    self._client.subscribe(message, topic, self._on_status, QoSProfile(depth=1))
        here = {name for name, space in node.get_node_names_and_namespaces() if space == namespace}
        root = namespace.rstrip("/")
        names = {kind: f"{root}/{kind}_node" for kind in KINDS if f"{kind}_node" in here}
        now = time.monotonic()
        with self._lock:
            reports = {
                kind: NodeReport(report.name, report.text, report.values, now - at)
                for kind, (report, at) in self._reports.items()
            }
            controller, heard = self._newest.get(CONTROLLER_STATUS, (None, 0.0))
            recorder, _ = self._newest.get(RECORDER_STATUS, (None, 0.0))
        return GraphStatus(
            namespace,
            names | {kind: report.name for kind, report in reports.items() if report.heard},
            reports,
            controller,
            now - heard,
            recorder,
            tuple(sorted({space for space, _ in found[CONTROLLER_STATUS].values()} - {namespace})),
        )

    def complete(self, status: GraphStatus) -> bool:
        """Whether controller and policy are there, and all of our nodes in the graph have been heard."""
        heard = all(kind in status.reports for kind in status.names)
        controller = status.reports.get("controller")
        waits = controller is not None and controller.lifecycle == "active" and status.controller is None
        both = {"controller", "policy"} <= status.names.keys()
        return both and heard and not waits

    def look_once(self) -> GraphStatus:
        """The picture as soon as it is complete, at the latest after LONGEST_S."""
        waited, looked = 0.0, time.monotonic()
        while True:
            status = self.look()
            if waited >= LONGEST_S or (waited >= SHORTEST_S and self.complete(status)):
                return status
            self._client.check_alive()
            time.sleep(LOOK_S)
            before, looked = looked, time.monotonic()
            waited += min(looked - before, LONGEST_LOOK_S)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        namespace, now = self._client.node.get_namespace(), time.monotonic()
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            space = status.name.rpartition("/")[0] or "/"
            if values.get(KIND) and space == namespace:
                report = NodeReport(status.name, status.message, values, 0.0)
                with self._lock:
                    self._reports[values[KIND]] = report, now

    def _on_status(self, message: Any) -> None:
        kind = CONTROLLER_STATUS if isinstance(message, ControllerStatus) else RECORDER_STATUS
        with self._lock:
            self._newest[kind] = message, time.monotonic()
