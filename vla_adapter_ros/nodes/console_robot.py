"""The robot as the console's pages command it: calls of its nodes' services, each answered in words."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

from rclpy.publisher import Publisher
from rclpy.task import Future
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from vla_adapter_ros.console.robot import COMMANDS
from vla_adapter_ros.console.views import Answer, Recorder, RobotView, Stream
from vla_adapter_ros.errors import NoAnswerError, ServiceError, VlaAdapterError
from vla_adapter_ros.nodes.addressee import (
    find_controller_service,
    find_instruct_service,
    find_recorder_service,
)
from vla_adapter_ros.nodes.capsule_client import save_capsules
from vla_adapter_ros.nodes.checkpoint_change import CheckpointChange
from vla_adapter_ros.nodes.graph_status import INSTRUCTION, GraphStatus, why_nothing_moves
from vla_adapter_ros.nodes.instruct_client import ANSWER_S, InstructClient
from vla_adapter_ros.nodes.recorder_client import SAVED_WITHIN_S, SERVICES
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.service_client import ServiceClient
from vla_adapter_ros.nodes.status_client import StatusClient
from vla_adapter_ros.nodes.status_words import leader_text, node_text, policy_text
from vla_adapter_ros.nodes.topics import NEWEST
from vla_adapter_ros.srv import Home, LabelEpisode, SetSpeed, StartEpisode

FOUND_WITHIN_S = 2.0
STOPPED_WITHIN_S, AGAIN_S = 2.1, 0.3
OTHER_STOP = "Use the emergency stop."
KINDS = ("simulator", "controller", "policy", "recorder")


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
        answer = self._call_controller(Trigger, "stop", Trigger.Request(), repeat_after_s=AGAIN_S)
        return answer if answer.done else Answer(False, f"{answer.text} {OTHER_STOP}")

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
        try:
            stop.prepare(FOUND_WITHIN_S, ANSWER_S)
        except VlaAdapterError:
            return
        self._stop_is_ready.set()

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


def robot_view(name: str, status: GraphStatus) -> RobotView:
    """What the pages show of a graph.

    Args:
        name: What the contract calls the robot.
        status: What its nodes say.
    """
    controller, policy = status.controller, status.reports.get("policy")
    return RobotView(
        name=name,
        namespace=status.namespace,
        state=controller.state if controller is not None else "",
        leader=leader_text(controller.control_source if controller is not None else "none"),
        why=why_nothing_moves(status),
        instruction=policy.values.get(INSTRUCTION, "") if policy is not None and policy.heard else "",
        mode=controller.mode if controller is not None else "",
        speed=controller.speed if controller is not None else 1.0,
        facts=_facts(status),
        streams=tuple(Stream(stream, rate, age) for stream, (rate, age) in status.streams.items()),
        nodes={
            kind: node_text(status, kind) for kind in KINDS if kind != "simulator" or kind in status.names
        },
        recorder=_recorder(status),
        checkpoint=(policy_text(policy) if policy is not None else ""),
    )


def _facts(status: GraphStatus) -> dict[str, str]:
    controller, policy = status.controller, status.reports.get("policy")
    facts: dict[str, str] = {}
    if policy is not None and policy.heard:
        facts["Policy"] = policy_text(policy) or "no checkpoint"
    if controller is not None:
        p50, p99 = controller.latency_p50, controller.latency_p99
        known = p99 > 0.0 and math.isfinite(p99)
        facts["Latency"] = f"p50 {p50:.3f} s, p99 {p99:.3f} s" if known else "no chunk was executed yet"
        facts["Starvation"] = f"{controller.starved_ticks} ticks since start"
        if controller.mode != "drive":
            facts["Mode"] = f"{controller.mode}: nothing is sent to the arm"
        if controller.foreign_publisher:
            facts["Another publisher"] = controller.foreign_publisher
    return facts


def _recorder(status: GraphStatus) -> Recorder:
    heard = status.recorder
    if heard is None:
        return Recorder()
    return Recorder(
        state=heard.state,
        reason=heard.reason,
        instruction=heard.instruction,
        episode=heard.episode,
        episodes=heard.episodes,
        saving=heard.saving,
        frames=heard.frames,
        dropped=heard.dropped,
        rate_hz=heard.rate_hz,
        minutes_left=heard.minutes_left,
        verdict=tuple(heard.verdict),
        newest=heard.newest_episode,
        interventions=heard.interventions,
        outcome=heard.outcome,
        outcome_reason=heard.outcome_reason,
        reasons=tuple(heard.outcome_reasons),
    )


def _no(error: VlaAdapterError) -> Answer:
    sent = " It may have been heard." if isinstance(error, NoAnswerError) and error.sent else ""
    text = str(error)
    return Answer(False, f"{text[:1].upper()}{text[1:]}.{sent}")
