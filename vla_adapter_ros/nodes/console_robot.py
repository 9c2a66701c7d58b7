"""The robot as the console's pages command it: calls of its nodes' services, each answered in words."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from rclpy.publisher import Publisher
from rclpy.task import Future
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from vla_adapter_ros.console.robot import COMMANDS
from vla_adapter_ros.console.views import Answer, RobotView
from vla_adapter_ros.errors import NoAnswerError, ServiceError, VlaAdapterError
from vla_adapter_ros.nodes.addressee import (
    find_controller_service,
    find_instruct_service,
    find_recorder_service,
)
from vla_adapter_ros.nodes.capsule_client import save_capsules
from vla_adapter_ros.nodes.checkpoint_change import CheckpointChange
from vla_adapter_ros.nodes.console_view import robot_view
from vla_adapter_ros.nodes.instruct_client import ANSWER_S, InstructClient
from vla_adapter_ros.nodes.recorder_client import SAVED_WITHIN_S, SERVICES
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.service_client import ServiceClient
from vla_adapter_ros.nodes.status_client import StatusClient
from vla_adapter_ros.nodes.topics import NEWEST
from vla_adapter_ros.srv import Home, LabelEpisode, SetSpeed, StartEpisode

FOUND_WITHIN_S = 2.0
STOPPED_WITHIN_S, AGAIN_S = 2.1, 0.3
LATE_STOP_S = 10.0
OTHER_STOP = "Use the emergency stop."


class RosRobot:
    """The nodes of one namespace; satisfies `console.robot.Robot`.

    Args:
        client: In the namespace of the robot.
        name: What the contract calls the robot.
    """

    def __init__(self, client: RosClient, name: str) -> None:
        self._client, self._name = client, name
        self._listener = StatusClient(client)
        self._lock = threading.Lock()
        self._services: dict[str, ServiceClient] = {}
        self._instruct: InstructClient | None = None
        self._stop: ServiceClient | None = None
        self._stop_is_ready = threading.Event()  # the controller knows this client, too
        self._alive: Publisher[Empty] | None = None
        self._view = RobotView(name, client.node.get_namespace())

    def view(self) -> RobotView:
        """As `look` has found it last."""
        return self._view

    def look(self) -> RobotView:
        """Look at the graph, and make ready to stop the arm; to be called a few times per second."""
        status = self._listener.look()
        self._view = robot_view(self._name, status)
        if status.controller is not None:
            self._prepare_stop()
        return self._view

    async def stop(self) -> Answer:
        """Stop the arm until a reset, as fast as can be.

        To a controller that is known to know this client the request is sent at once, and again after
        AGAIN_S without an answer: to stop twice changes nothing. Else the controller is looked for first.
        """
        service = self._stop
        if service is None or not self._stop_is_ready.is_set() or not service.is_there:
            return await asyncio.to_thread(self._stop_slowly)
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        answered: list[Future[Any]] = []

        def take(future: Future[Any]) -> None:
            answered.append(future)
            loop.call_soon_threadsafe(done.set)

        for _ in range(round(STOPPED_WITHIN_S / AGAIN_S)):
            service.send_now(Trigger.Request()).add_done_callback(take)
            try:
                await asyncio.wait_for(done.wait(), AGAIN_S)
            except asyncio.TimeoutError:
                continue
            answer: Any = answered[0].result()
            return Answer(bool(answer.success), str(answer.message))
        return Answer(False, f"The controller has not answered to Stop. {OTHER_STOP}")

    def _stop_slowly(self) -> Answer:
        answer = self._try_stop()
        if answer.done:
            return answer
        threading.Thread(target=self._stop_late, name="console stops", daemon=True).start()
        return Answer(False, f"{answer.text} It is tried for {LATE_STOP_S:g} s more. {OTHER_STOP}")

    def _stop_late(self) -> None:
        """Go on trying: a stop that comes late is better than none."""
        deadline = time.monotonic() + LATE_STOP_S
        while time.monotonic() < deadline and not self._try_stop().done:
            time.sleep(AGAIN_S)

    def _try_stop(self) -> Answer:
        return self._call_controller(Trigger, "stop", Trigger.Request(), repeat_after_s=AGAIN_S)

    def command(self, name: str) -> Answer:
        """One of `COMMANDS`."""
        if name not in COMMANDS:
            return Answer(False, f"{name!r}: allowed is one of {', '.join(COMMANDS)}")
        kind, request = (Home, Home.Request()) if name == "home" else (Trigger, Trigger.Request())
        return self._call_controller(kind, name, request)

    def set_speed(self, speed: float) -> Answer:
        """At which fraction of its own speed the policy's motion is carried out."""
        return self._call_controller(SetSpeed, "set_speed", SetSpeed.Request(speed=speed))

    def instruct(self, text: str) -> Answer:
        """Give the policy an instruction, once."""
        try:
            with self._lock:
                if self._instruct is None:
                    name, _ = find_instruct_service(self._client, FOUND_WITHIN_S)
                    self._instruct = InstructClient(self._client, name)
            answer = self._instruct.give(text, found_within_s=FOUND_WITHIN_S)
        except VlaAdapterError as error:
            return _no(error)
        return Answer(answer.accepted, answer.message)

    def start_episode(self, instruction: str) -> Answer:
        """Begin to record an episode."""
        request = StartEpisode.Request(instruction=instruction)
        return self._call_recorder(StartEpisode, "start_episode", request, ANSWER_S)

    def record(self, name: str) -> Answer:
        """Stop, save, discard or record again."""
        if name not in SERVICES:
            return Answer(False, f"{name!r}: allowed is one of {', '.join(SERVICES)}")
        patience = SAVED_WITHIN_S if name in ("stop", "save") else ANSWER_S
        return self._call_recorder(Trigger, SERVICES[name], Trigger.Request(), patience)

    def label(self, outcome: str, reason: str) -> Answer:
        """Say how the newest episode ended."""
        request = LabelEpisode.Request(episode=-1, outcome=outcome, reason=reason)
        return self._call_recorder(LabelEpisode, "label_episode", request, SAVED_WITHIN_S)

    def save_capsule(self) -> Answer:
        """Keep what policy and controller did in the last 20 s in a file."""
        try:
            paths, refusals = save_capsules(self._client, FOUND_WITHIN_S)
        except VlaAdapterError as error:
            return _no(error)
        saved = [f"Saved: {path}" for path in paths]
        return Answer(bool(paths), "; ".join([*saved, *refusals]))

    def put_checkpoint(self, folder: str) -> Answer:
        """Put another checkpoint on the robot; see `CheckpointChange`."""
        try:
            name, _ = find_instruct_service(self._client, FOUND_WITHIN_S)
            policy = self._listener.look().names.get("policy", "")
            if not policy:
                return Answer(False, f"The node that serves {name} is not known yet: try again.")
            text = CheckpointChange(self._client, policy).change(folder)
        except VlaAdapterError as error:
            return _no(error)
        return Answer(True, text[:1].upper() + text[1:] + ".")

    def beat(self) -> None:
        """The operator's page is alive."""
        if self._alive is not None:
            self._alive.publish(Empty())

    def _prepare_stop(self) -> None:
        """Know the controller's stop, and be known by it, before it is needed."""
        if self._stop is not None and self._stop.is_there:
            return
        self._stop_is_ready.clear()
        try:
            name, _ = find_controller_service(self._client, "stop", 0.0)
        except ServiceError:
            return
        self._stop = self._service(Trigger, name)
        if self._alive is None:
            topic = f"{name.rpartition('/')[0]}/operator_alive"
            self._alive = self._client.node.create_publisher(Empty, topic, NEWEST)
        threading.Thread(target=self._meet, args=(self._stop,), name="console meets", daemon=True).start()

    def _meet(self, stop: ServiceClient) -> None:
        """Until the controller knows this client, which takes long on a busy computer."""
        while self._stop is stop:
            try:
                stop.prepare(FOUND_WITHIN_S, ANSWER_S)
            except VlaAdapterError:
                if not self._client.alive:
                    return
                continue
            self._stop_is_ready.set()
            return

    def _call_controller(
        self, kind: type, service: str, request: Any, repeat_after_s: float | None = None
    ) -> Answer:
        try:
            name, _ = find_controller_service(self._client, service, FOUND_WITHIN_S)
            answer = self._service(kind, name).call(request, ANSWER_S, repeat_after_s=repeat_after_s)
        except VlaAdapterError as error:
            return _no(error)
        return Answer(answer.success, answer.message)

    def _call_recorder(self, kind: type, service: str, request: Any, patience_s: float) -> Answer:
        try:
            name, _ = find_recorder_service(self._client, service, FOUND_WITHIN_S)
            answer = self._service(kind, name).call(request, patience_s, found_within_s=FOUND_WITHIN_S)
        except VlaAdapterError as error:
            return _no(error)
        good = answer.accepted if hasattr(answer, "accepted") else answer.success
        return Answer(bool(good), str(answer.message))

    def _service(self, kind: type, name: str) -> ServiceClient:
        """A client that is made once per service."""
        with self._lock:
            if name not in self._services:
                self._services[name] = self._client.service(kind, name)
            return self._services[name]


def _no(error: VlaAdapterError) -> Answer:
    sent = " It may have been heard." if isinstance(error, NoAnswerError) and error.sent else ""
    text = str(error)
    return Answer(False, f"{text[:1].upper()}{text[1:]}.{sent}")
