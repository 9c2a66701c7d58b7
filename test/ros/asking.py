"""A user's own script, in a process of its own: gives the instructions that it reads, says how they end.

Run as a program, each line of the input is an instruction. It is given again, with the same long-lived
client, while it is refused or nobody is there, for PATIENCE_S of wall time; the last answer is printed as
one line. An instruction that was sent and not answered is not given again.
"""

from __future__ import annotations

import sys
import time

from vla_adapter_ros.errors import NoAnswerError
from vla_adapter_ros.nodes.instruct_client import InstructClient
from vla_adapter_ros.nodes.ros_client import RosClient

PATIENCE_S = 60.0


def ask(policy: InstructClient, text: str) -> str:
    answer = "nobody was asked"
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            response = policy.give(text, found_within_s=1.0)
        except NoAnswerError as error:
            answer = str(error)
            if error.sent:
                break
            continue
        answer = ("accepted: " if response.accepted else "refused: ") + response.message
        if response.accepted:
            break
        time.sleep(0.1)
    return answer


def insist(policy: InstructClient, text: str, patience_s: float = 2 * PATIENCE_S) -> None:
    """Give an instruction until it is accepted, also where an answer is lost: a person would see that."""
    answer, deadline = "nobody was asked", time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            response = policy.give(text, found_within_s=PATIENCE_S)
        except NoAnswerError as error:
            answer = str(error)
            continue
        if response.accepted:
            return
        answer = response.message
        time.sleep(0.5)
    raise AssertionError(answer)


def main() -> None:
    with RosClient("asking") as client:
        policy = InstructClient(client)
        for line in sys.stdin:
            print(ask(policy, line.strip()), flush=True)


if __name__ == "__main__":
    main()
