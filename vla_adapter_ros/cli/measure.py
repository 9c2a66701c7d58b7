"""`vla-adapter measure`: how late the arm is after a command, and a chunk after its image."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.choices import LARGEST_STEP
from vla_adapter_ros.cli.arguments import (
    CONTRACT_HELP,
    SECONDS,
    UsageError,
    add_namespace,
    number,
    output_file,
    whole,
)
from vla_adapter_ros.cli.operate import add_addressee, explained
from vla_adapter_ros.errors import ContractError, NoAnswerError, ServiceError, VlaAdapterError

if TYPE_CHECKING:
    from vla_adapter_ros.commissioning.command_delay import Estimate
    from vla_adapter_ros.contract import Contract
    from vla_adapter_ros.nodes.delay_measurement import DelayMeasurement

CONSENT = "yes"
_FEW_STEPS = 4  # from so many on, a measurement that something ends says what it has


def add_measure(commands: Any) -> None:
    """Add `measure` to the parser's commands."""
    parser = commands.add_parser("measure", help="measure what a contract needs to say about the arm")
    tasks = parser.add_subparsers(dest="task", required=True)
    delay = tasks.add_parser(
        "delay",
        help="move one joint a little, there and back, and say how late the arm is",
        description="Move one joint a little, there and back, through the running controller, and say how "
        "late the arm is and what to write for command.command_delay_s. The arm must be armed, and moves "
        "only after a yes.",
    )
    delay.add_argument("--contract", help=f"{CONTRACT_HELP}; default: what the running controller has")
    delay.add_argument(
        "--joint", default="", help="joint that moves; default: the last one that turns and is no gripper"
    )
    delay.add_argument(
        "--step", type=number(0.0, LARGEST_STEP, above=True), default=LARGEST_STEP, help="how far [rad]"
    )
    delay.add_argument("--repeats", type=whole(1, 50), default=5, help="steps there, and as many back")
    delay.add_argument("--yes", action="store_true", help="the arm may move: do not ask")
    add_addressee(delay)
    delay.set_defaults(run=_delay)

    latency = tasks.add_parser(
        "latency",
        help="how long after its image each chunk of the running policy arrives",
        description="Listen to the chunks of a policy that follows an instruction, on the computer that "
        "moves the arm, and say how late they are. Nothing moves by it.",
    )
    latency.add_argument("--seconds", type=SECONDS, default=30.0, help="how long to listen [s]")
    latency.add_argument(
        "--output", type=output_file, help="write the latencies here, for `benchmark latency --trace`"
    )
    add_namespace(latency)
    latency.set_defaults(run=_latency)


def _delay(options: argparse.Namespace) -> int:
    from vla_adapter_ros.commissioning.command_delay import judge_delay
    from vla_adapter_ros.commissioning.results import worst
    from vla_adapter_ros.dataset.quality.findings import Level
    from vla_adapter_ros.nodes.delay_measurement import DelayMeasurement, reach_controller
    from vla_adapter_ros.nodes.ros_client import RosClient

    if not (options.yes or sys.stdin.isatty()):
        raise UsageError("nobody can be asked here whether the arm may move: allowed is a terminal, or --yes")
    with RosClient(f"vla_adapter_measure_{os.getpid()}", options.namespace) as client:
        try:
            controller = reach_controller(client, options.wait)
        except NoAnswerError as error:
            raise explained(error) from None
        contract = read_running_contract(controller.contract, options.contract)
        measurement = DelayMeasurement(client, controller, contract, options.joint, options.step)
        print(_announcement(measurement, options.repeats), flush=True)
        if not (options.yes or _asked()):
            raise ServiceError("nothing moved: the answer was not yes")
        delays: list[float] = []

        def report(way: str, estimate: Estimate) -> None:
            delays.append(estimate.delay_s)
            _report(way, estimate)

        ended: VlaAdapterError | None = None
        try:
            measurement.run(options.repeats, report)
        except VlaAdapterError as error:
            if len(delays) < _FEW_STEPS:
                raise
            ended = error
    results, _ = judge_delay(contract, delays, controller.rate_hz, controller.publish_every)
    print("\n".join(result.line for result in results))
    if ended is not None:
        print(f"only {len(delays)} of {2 * options.repeats} steps were made: {ended}", file=sys.stderr)
    return 1 if ended is not None or worst(results) is Level.FAIL else 0


def _latency(options: argparse.Namespace) -> int:
    import numpy as np

    from vla_adapter_ros.nodes.latency_measurement import measure_latency
    from vla_adapter_ros.nodes.ros_client import RosClient

    print(f"Listening to chunks for {options.seconds:g} s ...", file=sys.stderr, flush=True)
    with RosClient(f"vla_adapter_measure_{os.getpid()}", options.namespace) as client:
        latencies = measure_latency(client, options.seconds)
    p50, p99 = (float(value) for value in np.percentile(latencies, [50, 99]))
    print(f"{len(latencies)} chunks, after their images p50 {p50:.3f} s, p99 {p99:.3f} s")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps([round(value, 4) for value in latencies]) + "\n")
        print(f"next: vla-adapter benchmark latency --trace {options.output}")
    return 0


def read_running_contract(running: str, named: str | None) -> Contract:
    """The contract of the running controller.

    Args:
        running: What the controller was started with: a shipped name or a path, as it was typed there.
        named: What was named here; None: the running one.

    Raises:
        ContractError: it cannot be read, or the named one has another delay, joints or limits.
    """
    from vla_adapter_ros.contract import read_contract

    if named is None:
        try:
            return read_contract(running)
        except ContractError as error:
            raise ContractError(
                f"the controller's contract cannot be read here: name it by --contract ({error})"
            ) from None
    contract = read_contract(named)
    try:
        other = read_contract(running)
    except ContractError:  # a path of another computer, or of another folder
        return contract
    for key in ("command", "limits", "action", "state"):
        if getattr(contract, key) != getattr(other, key):
            raise ContractError(
                f"{named}: the controller runs {running}, which has another {key}: allowed is the same"
            )
    return contract


def _announcement(measurement: DelayMeasurement, repeats: int) -> str:
    """What will move, how far and for how long."""
    size, lasts = abs(measurement.step.size), 2 * repeats * measurement.step.whole_s
    return (
        f"{measurement.joint} will move by {size:g} rad ({math.degrees(size):.1f} degrees), there and back "
        f"{repeats} times, for {lasts:.0f} s. It ends where it is. Keep the emergency stop in your hand; "
        "`vla-adapter hold` or Ctrl-C end it."
    )


def _asked() -> bool:
    """Ask the person at the terminal."""
    return input(f"May the arm move? Type {CONSENT}: ").strip().lower() == CONSENT


def _report(way: str, estimate: Estimate) -> None:
    print(
        f"{way:<5}  {estimate.delay_s:.3f} s after the command, moved {estimate.moved:.4f} rad, "
        f"correlation {estimate.fit:.3f}",
        flush=True,
    )
