"""`vla-adapter console`: the operator's pages for nodes that run already."""

from __future__ import annotations

import argparse
import time
from typing import Any

from vla_adapter_ros.cli.arguments import add_namespace, add_parameter
from vla_adapter_ros.errors import ProcessError
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.operator_parameters import ConsoleParameters
from vla_adapter_ros.nodes.process_runner import GraphRunner, how_it_ended
from vla_adapter_ros.nodes.start_options import StartOptions

OPTIONS = (
    "contract", "host", "port", "token_file", "tls_certificate", "tls_key", "dataset", "runs",
    "camera_rate_hz", "foxglove_port",
)  # fmt: skip
PERIOD_S = 0.2


def add_console_command(commands: Any) -> None:
    """Add `console` to the parser's commands."""
    console = commands.add_parser(
        "console",
        help="serve the operator's pages for nodes that run already",
        description="Serve the operator's pages for nodes that run already; `bringup --console` starts both. "
        "Nobody but this computer can open them, unless --host says so: then they ask for a token.",
    )
    for name in OPTIONS:
        add_parameter(console, ConsoleParameters, name)
    console.add_argument(
        "--new-token", action="store_true", help="make a new token; the old one is worth nothing then"
    )
    console.add_argument(
        "--foxglove", action="store_true", help="also serve the robot's topics to Foxglove, on this computer"
    )
    add_namespace(console)
    console.set_defaults(run=_console)


def _console(options: argparse.Namespace) -> int:
    parameters = {name: getattr(options, name) for name in (*OPTIONS, "new_token", "foxglove")}
    node = NodeSpec("console", parameters)
    with GraphRunner([node], start=StartOptions(options.namespace or "")) as graph:
        process = graph.processes[node.name]
        while (status := process.poll()) is None:
            time.sleep(PERIOD_S)
        raise ProcessError(f"{how_it_ended(node.name, status)}; its own words are above")
