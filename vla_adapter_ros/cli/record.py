"""`vla-adapter record`: start the recorder (or join a running one), see what it does, press keys."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.cli.arguments import (
    add_namespace,
    add_parameter,
    add_robot,
    add_teleop,
    output_folder,
    wrong_arguments,
)
from vla_adapter_ros.cli.keys import Keyboard, parse_keys
from vla_adapter_ros.cli.operate import as_commands
from vla_adapter_ros.cli.recorder_line import status_line
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ParameterError, RecordingError
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.nodes.graph import NodeSpec, nobody_here, recording_nodes
from vla_adapter_ros.nodes.parameter_rules import make_parameters
from vla_adapter_ros.nodes.parameters import RecorderParameters, SimulatorParameters
from vla_adapter_ros.nodes.start_options import StartOptions
from vla_adapter_ros.texts import visible

if TYPE_CHECKING:  # rclpy takes its time to import
    from vla_adapter_ros.nodes.ros_client import RosClient

COMMANDS = (
    *("toggle", "start", "stop", "discard", "rerecord", "save"),
    *Outcome.words(),
    *("instruction", "arm", "quit"),
)
KEYS = {
    "space": "toggle",
    "s": "save",
    "d": "discard",
    "r": "rerecord",
    "y": "success",
    "n": "failure",
    "t": "instruction",
    "a": "arm",
    "q": "quit",
}
HELP = (
    "space: start/stop   d: discard   r: record again   s: save a failed one   y/n: success/failure   "
    "t: instruction   a: arm the controller   q: quit"
)
HAND_GUIDING = (
    "hand guiding (action.source: next_state): no controller is started; switch the robot to freedrive or "
    "gravity compensation, and move the arm by hand while it records"
)
PENDING = "the episode failed a check and waits: s saves it all the same, d discards it, r records it again"
REFRESH_S, ESCAPE = 0.1, "\x1b"
CLOCK_WITHIN_S = 10.0  # a simulator that runs is found by then


def add_record_command(commands: Any) -> None:
    """Add `record` to the parser's commands."""
    record = commands.add_parser(
        "record", help="record demonstrations, with live status and keys", epilog=f"keys: {HELP}"
    )
    record.add_argument(
        "--dataset", type=output_folder,
        help="folder of the LeRobot data set; made if missing, else continued; no default",
    )  # fmt: skip
    add_parameter(record, CommonParameters, "contract")
    record.add_argument(
        "--instruction", default="", help="instruction of the first episode; key t changes it; default: asked"
    )
    add_robot(record)
    add_teleop(record)
    add_parameter(record, SimulatorParameters, "renderer")
    record.add_argument(
        "--only",
        action="store_true",
        help="start the recorder alone, beside a running simulator; with --robot beside a real robot",
    )
    record.add_argument(
        "--attach", action="store_true",
        help="start nothing: join a running recorder, with ROS's own network settings",
    )  # fmt: skip
    add_namespace(record)
    record.add_argument(
        "--keys", default="", help="further keys, such as 'toggle=b discard=pageup'; default: none"
    )
    record.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="parameter of the recorder node; repeatable",
    )  # fmt: skip
    record.add_argument(
        "--bag",
        action="store_true",
        help="also write the raw topics of each episode as a bag, beside the data set",
    )
    record.add_argument(
        "--bell", action="store_true", help="ring when an episode starts, and twice at its end"
    )
    record.add_argument(
        "--logs", type=output_folder, default=Path("out/record_logs"), help="folder of the nodes' logs"
    )
    record.set_defaults(run=_record)


def recorder_nodes(options: argparse.Namespace) -> list[NodeSpec]:
    """The processes to start.

    Raises:
        ContractError: see `read_contract`.
        ParameterError: no data set, or a parameter that the recorder does not have or allow.
    """
    if options.attach:
        return []
    if options.dataset is None:
        raise ParameterError("--dataset is missing: allowed is the directory of the data set")
    read_contract(options.contract)  # a wrong one is told here, not in a log
    given: dict[str, Any] = {"instruction": options.instruction}
    if options.bag:
        given["raw_bag"] = True
    for pair in options.set:
        name, _, value = pair.partition("=")
        given[name] = yaml.safe_load(value)
    make_parameters(RecorderParameters, given)
    nodes = recording_nodes(
        dataset=str(options.dataset),
        contract=options.contract,
        simulate=options.simulate,
        teleop=options.teleop or "",
        renderer=options.renderer,
    )
    for node in nodes:
        if node.kind == "recorder":
            node.parameters.update(given)
    return [node for node in nodes if node.kind == "recorder" or not options.only]


