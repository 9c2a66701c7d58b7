"""Operate the running nodes from a terminal: give an instruction, arm, hold, stop, reset."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vla_adapter_ros.choices import FASTEST, SLOWEST
from vla_adapter_ros.cli.arguments import UsageError, add_namespace, number
from vla_adapter_ros.cli.checkpoint_command import locate_checkpoint
from vla_adapter_ros.errors import NoAnswerError
from vla_adapter_ros.nodes.graph import nobody_here


def _trigger(options: argparse.Namespace) -> tuple[type, Any]:
    from std_srvs.srv import Trigger

    return Trigger, Trigger.Request()


def _home(options: argparse.Namespace) -> tuple[type, Any]:
    from vla_adapter_ros.contract import read_contract
    from vla_adapter_ros.dataset.start_pose import middle_of, read_start_pose
    from vla_adapter_ros.srv import Home

    pose: dict[str, float] = {}
    if options.contract:
        contract = read_contract(options.contract)
        if not (pose := dict(contract.home)):
            raise UsageError(f"--contract {options.contract}: it has no home pose: write its key home")
    elif options.checkpoint:
        folder = locate_checkpoint(options.checkpoint)
        contract = read_contract(folder / "contract.yaml")
        pose = middle_of(read_start_pose(folder), contract)
        if set(pose) != set(contract.arm_joints):
            raise UsageError(
                f"--checkpoint {options.checkpoint}: it does not say where its training episodes begin, as "
                "one of an earlier version: train it anew, or write the key home in the contract"
            )
    return Home, Home.Request(joint_names=list(pose), positions=list(pose.values()))


def _add_home(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--contract", help="to the home pose of this contract; default: of the running controller's own"
    )
    where.add_argument(
        "--checkpoint", help="to where the episodes begin that this checkpoint was trained on: their median"
    )


def _set_speed(options: argparse.Namespace) -> tuple[type, Any]:
    from vla_adapter_ros.srv import SetSpeed

    return SetSpeed, SetSpeed.Request(speed=options.speed)


def _add_speed(parser: argparse.ArgumentParser) -> None:
    text = f"{SLOWEST:g} to {FASTEST:g}, such as 0.3; {FASTEST:g} is the policy's own speed"
    parser.add_argument(
        "speed", type=number(SLOWEST, FASTEST), nargs="?", help=f"{text}; none: say what it is now"
    )


@dataclass(frozen=True)
class ControllerCommand:
    """A command that calls one service of the controller, once.

    Attributes:
        help: What it does, for the list of commands.
        service: Name of the service below that of the node.
        request: Type of the service, and its request, from the options.
        add_arguments: Adds the command's own arguments to its parser.
    """

    help: str
    service: str
    request: Callable[[argparse.Namespace], tuple[type, Any]] = _trigger
    add_arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None


CONTROLLER_COMMANDS = {
    "arm": ControllerCommand("allow the controller to move the arm; nothing moves by that", "arm"),
    "hold": ControllerCommand("end the instruction: the arm comes to rest and holds", "hold"),
    "stop": ControllerCommand("stop the arm, which stays stopped until reset; no safety function", "stop"),
    "reset": ControllerCommand("end a stop; nothing moves by that", "reset"),
    "home": ControllerCommand(
        "bring the arm home, slowly and within its limits; hold ends it", "home", _home, _add_home
    ),
    "speed": ControllerCommand(
        "carry out the policy's motion at a fraction of its own speed", "set_speed", _set_speed, _add_speed
    ),
}
"""Every command that is one call of the controller."""


def add_operation_commands(commands: Any) -> None:
    """Add `instruct` and the commands of the controller to the parser's commands."""
    instruct = commands.add_parser("instruct", help="give the running policy an instruction")
    instruct.add_argument("instruction", help="such as 'pick up the red cube'; '' stops the arm")
    instruct.set_defaults(run=_instruct)
    add_addressee(instruct)
    for name, command in CONTROLLER_COMMANDS.items():
        parser = commands.add_parser(name, help=command.help)
        command.add_arguments(parser)
        parser.set_defaults(run=partial(_call, command))
        add_addressee(parser)


def add_addressee(parser: argparse.ArgumentParser) -> None:
    """Add `--namespace` and `--wait`: whose nodes a command is for, and how long they may take to appear."""
    add_namespace(parser)
    parser.add_argument("--wait", type=number(), default=30.0, help="longest wait for the nodes [s]")


def _instruct(options: argparse.Namespace) -> int:
    from vla_adapter_ros.nodes.addressee import find_instruct_service
    from vla_adapter_ros.nodes.instruct_client import InstructClient

    with make_client(options.namespace) as client:
        try:
            service, left = find_instruct_service(client, options.wait)
            answer = InstructClient(client, service).give(options.instruction, found_within_s=left)
        except NoAnswerError as error:
            raise explained(error) from None
    return _tell(answer.accepted, answer.message)


def _call(command: ControllerCommand, options: argparse.Namespace) -> int:
    if command.service == "set_speed" and options.speed is None:
        return _tell_speed(options)
    from vla_adapter_ros.nodes.addressee import find_controller_service
    from vla_adapter_ros.nodes.instruct_client import ANSWER_S

    kind, request = command.request(options)
    with make_client(options.namespace) as client:
        try:
            name, left = find_controller_service(client, command.service, options.wait)
            answer = client.service(kind, name).call(request, ANSWER_S, found_within_s=left)
        except NoAnswerError as error:
            raise explained(error) from None
    return _tell(answer.success, answer.message)


def _tell_speed(options: argparse.Namespace) -> int:
    from vla_adapter_ros.nodes.status_client import StatusClient

    with make_client(options.namespace) as client:
        status = StatusClient(client).look_once()
    if status.controller is None:
        raise NoAnswerError(nobody_here("no controller is heard", "bringup"), sent=False)
    print(f"speed {status.controller.speed:g}")
    return 0


def make_client(namespace: str | None) -> Any:
    """A `RosClient` in the namespace of the robot."""
    from vla_adapter_ros.nodes.ros_client import RosClient

    return RosClient(f"vla_adapter_{os.getpid()}", namespace)


def explained(error: NoAnswerError) -> NoAnswerError:
    """The same, with what to start where nobody is there."""
    return error if error.sent else NoAnswerError(nobody_here(str(error), "bringup"), sent=False)


def _tell(done: bool, message: str) -> int:
    message = as_commands(message)
    print(message if done else f"refused: {message}")
    return 0 if done else 1


def as_commands(message: str) -> str:
    """The same with the controller's services, such as ~/reset, as commands of this program."""
    return re.sub(rf"~/({'|'.join(CONTROLLER_COMMANDS)})\b", r"`vla-adapter \1`", message)
