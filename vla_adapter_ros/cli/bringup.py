"""`vla-adapter bringup`: start the nodes, keep them running, start again what may die without harm."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from typing import Any

from vla_adapter_ros.cli.arguments import (
    add_console,
    add_namespace,
    add_parameter,
    add_robot,
    add_teleop,
    output_folder,
    params_file,
)
from vla_adapter_ros.cli.operate import make_client
from vla_adapter_ros.errors import ParameterError, ProcessError
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.graph import NodeSpec, node_list
from vla_adapter_ros.nodes.parameters import ControllerParameters, PolicyParameters, SimulatorParameters
from vla_adapter_ros.nodes.process_runner import GraphRunner, how_it_ended
from vla_adapter_ros.nodes.start_options import LogLevel, StartOptions, leave_to_files

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # before a node is started again; doubled each time it fails
WORKED_S = 60.0  # a process that has lived so long had no trouble to start
PERIOD_S = 0.2
CONSEQUENCES = {
    "policy": "the arm holds until there is a new instruction",
    "recorder": "the episode that was being recorded is lost, saved ones are not",
    "teleop": "the arm comes to rest until the clutch is taken anew",
    "console": "the robot goes on as it did, and pages connect again by themselves",
}


def add_bringup(commands: Any) -> None:
    """Add `bringup` to the parser's commands."""
    bringup = commands.add_parser("bringup", help="start the nodes and keep them running")
    add_parameter(bringup, CommonParameters, "contract")
    add_parameter(bringup, PolicyParameters, "checkpoint")
    add_robot(bringup)
    for node in ("controller", "policy"):
        bringup.add_argument(
            f"--no-{node}", dest=node, action="store_false",
            help=f"do not start the {node}, because it runs on another computer",
        )  # fmt: skip
    bringup.add_argument(
        "--record",
        type=output_folder,
        metavar="FOLDER",
        help="also start the recorder, with this data set; default: none",
    )
    add_teleop(bringup)
    add_console(bringup)
    bringup.add_argument("--lock-step", action="store_true", help="simulated time waits for the nodes")
    add_parameter(bringup, SimulatorParameters, "renderer")
    add_parameter(bringup, SimulatorParameters, "seed")
    add_parameter(bringup, PolicyParameters, "device")
    bringup.add_argument(
        "--compile", action="store_true",
        help="let torch.compile fuse kernels: minutes at the start, faster after",
    )  # fmt: skip
    add_parameter(bringup, ControllerParameters, "mode")
    add_parameter(bringup, ControllerParameters, "speed")
    _add_start(bringup)
    bringup.set_defaults(run=_bringup)


def _add_start(parser: argparse.ArgumentParser) -> None:
    """Add what holds for every node: the launch files have the same arguments."""
    add_namespace(parser)
    parser.add_argument(
        "--params-file", type=params_file, metavar="FILE",
        help="YAML file with parameters of the nodes; options that are given hold over them; default: none",
    )  # fmt: skip
    parser.add_argument(
        "--log-level", choices=LogLevel.words(), default=LogLevel.INFO.value,
        help="from which severity on the nodes' words are printed",
    )  # fmt: skip
    parser.add_argument(
        "--no-respawn", dest="respawn", action="store_false",
        help="do not start a policy or a recorder again that dies",
    )  # fmt: skip


