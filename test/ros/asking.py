"""A user's own script, in a process of its own: gives the instructions that it reads, says how they end.

Run as a program, each line of the input is an instruction. It is asked again, with the same long-lived
client, until it is accepted or PATIENCE_S of wall time are over; the last answer is printed as one line.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor

from vla_adapter_ros.srv import Instruct

PATIENCE_S = 60.0
ANSWER_S = (
    3.0  # until an unanswered question is asked again: an answer can be lost while a node is discovered
)


def ask(executor, client, text: str) -> str:
    answer = "no service instruct"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if not client.wait_for_service(1.0):
            continue
        future = client.call_async(Instruct.Request(instruction=text))
        executor.spin_until_future_complete(future, ANSWER_S)
        if not future.done():
            client.remove_pending_request(future)
            answer = "not answered"
            continue
        answer = ("accepted: " if future.result().accepted else "refused: ") + future.result().message
        if future.result().accepted:
            break
        time.sleep(0.1)
    return answer


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("asking")
    client = node.create_client(Instruct, "instruct")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    for line in sys.stdin:
        print(ask(executor, client, line.strip()), flush=True)


if __name__ == "__main__":
    main()
