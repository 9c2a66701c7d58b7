"""A client of the recorder node: its newest status, its commands, and what changed in words.

It arms the controller, too: whoever records by teleoperation needs both.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from vla_adapter_ros.msg import RecorderStatus
from vla_adapter_ros.srv import StartEpisode

SERVICES = {
    "stop": "stop_episode",
    "discard": "discard_episode",
    "rerecord": "rerecord_episode",
    "save": "save_pending",
}
FOUND_WITHIN_S = 10.0
ANSWER_WITHIN_S = 3.0  # an answer is lost where a server on a busy machine has not found our reader yet
SAVED_WITHIN_S = 60.0  # stop and save answer once the episode is on disk
STILL = ("disarmed", "stopped", "none")  # states of a controller that moves nothing
Answer = Callable[[bool, str], None]


class RecorderClient:
    """Talks to a recorder node from a thread of its own; nothing here waits for an answer.

    Args:
        recorder: Name of the node, with its namespace.
        controller: That of the controller.
    """

    def __init__(self, recorder: str = "recorder_node", controller: str = "controller_node") -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("recorder_client")
        self.status: RecorderStatus | None = None
        """Newest status; None before the first."""
        self.events: queue.Queue[tuple[bool, str]] = queue.Queue()
        """Answers to commands, and reasons that the recorder gave by itself: (good, sentence)."""
        self._starting = self.node.create_client(StartEpisode, f"{recorder}/start_episode")
        self._plain = {c: self.node.create_client(Trigger, f"{recorder}/{s}") for c, s in SERVICES.items()}
        self._plain["arm"] = self.node.create_client(Trigger, f"{controller}/arm")
        self.node.create_subscription(
            RecorderStatus, f"{recorder}/status", self._on_status, QoSProfile(depth=10)
        )
        self._awaited: dict[Any, tuple[float, str, bool]] = {}  # future -> (deadline, say so, it is a stop)
        self._answered = ""  # the newest answer
        self.node.create_timer(1.0, self._miss_answers, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="recorder client", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the graph."""
        rclpy.try_shutdown()
        self._thread.join()

    def __enter__(self) -> RecorderClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ready(self) -> bool:
        """Whether the recorder is there."""
        return self.status is not None and self._starting.service_is_ready()

    def wait(self, patience_s: float) -> bool:
        """Wait until the recorder is there; False if it was not within so long [s]."""
        deadline = time.monotonic() + patience_s
        while not self.ready and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.ready

    def start(self, instruction: str, answer: Answer | None = None) -> None:
        """Ask for an episode; an empty instruction takes that of the one before.

        `answer` is called with whether it began and a sentence; without one, both become an event. That no
        answer comes in time is an event.
        """
        self._send(self._starting, StartEpisode.Request(instruction=instruction), answer)

    def command(self, name: str, answer: Answer | None = None) -> None:
        """Ask for stop, discard, rerecord or save, or the controller for arm; for `answer` see `start`."""
        client = self._plain[name]
        if name == "arm" and self.status is not None and self.status.controller != "none":
            client.wait_for_service(FOUND_WITHIN_S)  # it is there, but perhaps not found yet
        self._send(client, Trigger.Request(), answer)

    def _send(self, client: Any, request: Any, answer: Answer | None) -> None:
        tell = answer or (lambda good, sentence: self.events.put((good, sentence)))
        if not client.service_is_ready():
            tell(False, f"{client.srv_name} is not there")
            return

        def answered(future: Any) -> None:
            self._awaited.pop(future, None)
            response = future.result()
            self._answered = response.message
            good = response.accepted if hasattr(response, "accepted") else response.success
            tell(good, response.message)

        saving = client in (self._plain["stop"], self._plain["save"])
        patience = SAVED_WITHIN_S if saving else ANSWER_WITHIN_S
        missing = f"no answer from {client.srv_name} within {patience:.0f} s, yet it may have been heard"
        future = client.call_async(request)
        self._awaited[future] = time.monotonic() + patience, missing, client is self._plain["stop"]
        future.add_done_callback(answered)

    @property
    def _stopping(self) -> bool:
        """Whether the answer to a stop is awaited."""
        return any(stops for *_, stops in list(self._awaited.values()))

    def _miss_answers(self) -> None:
        now = time.monotonic()
        for future, (deadline, missing, _) in list(self._awaited.items()):
            if now > deadline:
                self._awaited.pop(future, None)
                self.events.put((False, missing))

    def _on_status(self, message: RecorderStatus) -> None:
        before, self.status = self.status, message
        # A recorder that leaves `recording` says why; if it was not asked to, nobody else would tell.
        if before is None or before.state != "recording":
            return
        if message.state == "pending":
            if not self._stopping and message.reason != self._answered:  # else the answer to the stop says so
                self.events.put((False, message.reason))
        elif message.controller != before.controller and message.controller in STILL:
            self.events.put((False, f"controller: {message.controller}: {message.reason}"))

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