def _bringup(options: argparse.Namespace) -> int:
    from vla_adapter_ros.cli.ready import ready_line
    from vla_adapter_ros.nodes.status_client import StatusClient

    nodes = node_list(
        contract=options.contract,
        checkpoint=options.checkpoint,
        simulate=options.simulate,
        controller=options.controller,
        policy=options.policy,
        record=str(options.record or ""),
        teleop=options.teleop or "",
        lock_step=options.lock_step,
        renderer=options.renderer,
        seed=options.seed,
        device=options.device,
        compiled=options.compile,
        mode=options.mode,
        speed=options.speed,
        console=options.console,
        foxglove=options.foxglove,
        runs=str(options.runs or ""),
    )
    if not nodes:
        raise ParameterError("no node is left to start: leave one of --robot --no-controller --no-policy out")
    start = StartOptions(
        options.namespace or "", options.params_file or {}, LogLevel(options.log_level), options.respawn
    )
    nodes = leave_to_files(nodes, vars(options).keys() - getattr(options, "given", ()))
    with GraphRunner(nodes, start=start) as graph, ExitStack() as listening:
        restarter = Restarter(graph, respawn=start.respawn)
        listener = StatusClient(listening.enter_context(make_client(options.namespace)))
        ready = ""
        while True:
            for line in restarter.restart_ended(time.monotonic()):
                print(f"vla-adapter: {line}", file=sys.stderr, flush=True)
            if not ready:
                started = {node.kind: graph.processes[node.name].pid for node in nodes}
                if ready := ready_line(listener.look(), started, options.contract):
                    print(f"vla-adapter: {ready}", file=sys.stderr, flush=True)
                    listening.close()
            time.sleep(PERIOD_S)


class Restarter:
    """Looks after the processes of a graph.

    A policy or a recorder that dies is started again: the new policy waits for an instruction, the
    new recorder for an episode, with everything that was saved. The pause before that doubles with
    each failure in a row, up to LONGEST_PAUSE_S, at which the tries go on without a further word.

    Args:
        graph: Runs; its processes are looked at and started again.
        respawn: Whether they are started again; if not, what has ended stays so.
    """

    def __init__(self, graph: GraphRunner, respawn: bool = True) -> None:
        self._graph, self._respawn = graph, respawn
        self._histories = {node.name: _ProcessHistory() for node in graph.nodes}

    def restart_ended(self, now: float) -> list[str]:
        """Start again what has ended and has waited; to be called a few times per second.

        Args:
            now: By a steady clock [s].

        Returns:
            What happened, one line each.

        Raises:
            ProcessError: the others must end too, see `NodeSpec.ends_all`.
        """
        said = []
        for node in self._graph.nodes:
            history = self._histories[node.name]
            status = self._graph.processes[node.name].poll()
            if status is None:
                history.mark_alive(now)
            elif history.restart_at is None:
                if line := self._ended(node, history, status, now):
                    said.append(line)
            elif self._respawn and now >= history.restart_at:
                history.mark_started()
                self._graph.start(node)
        return said

    def _ended(self, node: NodeSpec, history: _ProcessHistory, status: int, now: float) -> str:
        how = how_it_ended(node.name, status)
        if node.ends_all(status, history.starts):
            raise ProcessError(f"{how}: nothing runs without it" + "; its own words are above" * (status > 0))
        if not self._respawn:
            history.mark_ended(now)
            return f"{how}: it is not started again; {CONSEQUENCES[node.kind]}"
        before, pause = history.pause, history.mark_ended(now)
        if before == LONGEST_PAUSE_S == pause:
            return ""
        if pause < LONGEST_PAUSE_S:
            return f"{how}: it starts again in {pause:g} s; {CONSEQUENCES[node.kind]}"
        return f"{how}, again and again: from now on it is tried every {pause:g} s, without a word"


class _ProcessHistory:
    """When the process of one node was started and ended so far."""

    def __init__(self) -> None:
        self.starts = 1
        self.restart_at: float | None = (
            None  # when it is started again [s]; None: it has not ended, as far as seen
        )
        self.pause = 0.0  # before the newest start [s]
        self._first_seen: float | None = None

    def mark_alive(self, now: float) -> None:
        """The process runs."""
        if self._first_seen is None:
            self._first_seen = now
        if now - self._first_seen >= WORKED_S:
            self.pause = 0.0

    def mark_ended(self, now: float) -> float:
        """The process has ended; returns how long to wait before it is started again [s]."""
        self.pause = min(2 * self.pause, LONGEST_PAUSE_S) or FIRST_PAUSE_S
        self.restart_at = now + self.pause
        return self.pause

    def mark_started(self) -> None:
        """The process is started again."""
        self.starts += 1
        self.restart_at = self._first_seen = None
