"""`vla-adapter doctor`: is this computer fit for recording, training and driving a robot?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.cli.arguments import (
    CONTRACT_HELP,
    SECONDS,
    UsageError,
    add_namespace,
    add_parameter,
    any_path,
    wrong_arguments,
)
from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint
from vla_adapter_ros.errors import ParameterError, VlaAdapterError
from vla_adapter_ros.nodes.parameter_rules import make_parameters, parameters_of
from vla_adapter_ros.nodes.parameters import PolicyParameters, RecorderParameters

if TYPE_CHECKING:
    from vla_adapter_ros.commissioning.machine import ChunkSpeed
    from vla_adapter_ros.commissioning.results import Results
    from vla_adapter_ros.contract import Contract


def add_doctor(commands: Any) -> None:
    """Add `doctor` to the parser's commands."""
    doctor = commands.add_parser("doctor", help="check this computer, and the robot where one runs")
    doctor.add_argument("--contract", help=f"{CONTRACT_HELP}; default: no robot in particular")
    doctor.add_argument(
        "--checkpoint", default="",
        help="directory, hub id or shipped name, to be timed; default: the shipped one",
    )  # fmt: skip
    add_parameter(doctor, PolicyParameters, "device")
    add_parameter(doctor, PolicyParameters, "execution_horizon")
    doctor.add_argument(
        "--dataset", type=any_path, default=Path(), help="folder where data sets are to be recorded"
    )
    doctor.add_argument("--live", action="store_true", help="the robot of --contract must be running")
    doctor.add_argument("--seconds", type=SECONDS, default=3.0, help="how long to listen to the robot [s]")
    add_namespace(doctor)
    doctor.add_argument("--json", action="store_true", help="print plain JSON")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from vla_adapter_ros.commissioning.machine_checks import check_machine
    from vla_adapter_ros.commissioning.machine_facts import collect_facts
    from vla_adapter_ros.commissioning.results import Results, summary, worst
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.nodes.ros_installation import find_ros

    if options.live and not options.contract:
        raise UsageError("--live: allowed together with --contract, which says what must run")
    _require_device(options.device)
    contract, results = None, Results()
    try:
        contract = read_contract(options.contract) if options.contract else None
    except VlaAdapterError as error:
        results.note_failure("contract", str(error), "`vla-adapter contract check` says it line by line")
    print("Looking at this computer ...", file=sys.stderr, flush=True)
    facts = collect_facts(
        options.dataset,
        float(parameters_of(RecorderParameters)["min_disk_gb"].default) * 1e9,
        options.environment,
        find_ros(options.environment),
        measure_speed(options.checkpoint, options.device, options.execution_horizon, contract),
        bool(options.checkpoint),
    )
    results += check_machine(facts, contract)
    if not facts.ros.problem:
        results += _check_graph(options, contract)
    if options.json:
        print(json.dumps([result.as_json() for result in results], indent=2, ensure_ascii=False))
    else:
        print("\n".join(result.line for result in results))
        print(summary(results))
    return worst(results).rank - 1  # pass, warn, fail


def _require_device(name: str) -> None:
    """Refuse a device that is not there, as every command does; without a working torch none is known."""
    try:
        from vla_adapter_ros.model.device import resolve_device
    except Exception:  # the line about torch says why
        return
    with wrong_arguments(ParameterError):
        resolve_device(name)


def measure_speed(name: str, device: str, horizon: int, contract: Contract | None) -> ChunkSpeed | str:
    """Time a checkpoint's chunks as the policy node would make them, or say why that cannot be done.

    Args:
        name: Of the checkpoint; empty: the shipped one, if it is for the robot.
        device: See `resolve_device`.
        horizon: Rows that are executed before the next chunk takes over.
        contract: Of the robot; None: that of the checkpoint.
    """
    from vla_adapter_ros.commissioning.machine import ChunkSpeed
    from vla_adapter_ros.commissioning.machine_facts import broken
    from vla_adapter_ros.contract import require_same
    from vla_adapter_ros.contract.shipped import SHIPPED_CHECKPOINT, shipped_checkpoint_fits

    try:
        from vla_adapter_ros.model.device import describe_device
        from vla_adapter_ros.model.timing import measure_predictions
        from vla_adapter_ros.nodes.policy_loading import open_policy

        if contract is not None and not name and not shipped_checkpoint_fits(contract):
            return ""
        folder = locate_checkpoint(name or SHIPPED_CHECKPOINT)
        given = {"checkpoint": str(folder), "device": device}
        policy, robot = open_policy(make_parameters(PolicyParameters, given))
        require_same(contract or robot, robot, f"checkpoint {name}")
        policy.warm_up()
        times = tuple(measure_predictions(policy, robot))
        where, dtype = describe_device(policy.network.device), str(policy.network.dtype)
    except Exception as error:  # a checkpoint, torch or a driver can be broken in any way
        return broken(error)
    return ChunkSpeed(
        folder.name, where, dtype.removeprefix("torch."), times, robot.rate_hz, policy.config.chunk, horizon
    )


def _check_graph(options: argparse.Namespace, contract: Contract | None) -> Results:
    """What the graph says of the robot, if one runs."""
    from vla_adapter_ros.commissioning.graph_checks import check_running, expected_topics
    from vla_adapter_ros.commissioning.machine_facts import broken
    from vla_adapter_ros.commissioning.results import Results

    print(f"Listening to the graph for {options.seconds:g} s ...", file=sys.stderr, flush=True)
    try:
        from vla_adapter_ros.nodes.graph_survey import survey_graph

        awaited = expected_topics(contract) if contract is not None and options.live else ()
        survey = survey_graph(options.seconds, options.namespace or "", awaited)
    except Exception as error:  # the middleware can be broken in any way
        results = Results()
        results.note_failure("robot", f"the graph cannot be listened to: {broken(error)}", "See above")
        return results
    return check_running(contract, survey, options.live)
