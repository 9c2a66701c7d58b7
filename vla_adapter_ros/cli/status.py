"""`vla-adapter status` and `watch`: what the nodes of a robot do, and why nothing moves. Read-only."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.cli.arguments import add_namespace, number
from vla_adapter_ros.cli.operate import make_client

if TYPE_CHECKING:
    from vla_adapter_ros.nodes.graph_status import GraphStatus, NodeReport

_NOTHING = "nothing stands against motion: an arm that stands still is asked for none"


def add_status_commands(commands: Any) -> None:
    """Add `status` and `watch` to the parser's commands."""
    status = commands.add_parser("status", help="say what the running nodes do, and why nothing moves")
    status.add_argument("--json", action="store_true", help="as JSON, for programs")
    status.set_defaults(run=_status)
    watch = commands.add_parser("watch", help="the same as status, refreshed until Ctrl-C")
    watch.add_argument("--period", type=number(0.1), default=0.5, help="between two looks [s]")
    watch.set_defaults(run=_watch)
    for parser in (status, watch):
        add_namespace(parser)


def _status(options: argparse.Namespace) -> int:
    from vla_adapter_ros.nodes.status_client import StatusClient

    with make_client(options.namespace) as client:
        status = StatusClient(client).look_once()
    print(json.dumps(as_json(status), indent=2) if options.json else "\n".join(lines(status)))
    return 0 if status.names else 1


def _watch(options: argparse.Namespace) -> int:
    from rich.live import Live
    from rich.text import Text

    from vla_adapter_ros.nodes.status_client import StatusClient

    with make_client(options.namespace) as client:
        listener = StatusClient(client)
        shown = Text("\n".join(lines(listener.look_once())))
        with Live(shown, auto_refresh=False) as live:
            while True:
                live.update(Text("\n".join(lines(listener.look()))), refresh=True)
                time.sleep(options.period)


def lines(status: GraphStatus) -> list[str]:
    """The picture as text."""
    from vla_adapter_ros.nodes.graph_status import why_nothing_moves
    from vla_adapter_ros.nodes.status_words import latency_text, leader_text, node_text

    controller = status.controller
    table = [("robot", f"namespace {status.namespace}, ROS_DOMAIN_ID {_domain()}")]
    if controller is not None:
        mode = "" if controller.mode == "drive" else f", mode {controller.mode}"
        mode += "" if controller.speed == 1.0 else f", speed {controller.speed:g}"
        table.append(("state", f"{controller.state}, {leader_text(controller.control_source)}{mode}"))
    table.append(("why", why_nothing_moves(status) or _NOTHING))
    if latency := latency_text(status):
        table.append(("latency", latency))
    table += [(kind, node_text(status, kind)) for kind in ("simulator", "controller", "policy", "recorder")]
    streams = [
        (name, f"{rate:5.1f} Hz, {f'{age:.3f} s old' if math.isfinite(age) else 'nothing yet'}")
        for name, (rate, age) in status.streams.items()
    ]
    return [*_columns(table), *(["streams"] if streams else []), *_columns(streams, "  ")]


def _columns(table: list[tuple[str, str]], indent: str = "") -> list[str]:
    width = max((len(name) for name, _ in table), default=0) + 2
    return [f"{indent}{name:{width}}{text}" for name, text in table]


def as_json(status: GraphStatus) -> dict[str, Any]:
    """The picture as JSON knows it; numbers that are not finite are null."""
    from vla_adapter_ros.nodes.graph_status import why_nothing_moves

    controller = status.controller
    known: dict[str, Any] = {"namespace": status.namespace, "why": why_nothing_moves(status)}
    if controller is not None:
        known |= {
            "state": controller.state,
            "control_source": controller.control_source,
            "mode": controller.mode,
            "speed": controller.speed,
            "latency_p50_s": _finite(controller.latency_p50),
            "latency_p99_s": _finite(controller.latency_p99),
        }
    nodes = {}
    for kind, name in status.names.items():
        report = status.reports.get(kind)
        nodes[kind] = {"name": name} | (_report(report) if report is not None else {})
    streams = {s: {"rate_hz": rate, "age_s": _finite(age)} for s, (rate, age) in status.streams.items()}
    return known | {"nodes": nodes, "streams": streams}


def _report(report: NodeReport) -> dict[str, Any]:
    return {"lifecycle": report.lifecycle, "text": report.text, "values": dict(report.values)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _domain() -> str:
    return os.environ.get("ROS_DOMAIN_ID") or "0"
