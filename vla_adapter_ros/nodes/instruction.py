"""The instruction that a policy follows, and when the controller has ended it. No rclpy here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.nodes.conversions import seconds


@dataclass
class Instruction:
    """What the robot shall do.

    Attributes:
        text: In words; empty: nothing.
        number: Of the instruction, within the policy's session.
        given: When it was given [s].
        heard_of: Whether the controller has named it, or a newer one of its session.
    """

    text: str = ""
    number: int = 0
    given: float = 0.0
    heard_of: bool = False

    def end_by(self, status: Any, session: str) -> str:
        """Why the controller follows this instruction no more, by its status; empty: it does, or will.

        What the controller has heard of, it names as ended. What it has not heard of, it will refuse if
        something stands against motion now: it ends at once, and not only with its first chunk. Once heard
        of, it ends with its session: another policy, or another controller, has taken its place.

        Args:
            status: The controller's newest `ControllerStatus`.
            session: Of the policy.
        """
        same_session = status.session_id == session
        human = "a human took over" if status.control_source == "human" else ""
        why = human or status.first_cause or status.reason or status.blocked_by
        if same_session and status.instruction_id >= self.number:
            self.heard_of = True
            ended = status.ended_instruction_id >= self.number
        elif self.heard_of and not same_session:
            ended = True
            other = status.session_id
            why = f"it follows session {other} of another policy" if other else "it was started again"
        else:
            ended = bool(status.blocked_by) and seconds(status.header.stamp) > self.given
        return f"the controller ended instruction {self.number}: {why or 'no reason given'}" if ended else ""
