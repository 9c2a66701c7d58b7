"""Gives the policy instructions, each once: what begins motion is never repeated."""

from __future__ import annotations

import threading
import time

from std_msgs.msg import String

from vla_adapter_ros.errors import NoAnswerError
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.topics import INSTRUCTION_TOPIC, LATCHED
from vla_adapter_ros.srv import Instruct
from vla_adapter_ros.texts import visible

ANSWER_S = 10.0  # longest wait for an answer
TOLD_WITHIN_S = 1.0  # a policy that follows an instruction has published it by then


class InstructClient:
    """Calls the policy's service `instruct`, and hears on the topic `instruction` what the policy follows.

    Args:
        client: Carries both.
        service: Name of the service.
    """

    def __init__(self, client: RosClient, service: str = "instruct") -> None:
        self._changed = threading.Condition()
        self._followed: list[str] = []  # what the policy has said that it follows; empty: nothing
        client.subscribe(String, INSTRUCTION_TOPIC, self._on_instruction, LATCHED)
        self._service = client.service(Instruct, service)

    def give(self, text: str, *, found_within_s: float) -> Instruct.Response:
        """Give an instruction, once; an empty one stops the arm.

        An answer that is lost does not matter where the policy follows the instruction.

        Args:
            text: The instruction.
            found_within_s: Longest wait for the policy [s].

        Raises:
            NoAnswerError: no answer came within ANSWER_S, and the policy does not follow the instruction.
        """
        request, wanted = Instruct.Request(instruction=text), visible(" ".join(text.split()))
        before = len(self._followed)
        try:
            return self._service.call(request, ANSWER_S, found_within_s=found_within_s)
        except NoAnswerError as error:
            if not error.sent:
                raise
            # What was said before the request may be the word of a policy that has died since.
            said = self._wait_for(wanted, before)
            if said == wanted:
                what = f"follows {wanted!r}" if wanted else "stopped and holds"
                return Instruct.Response(accepted=True, message=f"the answer was lost, yet the policy {what}")
            now = {
                None: "the policy has said nothing since",
                "": "the policy follows no instruction now",
            }.get(said, f"the policy follows {said!r} now")
            raise NoAnswerError(f"{error}; {now}, and the instruction is not sent twice", sent=True) from None

    def _wait_for(self, wanted: str, before: int) -> str | None:
        """What the policy says that it follows, beyond the first `before` words; None: nothing new."""
        deadline = time.monotonic() + TOLD_WITHIN_S
        with self._changed:
            while wanted not in self._followed[-1:] or len(self._followed) == before:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._followed[-1] if len(self._followed) > before else None

    def _on_instruction(self, message: String) -> None:
        with self._changed:
            self._followed.append(message.data)
            self._changed.notify_all()
