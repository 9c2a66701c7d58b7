"""Goals of the action `execute_instruction`, sent by a bench."""

from __future__ import annotations

from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action.client import ActionClient

from vla_adapter_ros.action import ExecuteInstruction

STATUS = {
    GoalStatus.STATUS_SUCCEEDED: "succeeded",
    GoalStatus.STATUS_CANCELED: "canceled",
    GoalStatus.STATUS_ABORTED: "aborted",
}


class GoalSender:
    """A client of the action, made once: discovery takes time.

    Args:
        bench: Spins the client's node, and waits.
    """

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.client = ActionClient(bench.node, ExecuteInstruction, "execute_instruction")

    def send(self, text: str, timeout: float = 0.0) -> Goal:
        """Send a goal; every goal is accepted."""
        assert self.bench.until(self.client.server_is_ready), "no action execute_instruction"
        return Goal(self, text, timeout)


class Goal:
    """One goal, from its acceptance to its result."""

    def __init__(self, sender: GoalSender, text: str, timeout: float) -> None:
        self._bench = sender.bench
        self.feedback: list[ExecuteInstruction.Feedback] = []
        request = ExecuteInstruction.Goal(instruction=text, timeout=timeout)
        sent = sender.client.send_goal_async(request, feedback_callback=self._on_feedback)
        assert self._bench.until(sent.done)
        self._handle = sent.result()
        assert self._handle.accepted
        self._result = self._handle.get_result_async()

    def cancel(self) -> None:
        """Ask for the cancellation; the server accepts it."""
        asked = self._handle.cancel_goal_async()
        assert self._bench.until(asked.done) and len(asked.result().goals_canceling) == 1

    def ended(self) -> tuple[str, bool, str, str]:
        """How it ended: status, and succeeded, stopped_by and message of its result."""
        assert self._bench.until(self._result.done)
        response = self._result.result()
        result = response.result
        return STATUS[response.status], result.succeeded, result.stopped_by, result.message

    def _on_feedback(self, message: Any) -> None:
        self.feedback.append(message.feedback)
