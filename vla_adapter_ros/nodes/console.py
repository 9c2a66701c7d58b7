"""Console node: the operator's pages, in a process of their own that nothing else waits for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from std_msgs.msg import String

from vla_adapter_ros.console.access import Access, load_or_make_token
from vla_adapter_ros.console.console import Console
from vla_adapter_ros.console.curves import Curves
from vla_adapter_ros.console.episodes import EpisodeStore
from vla_adapter_ros.console.live import LiveHub
from vla_adapter_ros.console.runs import RunStore
from vla_adapter_ros.console.server import Address, WebServer
from vla_adapter_ros.control.disagreement import full_speed_rows
from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION
from vla_adapter_ros.errors import ConsoleError
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.console_figure import FigureSource
from vla_adapter_ros.nodes.console_robot import RosRobot
from vla_adapter_ros.nodes.console_streams import ConsoleStreams
from vla_adapter_ros.nodes.foxglove_view import FoxgloveView
from vla_adapter_ros.nodes.operator_parameters import ConsoleParameters
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.topics import LATCHED
from vla_adapter_ros.paths import locate

LOOK_S = 0.2
TOKEN_FILE = Path(".config/vla_adapter_ros/console_token")  # in the home folder
_SERVER: list[WebServer] = []  # the one of this process: NiceGUI has one application
_CURRENT: list[Console] = []  # what it shows; empty: the node is not active


class ConsoleNode(ManagedNode[ConsoleParameters]):
    """Serves the operator's pages; what it does is a `ConfiguredConsole`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("console_node", ConsoleParameters, **options)

    def configure(self) -> ConfiguredConsole:
        """Open the pages' address, and listen to the robot."""
        return ConfiguredConsole(self)


class ConfiguredConsole(Configured[ConsoleParameters]):
    """Looks at the robot a few times per second; the pages are served by a thread of their own.

    It hears and calls the other nodes as a command of the terminal would, through a client of its own, so
    that nothing of them depends on it.
    """

    def __init__(self, node: ConsoleNode) -> None:
        super().__init__(node)
        contract, parameters = self.contract, self.parameters
        self._server = _serve(parameters)
        client = RosClient(
            f"console_client_{os.getpid()}", node.get_namespace(), own_clock=node.simulated_time
        )
        node.own(client.close)
        self._robot = RosRobot(client, contract.name)
        self._hub = LiveHub(contract.camera_names)
        self._curves = Curves(contract.action_names, full_speed_rows(contract))
        self._console = Console(
            self._robot,
            self._hub,
            self._curves,
            episodes=EpisodeStore(parameters.dataset) if parameters.dataset else None,
            runs=RunStore(parameters.runs) if parameters.runs else None,
        )
        self._foxglove: FoxgloveView | None = None
        if parameters.foxglove:
            self._foxglove = FoxgloveView(contract, node.get_namespace(), parameters.foxglove_port)
            node.own(self._foxglove.close)
            node.get_logger().info(f"Foxglove: open connection {self._foxglove.url}")
        self._streams = ConsoleStreams(
            client.node,
            contract,
            self._hub,
            self._curves,
            parameters.camera_rate_hz,
            self._watched,
            node.faults.report,
        )
        node.own(self._streams.close)
        self._figure = FigureSource(contract)
        if self._figure.awaited:
            client.subscribe(String, ROBOT_DESCRIPTION, lambda m: self._figure.take(m.data), LATCHED)
        node.every(LOOK_S, self._look, steady=True)
        node.get_logger().info(f"console: {self._server.url}")

    def activate(self) -> None:
        """Show the robot on the pages."""
        _CURRENT[:] = [self._console]

    def deactivate(self) -> None:
        """The pages say that the console is not active."""
        _CURRENT.clear()

    def _watched(self) -> bool:
        """Whether anybody looks, on a page or in Foxglove."""
        return self._hub.watched or (self._foxglove is not None and self._foxglove.watched)

    def _look(self) -> None:
        self._robot.look()
        figure = None
        if self._watched():
            figure = self._figure.content(self._streams.measured, self._curves.wanted)
        if self._hub.watched:
            content = self._curves.content(whole=False)
            self._hub.put_text(json.dumps(content | {"figure": figure}, separators=(",", ":")))
        if self._foxglove is not None:
            self._foxglove.look(figure)
        problem = "" if self._server.alive else "the web server has ended: start the node again"
        self.node.diagnose(problem, self._figure.problem, url=self._server.url, pages=len(self._hub))


def _serve(parameters: ConsoleParameters) -> WebServer:
    """The server of this process, which listens until it ends.

    Raises:
        ConsoleError: it cannot listen, or listens elsewhere already.
    """
    address = Address(
        parameters.host,
        parameters.port,
        locate(parameters.tls_certificate) if parameters.tls_certificate else None,
        locate(parameters.tls_key) if parameters.tls_key else None,
    )
    if bool(parameters.tls_certificate) != bool(parameters.tls_key):
        raise ConsoleError("tls_certificate and tls_key belong together: set both, or none")
    if not _SERVER:
        _SERVER.append(
            WebServer(lambda: _CURRENT[0] if _CURRENT else None, address, _access(parameters, address))
        )
    return _SERVER[0]


def _access(parameters: ConsoleParameters, address: Address) -> Access:
    if address.local and not parameters.token_file and not parameters.new_token:
        return Access()
    path = locate(parameters.token_file) if parameters.token_file else Path.home() / TOKEN_FILE
    token_hash, token = load_or_make_token(path, renew=parameters.new_token)
    if token:  # not through the logger: logs are kept
        print(f"The console's token, shown this once: {token}", file=sys.stderr, flush=True)
    else:
        print(f"The console asks for the token whose hash is in {path}.", file=sys.stderr, flush=True)
    return Access(token_hash)


def main() -> int:
    """Entry point of `console_node`."""
    return run(ConsoleNode)


if __name__ == "__main__":
    raise SystemExit(main())
