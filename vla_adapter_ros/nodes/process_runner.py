"""Starts and stops the node graph where there is no `ros2 launch`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.errors import ProcessError
from vla_adapter_ros.nodes.graph import NodeSpec, graph_environment, is_simulated
from vla_adapter_ros.nodes.start_options import PLAIN, StartOptions

STOP_AFTER_S = (10.0, 5.0)  # patience after SIGINT and after SIGTERM


def how_it_ended(name: str, status: int) -> str:
    """The end of a process in words.

    Args:
        name: Of the node.
        status: Exit status; negative: the signal that killed it.
    """
    if status >= 0:
        return f"{name} ended with status {status}"
    try:
        return f"{name} was killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal without a name
        return f"{name} was killed by signal {-status}"


class GraphRunner:
    """A context in which the processes of a graph run.

    Args:
        nodes: What to start.
        logs: Folder for one log file per node; None lets the nodes write to this terminal.
        simulate: Whether the nodes speak to this computer alone, in simulated time; None: where the
            simulator is among them.
        start: What holds for all of them.
    """

    def __init__(
        self,
        nodes: list[NodeSpec],
        logs: Path | None = None,
        simulate: bool | None = None,
        start: StartOptions = PLAIN,
    ) -> None:
        self.nodes, self._logs, self._start = nodes, logs, start
        self._simulated = is_simulated(nodes) if simulate is None else simulate
        self._environment = graph_environment(self._simulated)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="vla_adapter_")

    def __enter__(self) -> GraphRunner:
        for node in self.nodes:
            self.start(node)
        return self

    def start(self, node: NodeSpec) -> None:
        """Start the process of a node, perhaps again."""
        files = self._start.write_files(node, Path(self._scratch.name))
        words = self._start.ros_arguments(node, files, self._simulated)
        self.start_module(node.name, node.module, ["--ros-args", *words])

    def start_module(self, name: str, module: str, words: Sequence[str]) -> None:
        """Start the process of a Python module, perhaps again.

        Args:
            name: Of the process, in logs and errors.
            module: To run, such as `vla_adapter_ros.nodes.policy`.
            words: Its arguments.
        """
        output = None
        if (log := self.log_file(name)) is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            output = open(log, "a" if name in self.processes else "w")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env=os.environ | self._environment,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,  # Ctrl-C reaches the runner alone, which then stops the nodes in order
        )
        if output is not None:
            output.close()

    def log_file(self, name: str) -> Path | None:
        """The log file of the node of this name; None where the nodes write to this terminal."""
        return None if self._logs is None else self._logs / f"{name}.log"

    def check_alive(self) -> None:
        """Raise if a process has ended.

        Raises:
            ProcessError: with the end of that process's log.
        """
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise ProcessError(f"{how_it_ended(name, process.returncode)}{self._log_end(name)}")

    def __exit__(self, *_: object) -> None:
        # Last started first: the recorder closes its files while the streams still run.
        for sign, patience in zip((signal.SIGINT, signal.SIGTERM), STOP_AFTER_S, strict=True):
            running = [p for p in reversed(self.processes.values()) if p.poll() is None]
            for process in running:
                process.send_signal(sign)
            deadline = time.monotonic() + patience
            for process in running:
                try:
                    process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    pass
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        self._scratch.cleanup()

    def _log_end(self, name: str) -> str:
        if (log := self.log_file(name)) is None:
            return ""
        return ":\n  " + "\n  ".join(log.read_text(errors="replace").splitlines()[-8:])
