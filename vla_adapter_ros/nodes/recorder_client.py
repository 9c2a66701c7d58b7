"""A client of the recorder node: its newest status, its commands, and what changed in words.

It arms the controller, too: whoever records by teleoperation needs both.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from vla_adapter_ros.msg import RecorderStatus
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.service_client import ServiceClient
from vla_adapter_ros.srv import LabelEpisode, StartEpisode

SERVICES = {
    "stop": "stop_episode",
    "discard": "discard_episode",
    "rerecord": "rerecord_episode",
    "save": "save_pending",
}
FOUND_WITHIN_S = 10.0
ANSWER_WITHIN_S = 3.0
SAVED_WITHIN_S = 60.0  # stop and save answer once the episode is on disk
STILL = ("disarmed", "stopped", "none")  # states of a controller that moves nothing
Answer = Callable[[bool, str], None]


class RecorderClient(RosClient):
    """Talks to a recorder node; commands return at once, and their answers come later.

    Args:
        recorder: Name of the node.
        controller: That of the controller.
        namespace: Of both; None: the root.
    """

    def __init__(
        self,
        recorder: str = "recorder_node",
        controller: str = "controller_node",
        namespace: str | None = None,
    ) -> None:
        super().__init__("recorder_client", namespace)
        self.status: RecorderStatus | None = None
        """Newest status; None before the first."""
        self.events: queue.Queue[tuple[bool, str]] = queue.Queue()
        """Answers to commands, and reasons that the recorder gave by itself: (good, message)."""
        self._stops_awaited = 0  # stops that are not answered yet
        self._answered = ""  # the newest answer
        self._start = self.service(StartEpisode, f"{recorder}/start_episode")
        self._label = self.service(LabelEpisode, f"{recorder}/label_episode")
        self._commands = {c: self.service(Trigger, f"{recorder}/{s}") for c, s in SERVICES.items()}
        self._commands["arm"] = self.service(Trigger, f"{controller}/arm")
        self.subscribe(RecorderStatus, f"{recorder}/status", self._on_status, QoSProfile(depth=10))

    @property
    def ready(self) -> bool:
        """Whether the recorder is there."""
        return self.status is not None and self._start.is_there

    def wait(self, patience_s: float) -> bool:
        """Wait until the recorder is there; False if it was not within so long [s]."""
        return self.poll_until(lambda: self.ready, patience_s)

    def start(self, instruction: str, answer: Answer | None = None) -> None:
        """Ask for an episode; an empty instruction takes that of the one before.

        `answer` is called with whether it began and a message; without one, both become an event. That no
        answer comes in time is an event.
        """
        request = StartEpisode.Request(instruction=instruction)
        self._send(self._start, request, answer, patience_s=ANSWER_WITHIN_S)

    def label(self, outcome: str, reason: str = "", episode: int = -1, answer: Answer | None = None) -> None:
        """Say how an episode ended, -1: the newest; see `LabelEpisode.srv`. For `answer` see `start`."""
        request = LabelEpisode.Request(episode=episode, outcome=outcome, reason=reason)
        self._send(self._label, request, answer, patience_s=SAVED_WITHIN_S)

    def command(self, name: str, answer: Answer | None = None) -> None:
        """Ask for stop, discard, rerecord or save, or the controller for arm; for `answer` see `start`."""
        heard = name == "arm" and self.status is not None and self.status.controller != "none"
        self._send(
            self._commands[name],
            Trigger.Request(),
            answer,
            patience_s=SAVED_WITHIN_S if name in ("stop", "save") else ANSWER_WITHIN_S,
            found_within_s=FOUND_WITHIN_S if heard else 0.0,  # the controller is there, but not found yet
            stops=name == "stop",
        )

    def _send(
        self,
        service: ServiceClient,
        request: Any,
        answer: Answer | None,
        *,
        patience_s: float,
        found_within_s: float = 0.0,
        stops: bool = False,
    ) -> None:
        tell = answer or (lambda good, message: self.events.put((good, message)))
        if not found_within_s and not service.is_there:
            tell(False, f"{service.name} is not there")
            return
        awaited = stops

        def done(response: Any, why: str) -> None:
            nonlocal awaited
            if awaited:  # the first of two calls
                self._stops_awaited -= 1
                awaited = False
            if response is None:
                self.events.put((False, why))
                return
            self._answered = response.message
            good = response.accepted if hasattr(response, "accepted") else response.success
            tell(good, response.message)

        self._stops_awaited += stops
        service.send(request, done, patience_s, found_within_s=found_within_s)

    def _on_status(self, message: RecorderStatus) -> None:
        before, self.status = self.status, message
        # A recorder that leaves `recording` says why; if it was not asked to, nobody else would tell.
        if before is None or before.state != "recording":
            return
        if message.state == "pending":
            # Else the answer to the stop says so.
            if not self._stops_awaited and message.reason != self._answered:
                self.events.put((False, message.reason))
        elif message.controller != before.controller and message.controller in STILL:
            self.events.put((False, f"controller: {message.controller}: {message.reason}"))
