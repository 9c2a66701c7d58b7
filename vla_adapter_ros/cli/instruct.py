"""`vla-adapter instruct` and `vla-adapter call`: speak to the running graph where there is no `ros2`."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from vla_adapter_ros.cli.arguments import number
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes.graph import nobody_here

ANSWER_S = 10.0  # longest wait for an answer
AGAIN_S = 3.0  # an answer is lost if the server has not found our reader yet: then it is asked again


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
        parser.add_argument("--namespace", default="", help="of the nodes, such as /left; default: none")
        parser.add_argument(
            "--wait",
            type=number(),
            default=10.0,
            metavar="SECONDS",
            help="for the graph; default: %(default)g",
        )


def _instruct(options: argparse.Namespace) -> int:
    from vla_adapter_ros.srv import Instruct

    request = Instruct.Request(instruction=options.instruction)
    answer = call_service(Instruct, "instruct", request, namespace=options.namespace, wait_s=options.wait)
    return _tell(answer.accepted, answer.message)


def _call(options: argparse.Namespace) -> int:
    from std_srvs.srv import Trigger

    name = f"controller_node/{options.service}"
    answer = call_service(Trigger, name, Trigger.Request(), namespace=options.namespace, wait_s=options.wait)
    return _tell(answer.success, answer.message)


def _tell(done: bool, message: str) -> int:
    print(message if done else f"refused: {message}")
    return 0 if done else 1


def call_service(kind: Any, name: str, request: Any, *, namespace: str = "", wait_s: float = 10.0) -> Any:
    """Call a service that may be called twice, from a node of its own.

    Args:
        kind: Its type.
        name: Relative to the namespace.
        request: Of this type.
        namespace: Of the nodes.
        wait_s: Longest wait until the service is there [s].

    Raises:
        NoAnswer: it is not there, or does not answer.
    """
    import rclpy
    from rclpy.exceptions import InvalidNamespaceException
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # signals end the command, not just ROS
    try:
        node = rclpy.create_node(f"vla_adapter_{os.getpid()}", namespace=namespace or None)
        client = node.create_client(kind, name)
        if not client.wait_for_service(wait_s):
            raise NoAnswer(nobody_here(f"no service {client.srv_name} after {wait_s:g} s", "bringup"))
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            future = client.call_async(request)
            rclpy.spin_until_future_complete(node, future, timeout_sec=AGAIN_S)
            if future.done():
                return future.result()
            client.remove_pending_request(future)
        raise NoAnswer(f"{client.srv_name} is there, but did not answer within {ANSWER_S:g} s")
    except InvalidNamespaceException as error:
        raise NoAnswer(f"--namespace {namespace}: {' '.join(str(error).split())}") from None
    finally:
        rclpy.try_shutdown()