def _record(options: argparse.Namespace) -> int:
    from vla_adapter_ros.nodes.process_runner import GraphRunner
    from vla_adapter_ros.nodes.recorder_client import FOUND_WITHIN_S, RecorderClient

    with wrong_arguments(ParameterError):
        keys = parse_keys(options.keys, COMMANDS, KEYS)
        nodes = recorder_nodes(options)
    if not options.attach and read_contract(options.contract).hand_guided:
        print(HAND_GUIDING)
    with contextlib.ExitStack() as stack:
        start = StartOptions(options.namespace or "")
        runner = None
        if nodes:
            runner = stack.enter_context(GraphRunner(nodes, options.logs, options.simulate, start))
        client = stack.enter_context(RecorderClient(namespace=options.namespace))
        if options.only and options.simulate:
            require_simulator(client, CLOCK_WITHIN_S)
        if runner is None and not client.wait(FOUND_WITHIN_S):
            raise RecordingError(nobody_here("no recorder answers", "record --dataset PATH"))
        keyboard = stack.enter_context(Keyboard())
        terminal = Terminal(client, keyboard, options.instruction, bell=options.bell)
        while True:
            if runner is not None:
                runner.check_alive()
            if not terminal.update(keys):
                return 0


def require_simulator(client: RosClient, patience_s: float) -> None:
    """Refuse to record in simulated time where nobody gives it.

    Args:
        client: Looks for a publisher of the clock, in its namespace.
        patience_s: How long it may take to find one [s].

    Raises:
        RecordingError: there is none.
    """
    clock = client.node.resolve_topic_name("clock")  # each simulation in a namespace has its own
    if not client.poll_until(lambda: client.node.count_publishers(clock) > 0, patience_s):
        what = f"--only without --robot records in simulated time, and no simulator publishes {clock}"
        raise RecordingError(f"{nobody_here(what, 'bringup')}; beside a real robot add --robot")


class Terminal:
    """What the operator sees and does.

    Args:
        client: `RecorderClient`.
        keyboard: Open keyboard.
        instruction: Of the next episode.
        bell: Whether to ring.
    """

    def __init__(self, client: Any, keyboard: Keyboard, instruction: str, *, bell: bool = False) -> None:
        self._client, self._keyboard, self._bell = client, keyboard, bell
        self._instruction = instruction
        self._leaving = False
        self._state = ""
        self._report_lines: list[str] = []
        self._live = sys.stdout.isatty()
        self._greeted = False

    def update(self, keys: dict[str, str]) -> bool:
        """Handle keys and show what is new; False when the operator wants to leave."""
        client = self._client
        if not self._greeted and client.ready:
            self._greeted = True
            self._print_line(HELP)
        for key in self._keyboard.read(REFRESH_S) if client.ready else self._pause():
            command = keys.get(key)
            if command == "quit":
                if client.status.state == "idle" or self._leaving:
                    return False
                self._leaving = True
                self._print_line(f"an episode is {client.status.state}: once more discards it and quits")
            elif command is not None:
                self._leaving = False
                self._run_command(command)
        self._show()
        return not self._keyboard.ended

    def _pause(self) -> list[str]:
        time.sleep(REFRESH_S)  # keys pressed before the recorder is there wait for it
        return []

    def _run_command(self, command: str) -> None:
        if command == "toggle":
            command = "stop" if self._client.status.state == "recording" else "start"
        if command == "instruction" or (command == "start" and not self._next_instruction()):
            self._ask()
            if command == "instruction":
                return
        if command in Outcome.words():
            self._client.label(command, self._ask_reason() if command == Outcome.FAILURE else "")
        elif command == "start":
            self._client.start(self._next_instruction())
        else:
            self._client.command(command)

    def _next_instruction(self) -> str:
        return self._instruction or self._client.status.instruction

    def _ask(self) -> None:
        with self._keyboard.whole_lines():
            self._clear()
            said = input("instruction (empty or Esc: as before): ")
            self._instruction = ("" if ESCAPE in said else visible(said)) or self._instruction

    def _ask_reason(self) -> str:
        """Why the episode failed: the number of a reason that is offered, or words."""
        offered = list(self._client.status.outcome_reasons)
        listed = "  ".join(f"{number}: {reason}" for number, reason in enumerate(offered, 1))
        with self._keyboard.whole_lines():
            self._clear()
            said = visible(input(f"why ({listed}; or in words): " if offered else "why: "))
        return offered[int(said) - 1] if said in map(str, range(1, len(offered) + 1)) else said

    def _show(self) -> None:
        status = self._client.status
        events = []
        while not self._client.events.empty():
            events.append(self._client.events.get())
        if status is not None and list(status.verdict) != self._report_lines:
            self._report_lines = list(status.verdict)
            said = [status.reason, *(message for _, message in events)]
            for line in self._report_lines:
                if not line.startswith(("pass", "skip")) and not any(line in message for message in said):
                    self._print_line(f"  {line}")
        for good, message in events:  # after the warnings: what is to be decided comes last
            self._print_line(("" if good else "! ") + as_commands(message))
        if status is None:
            return
        if status.state != self._state:
            if self._bell and self._state:
                print("\a" if status.state == "recording" else "\a\a", end="", flush=True)
            self._state = status.state
            if status.state == "pending":
                self._print_line(PENDING)
        if self._live:
            self._clear()
            print(status_line(status)[: shutil.get_terminal_size().columns - 1], end="", flush=True)

    def _print_line(self, line: str) -> None:
        self._clear()
        print(line, flush=True)

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[2K", end="")
