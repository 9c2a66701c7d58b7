"""`vla-adapter instruct` and `vla-adapter call`: speak to the running nodes where there is no `ros2`."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vla_adapter_ros.cli.arguments import number
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes.graph import nobody_here

ANSWER_S = 10.0  # longest wait for an answer
FOUND_S = 0.5  # until the server has found our reader too, without which its answer is lost


class NoAnswer(VlaAdapterError):
    """A service is not there, or does not answer."""


def add_instruct_commands(commands: Any) -> None:
    """Add `instruct` and `call` to the parser's commands."""
    instruct = commands.add_parser("instruct", help="tell the running policy what to do")
    instruct.add_argument("instruction", help='such as "pick up the red cube"; "": stop and hold')
    instruct.set_defaults(run=_instruct)
    call = commands.add_parser("call", help="arm, hold, stop or reset the running controller")
    call.add_argument("service", choices=("arm", "hold", "stop", "reset"))
    call.set_defaults(run=_call)
    for parser in (instruct, call):
        parser.add_argument("--namespace", type=_namespace, help="of the nodes, such as /left; default: none")
        parser.add_argument("--wait", type=number(), default=30.0, help="for the nodes [s]; default: 30")


def _namespace(text: str) -> str:
    if not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are letters, digits, _ and /, such as /left")
    return text


def _instruct(options: argparse.Namespace) -> int:
    from vla_adapter_ros.srv import Instruct

    request = Instruct.Request(instruction=options.instruction)
    with service(Instruct, "instruct", options.namespace, options.wait) as call:
        answer = call(request)
    return _tell(answer.accepted, answer.message)


def _call(options: argparse.Namespace) -> int:
    from std_srvs.srv import Trigger

    name = f"controller_node/{options.service}"
    with service(Trigger, name, options.namespace, options.wait) as call:
        answer = call(Trigger.Request())
    return _tell(answer.success, answer.message)


def _tell(done: bool, message: str) -> int:
    print(message if done else f"refused: {message}")
    return 0 if done else 1


@contextmanager
def service(kind: Any, name: str, namespace: str | None, wait_s: float) -> Iterator[Callable[[Any], Any]]:
    """A function that calls a service from a node of its own, once: what begins motion is never repeated.

    Args:
        kind: Its type.
        name: Relative to the namespace.
        namespace: Of the nodes; None: none.
        wait_s: Longest wait until the service is there [s].

    Raises:
        NoAnswer: it is not there, or, from the function, does not answer.
    """
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # signals end the command, not just ROS
    try:
        node = rclpy.create_node(f"vla_adapter_{os.getpid()}", namespace=namespace)
        client, full_name = node.create_client(kind, name), node.resolve_service_name(name)
        if not client.wait_for_service(wait_s):
            raise NoAnswer(nobody_here(f"no service {full_name} after {wait_s:g} s", "bringup"))
        time.sleep(FOUND_S)

        def call(request: Any) -> Any:
            future = client.call_async(request)
            rclpy.spin_until_future_complete(node, future, timeout_sec=ANSWER_S)
            if not future.done():
                raise NoAnswer(
                    f"no answer from {full_name} within {ANSWER_S:g} s, yet it may have been heard"
                )
            return future.result()

        yield call
    finally:
        rclpy.try_shutdown()
