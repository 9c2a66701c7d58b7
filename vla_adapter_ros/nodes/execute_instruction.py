"""The action `execute_instruction`: an instruction with a time, for behavior trees and task planners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action.server import ActionServer, CancelResponse
from rclpy.task import Future

from vla_adapter_ros.action import ExecuteInstruction
from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.instruction import Instruction, goal_problem

PERIOD_S = 0.05  # between two looks at the goals, by the steady clock: canceling takes no ROS time
FEEDBACK_EVERY = 4  # looks


@dataclass
class _Goal:
    """A goal that is carried out; `done` gets what ended it."""

    handle: Any
    instruction: Instruction
    done: Future[Ending]


class InstructionServer:
    """Gives the instruction of each goal, and tells its caller what ended it.

    Every goal is accepted, since a rejected one cannot say why: one whose instruction is refused is aborted
    at once, with the reason. A newer instruction, by a goal or by a call, replaces the one that is followed.

    Args:
        node: Serves.
        give: Gives an instruction in words; returns it, or None, and what there is to say.
        end: Ends an instruction that is still followed.
        newest_status: The controller's newest status; None: none was heard.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        give: Callable[[str], tuple[Instruction | None, str]],
        end: Callable[[Instruction, Ending], None],
        newest_status: Callable[[], ControllerStatus | None],
    ) -> None:
        self._node, self._give, self._end, self._newest_status = node, give, end, newest_status
        self._goals: list[_Goal] = []
        self._running, self._looks, self._closed = 0, 0, False
        self._server: ActionServer[Any, Any, Any] = ActionServer(
            node,
            ExecuteInstruction,
            "execute_instruction",
            self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        node.own(self._destroy)
        node.every(PERIOD_S, self._look, steady=True, always=True)

    async def _execute(self, handle: Any) -> ExecuteInstruction.Result:
        ending = self._failed()
        self._running += 1
        try:
            with self._node.boundary("execute_instruction"):
                ending = await self._carry_out(handle)
        finally:
            self._running -= 1
            if self._closed and not self._running:
                self._node.soon(self._server.destroy)  # after the result
        if ending.by is EndedBy.TIMEOUT:
            handle.succeed()
        elif ending.by is EndedBy.CANCEL:
            handle.canceled()
        else:
            handle.abort()
        return ExecuteInstruction.Result(
            succeeded=ending.by is EndedBy.TIMEOUT, stopped_by=ending.by, message=ending.why
        )

    async def _carry_out(self, handle: Any) -> Ending:
        text, timeout_s = handle.request.instruction, handle.request.timeout
        if problem := self._node.refusal() or goal_problem(text, timeout_s):
            return Ending(EndedBy.REFUSED, problem)
        instruction, message = self._give(text)
        if instruction is None:
            return Ending(EndedBy.REFUSED, message)
        goal = _Goal(handle, instruction, Future())
        self._goals.append(goal)
        try:
            return await goal.done or self._failed()
        finally:
            self._goals.remove(goal)

    def _failed(self) -> Ending:
        return Ending(EndedBy.FAULT, f"it failed: see the log of {self._node.get_name()}")

    def _look(self) -> None:
        """End the goals that are over, and say of the others how they are."""
        now = self._node.now()
        self._looks += 1
        for goal in self._goals:
            if goal.done.done():
                continue
            handle, instruction = goal.handle, goal.instruction
            ending = instruction.ending_at(now, handle.request.timeout, handle.is_cancel_requested)
            if ending is not None:
                self._end(instruction, ending)
                goal.done.set_result(ending)
            elif self._looks % FEEDBACK_EVERY == 0:
                handle.publish_feedback(self._feedback(now - instruction.given))

    def _feedback(self, elapsed_s: float) -> ExecuteInstruction.Feedback:
        feedback = ExecuteInstruction.Feedback(elapsed=max(elapsed_s, 0.0))
        if (status := self._newest_status()) is not None:
            feedback.state, feedback.message = status.state, status.first_cause
        return feedback

    def _destroy(self) -> None:
        """Take no more goals; whoever still waits for a result gets it first."""
        self._closed = True
        if not self._running:
            self._server.destroy()
