"""Recorder node: aligned frames to a LeRobot data set, episode by episode."""

from __future__ import annotations

import time
import types
from collections.abc import Generator
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Joy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.errors import ParameterError, VlaAdapterError
from vla_adapter_ros.msg import ControllerStatus, RecorderStatus
from vla_adapter_ros.nodes.base import STATUS_TOPIC, ManagedNode, run
from vla_adapter_ros.nodes.buttons import ButtonMap
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.parameters import RecorderParameters
from vla_adapter_ros.nodes.streams import StreamSubscriber
from vla_adapter_ros.recording.align import FrameBuilder
from vla_adapter_ros.recording.layout import SOURCE_NUMBERS
from vla_adapter_ros.recording.memory import share_one_heap
from vla_adapter_ros.recording.session import RecordingSession, Reply, SessionSettings, describe
from vla_adapter_ros.recording.verdict import VerdictSettings, read_settings
from vla_adapter_ros.recording.writer import DatasetWriter
from vla_adapter_ros.srv import StartEpisode

STATUS_PERIOD_S = 0.2
PAUSE_S = 0.002


class RecorderNode(ManagedNode):
    """Callbacks hand samples and commands to a `RecordingSession`; saving happens in its threads."""

    def __init__(self) -> None:
        super().__init__("recorder_node", RecorderParameters)
        self._session: RecordingSession | None = None

    def configure(self) -> None:
        parameters = self.parameters
        if not parameters.dataset:
            raise ParameterError("parameter dataset is empty: allowed is the directory of the data set")
        buttons = ButtonMap(parameters.joy_buttons)
        settings = SessionSettings(
            on_fail=parameters.on_fail,
            min_disk_bytes=parameters.min_disk_gb * 1e9,
            silence_s=parameters.silence_s,
        )
        verdict = read_settings(parameters.verdict) if parameters.verdict else VerdictSettings()
        writer = DatasetWriter(
            parameters.dataset,
            self.contract,
            codec=parameters.codec,
            crf=parameters.crf,
            gop=parameters.gop,
            preset=parameters.preset,
        )
        self._session = RecordingSession(writer, self.contract, settings, verdict, self.get_logger().info)
        self._source, self._instruction = 0, parameters.instruction
        self._builder = FrameBuilder(self.contract, with_action=True)
        real_time = not self.get_parameter("use_sim_time").value  # by which messages are received, too
        self._streams = StreamSubscriber(self, self._builder, self._take, polled=real_time)
        self._problem = "no frame yet"
        self._status = self.create_publisher(RecorderStatus, "~/status", QoSProfile(depth=10))
        self.create_subscription(ControllerStatus, STATUS_TOPIC, self._on_controller, QoSProfile(depth=10))
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(String, "instruction", self._on_instruction, latched)
        self.create_subscription(String, "~/command", lambda m: self._command(m.data), QoSProfile(depth=10))
        if buttons:
            self.create_subscription(
                Joy,
                "joy",
                lambda m: [self._command(c) for c in buttons.pressed(m.buttons)],
                QoSProfile(depth=10),
            )
        # While a service waits for the disk, it must not keep the others, nor itself, from being called.
        group = ReentrantCallbackGroup()
        self.create_service(StartEpisode, "~/start_episode", self._on_start, callback_group=group)
        session = self._session
        for name, act in (
            ("stop_episode", session.stop),
            ("discard_episode", session.discard),
            ("save_pending", session.save),
            ("rerecord_episode", lambda: session.rerecord(self.now(), self._complaints())),
        ):

            async def answer(_: Any, response: Trigger.Response, act: Any = act) -> Trigger.Response:
                reply = act()
                self._publish_status()  # whoever waits for the state need not wait for the timer
                response.success, response.message = await _outcome(reply)
                return response

            self.create_service(Trigger, f"~/{name}", answer, callback_group=group)
        # People watch the status by their own time, not by that of a simulation.
        self.create_timer(
            STATUS_PERIOD_S, self._publish_status, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self.get_logger().info(f"data set {parameters.dataset}, {writer.num_episodes} episodes so far")

    def activate(self) -> None:
        self.acknowledge("recorder", 0.0)

    def deactivate(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _on_controller(self, message: ControllerStatus) -> None:
        self._source = SOURCE_NUMBERS.get(message.control_source, 0)

    def _on_instruction(self, message: String) -> None:
        if message.data:
            self._instruction = message.data

    def _complaints(self) -> list[str]:
        self._streams.poll()
        complaints = self._builder.complaints(self.now())
        return complaints + self._streams.mismatches() if complaints else []

    def _take(self, now: float) -> None:
        """Record the frames that became ready."""
        for frame in self._builder.take(now):
            self._session.add(frame, self._source)
            self._problem = frame.problem
            self.acknowledge("recorder", frame.stamp)
        self._session.watch(now, self._complaints)

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        reply = self._session.start(request.instruction, self.now(), self._complaints())
        response.accepted, response.message = reply.ok, reply.message
        self._publish_status()
        return response

    def _command(self, words: str) -> None:
        """A command without an answer: what became of it is in the status."""
        if words.strip() in ("start", "toggle") and self._session.state == "idle" and self._instruction:
            words = f"start {self._instruction}"
        self._session.command(words, self.now(), self._complaints())
        self._publish_status()

    def _publish_status(self) -> None:
        if self._session is None:
            return
        self._session.watch(self.now(), self._complaints)
        status = self._session.status()
        ages = self._builder.newest_ages(self.now())
        message = RecorderStatus(
            state=status.state,
            reason=status.reason or self._problem,
            instruction=self._session.instruction,
            episode=status.episode,
            episodes=status.episodes,
            saving=status.saving,
            frames=status.frames,
            rate_hz=status.rate_hz,
            dropped=status.dropped,
            streams=list(ages),
            ages=list(ages.values()),
            queue_depth=status.queue_depth,
            disk_left=status.disk_left,
            minutes_left=status.minutes_left,
            verdict=list(status.verdict),
        )
        message.header.stamp = to_stamp(self.now())
        self._status.publish(message)
        self.diagnose(
            self._problem,
            state=status.state,
            frames=status.frames,
            dropped=status.dropped,
            images=self._streams.images,
            saving=status.saving,
            disk_gb=f"{status.disk_left / 1e9:.2f}",
        )


async def _outcome(reply: Reply) -> tuple[bool, str]:
    """Wait until an episode is on disk, if one is being saved, and say how it ended."""
    if reply.saved is None:
        return reply.ok, reply.message
    while not reply.saved.done():
        await _next_turn()
    try:
        summary = reply.saved.result()
    except VlaAdapterError as error:
        return False, str(error)
    return True, describe(summary, reply.dropped)


@types.coroutine
def _next_turn() -> Generator[None, None, None]:
    """Let other callbacks run. rclpy resumes a coroutine at once, so that without a pause it would spin."""
    time.sleep(PAUSE_S)
    yield


def main() -> int:
    """Entry point of `recorder_node`."""
    share_one_heap()
    return run(RecorderNode)


if __name__ == "__main__":
    raise SystemExit(main())
