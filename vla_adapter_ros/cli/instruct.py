"""`vla-adapter instruct` and `vla-adapter call`: speak to the running nodes where there is no `ros2`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from vla_adapter_ros.cli.arguments import namespace, number
from vla_adapter_ros.errors import NoAnswerError
from vla_adapter_ros.nodes.graph import nobody_here


def add_instruct_commands(commands: Any) -> None:
    """Add `instruct` and `call` to the parser's commands."""
    instruct = commands.add_parser("instruct", help="give the running policy an instruction")
    instruct.add_argument("instruction", help="such as 'pick up the red cube'; '' stops the arm")
    instruct.set_defaults(run=_instruct)
    call = commands.add_parser("call", help="arm, hold, stop or reset the running controller")
    call.add_argument(
        "service",
        choices=("arm", "hold", "stop", "reset"),
        help="arm: allow motion. hold: end the instruction. stop: the same, until reset. reset: end a stop",
    )
    call.set_defaults(run=_call)
    for parser in (instruct, call):
        parser.add_argument(
            "--namespace", type=namespace, help="namespace of the nodes, such as /left; default: none"
        )
        parser.add_argument("--wait", type=number(), default=30.0, help="longest wait for the nodes [s]")


def _instruct(options: argparse.Namespace) -> int:
    from vla_adapter_ros.nodes.instruct_client import InstructClient

    with _client(options.namespace) as client:
        policy = InstructClient(client)
        try:
            answer = policy.give(options.instruction, found_within_s=options.wait)
        except NoAnswerError as error:
            raise _explained(error) from None
    return _tell(answer.accepted, answer.message)


def _call(options: argparse.Namespace) -> int:
    from std_srvs.srv import Trigger

    from vla_adapter_ros.nodes.instruct_client import ANSWER_S

    with _client(options.namespace) as client:
        service = client.service(Trigger, f"controller_node/{options.service}")
        try:
            answer = service.call(Trigger.Request(), ANSWER_S, found_within_s=options.wait)
        except NoAnswerError as error:
            raise _explained(error) from None
    return _tell(answer.success, answer.message)


def _client(namespace: str | None) -> Any:
    from vla_adapter_ros.nodes.ros_client import RosClient

    return RosClient(f"vla_adapter_{os.getpid()}", namespace)


def _explained(error: NoAnswerError) -> NoAnswerError:
    """The same, with what to start where nobody is there."""
    return error if error.sent else NoAnswerError(nobody_here(str(error), "bringup"), sent=False)


def _tell(done: bool, message: str) -> int:
    print(message if done else f"refused: {message}")
    return 0 if done else 1
