"""Shows a judge what the running graph says of the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.evaluation.suite import Judge, Plan, Result, Sight, result_of
from vla_adapter_ros.nodes.conversions import seconds

_AT_REST_S = 0.6  # after an episode
_STILL = ("stopped", "holding", "idle", "disarmed")


class SceneWatch:
    """Shows a judge what the graph says of the scene, and counts chunks.

    Args:
        client: Watches joints.
        contract: The robot's.
        judge: Looks at one episode.
        also: Told every message, before and after the episode as well.
    """

    def __init__(
        self,
        client: GraphClient,
        contract: Contract,
        judge: Judge,
        also: Callable[[str, Any], None] = lambda stream, message: None,
    ) -> None:
        self._also = client.on_message = also
        self.judge, self._client, self._contract = judge, client, contract
        self._begun, self._ran = np.inf, False
        self._opening = 1.0
        self.over = False
        """Whether the judge says so."""
        self.stopped = ""
        """Why the controller does not follow the policy any more; empty: it does, or has not begun."""
        self.chunks = 0
        self._ended = np.inf

    def begin(self) -> float:
        """Look from now on; the time [s]."""
        self._begun = self._client.now
        self._client.on_message = self._on_message
        return self._begun

    def end(self) -> float:
        """Look no more; when the episode was over [s]."""
        self._client.on_message = self._also
        return self._ended

    def _on_message(self, stream: str, message: Any) -> None:
        self._also(stream, message)
        if stream == "joints":
            positions = dict(zip(message.name, message.position, strict=True))
            openings = (
                gripper.opening(positions[self._contract.joint_in_messages(gripper.joint)])
                for gripper in self._contract.grippers
            )
            self._opening = min(openings, default=self._opening)
        elif stream == "chunk":
            self.chunks += bool(message.num_rows)
        elif stream == "scene" and np.isfinite(self._begun) and not self.over:
            self._look(message)

    def _look(self, scene: Any) -> None:
        now = seconds(scene.header.stamp)
        places = np.reshape(scene.positions, (-1, 3))
        positions = dict(zip(scene.objects, places, strict=True))
        if self.judge.look(Sight(now - self._begun, scene.lifted, positions, self._opening)):
            self.over, self._ended = True, now
        status = self._client.status
        if status is None or seconds(status.header.stamp) <= self._begun:
            return
        self._ran = self._ran or status.state == "running"
        if self._ran and status.state in _STILL:
            self.stopped = status.first_cause or status.reason or f"the controller is {status.state}"


def follow_plan(client: GraphClient, watch: SceneWatch, plan: Plan, longest_s: float) -> Result:
    """Let the running graph do what a plan asks for, until its judge says that it is over.

    Args:
        client: Of the graph, whose scene is put up.
        watch: With the plan's judge.
        plan: Its instruction is given.
        longest_s: Simulated time [s].

    Raises:
        ServiceError: the instruction was refused, or time stands still.
    """
    client.instruct(plan.instruction)
    begun = watch.begin()
    client.wait_until(lambda: watch.over or watch.stopped != "" or client.now >= begun + longest_s - 1e-6)
    ended, refused = watch.end(), watch.stopped
    client.instruct("")
    client.sleep(_AT_REST_S)
    duration_s = min((ended if watch.over else client.now) - begun, longest_s)
    return result_of(plan, watch.judge, "" if watch.over else refused, duration_s, watch.chunks)
