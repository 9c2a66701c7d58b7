"""The instruction that a policy follows, and what has ended it. No rclpy here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.control.supervisor import HUMAN, STOPPED
from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.texts import visible


def readable_text(given: str) -> tuple[str, str]:
    """The words of an instruction, and why they are refused; no words and no reason: stop and hold."""
    words = " ".join(given.split())
    text = visible(words)
    if words and not text:
        return "", f"instruction {words!r}: allowed is a text that can be read, or '' to stop and hold"
    return text, ""


@dataclass
class Instruction:
    """What the robot shall do.

    Attributes:
        text: In words; empty: nothing.
        number: Of the instruction, within the policy's session.
        given: When it was given [s].
        heard_of: Whether the controller has named it, or a newer one of its session.
        ending: What has ended it; None: it is followed.
    """

    text: str = ""
    number: int = 0
    given: float = 0.0
    heard_of: bool = False
    ending: Ending | None = None

    def end_by(self, status: Any, session: str) -> Ending | None:
        """What has ended this instruction, by the controller's status; None: it is followed, or will be.

        What the controller has heard of, it names as ended. What it has not heard of, it will refuse if
        something stands against motion now: it ends at once, and not only with its first chunk. Once heard
        of, it ends with its session: another policy, or another controller, has taken its place.

        Args:
            status: The controller's newest `ControllerStatus`.
            session: Of the policy.
        """
        human = status.control_source == HUMAN
        why = "a human took over" if human else status.first_cause or status.reason or status.blocked_by
        if status.session_id == session and status.instruction_id >= self.number:
            self.heard_of = True
            if status.ended_instruction_id < self.number:
                return None
            by = EndedBy.HUMAN if human else EndedBy(status.ended_by or EndedBy.FAULT)
        elif self.heard_of and status.session_id != session:
            other = status.session_id
            by = EndedBy.REPLACED if other else EndedBy.INACTIVE
            why = f"it follows session {other} of another policy" if other else "it was started again"
        elif status.blocked_by and seconds(status.header.stamp) > self.given:
            by = EndedBy.STOP if status.state == STOPPED else EndedBy.REFUSED
        else:
            return None
        return Ending(by, f"the controller ended instruction {self.number}: {why or 'no reason given'}")

    def ending_at(self, now: float, timeout_s: float, canceled: bool) -> Ending | None:
        """What ends this instruction for whoever gave it with a time and may cancel it; None: nothing yet.

        Args:
            now: Time [s].
            timeout_s: Longest time [s]; 0: no limit.
            canceled: Whether it is canceled.
        """
        if self.ending is not None:
            return self.ending
        if canceled:
            return Ending(EndedBy.CANCEL, "the goal was canceled")
        if timeout_s and now - self.given >= timeout_s:
            return Ending(EndedBy.TIMEOUT, f"its time of {timeout_s:g} s is over")
        return None


def goal_problem(text: str, timeout_s: float) -> str:
    """What is wrong with the goal of an action; empty: nothing.

    Args:
        text: The instruction.
        timeout_s: Longest time [s].
    """
    if not text.strip():
        return f"instruction = {text!r}: allowed is a text; to stop and hold, cancel the goal"
    if not (math.isfinite(timeout_s) and timeout_s >= 0):
        return f"timeout = {timeout_s:g}: allowed is a time of at least 0 s; 0: no limit"
    return ""
