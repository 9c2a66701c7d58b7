"""The policy node without a policy: it checks the streams as a policy would hear them, and infers nothing."""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.graph_status import INPUT_PROBLEM, NO_CHUNKS
from vla_adapter_ros.nodes.parameters import PolicyParameters
from vla_adapter_ros.nodes.streams import StreamSubscriber
from vla_adapter_ros.srv import Instruct

REFUSAL = "no checkpoint is loaded, so nothing but a human's commands can lead: name one with --checkpoint"
LOOK_S = 0.2  # between two looks at the streams


class CheckedStreams(Configured[PolicyParameters]):
    """Builds frames, says what keeps good ones from coming, and refuses every instruction."""

    def __init__(self, node: ManagedNode[PolicyParameters]) -> None:
        super().__init__(node)
        self._frame_problem = ""  # of the newest frame
        self._streams = StreamSubscriber(node, self._take_frames, with_action=False)
        node.serve(Instruct, "instruct", self._on_instruct)
        node.every(LOOK_S, self._diagnose, steady=True)
        node.describe_with(self._describe)
        node.get_logger().info("no checkpoint: the streams are checked, and instructions are refused")

    def activate(self) -> None:
        """Begin to build frames."""
        self._frame_problem = ""
        self._streams.start()

    def _on_instruct(self, request: Instruct.Request, response: Instruct.Response) -> Instruct.Response:
        response.accepted, response.message = False, REFUSAL
        return response

    def _take_frames(self, now: float) -> None:
        for frame in self._streams.builder.take_frames(now):
            self._frame_problem = frame.problem
            self.node.acknowledge(frame.stamp)

    def _diagnose(self) -> None:
        self.node.diagnose(*self._streams.problems(self.node.now(), self._frame_problem))

    def _describe(self) -> dict[str, Any]:
        if not self.node.active:
            return {}
        now = self.node.now()
        problem = next(iter(self._streams.issues(now)), self._frame_problem)
        return {INPUT_PROBLEM: problem, NO_CHUNKS: REFUSAL, **self._streams.describe(now)}
