"""Recorder node: aligned frames to a LeRobot data set, episode by episode."""

from __future__ import annotations

from collections import deque
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Joy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.dataset.leader import Leader, Report
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, read_settings
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ParameterError, VlaAdapterError
from vla_adapter_ros.msg import ControllerStatus, RecorderStatus
from vla_adapter_ros.nodes.base import STATUS_TOPIC, ManagedNode
from vla_adapter_ros.nodes.buttons import ButtonMap
from vla_adapter_ros.nodes.conversions import seconds, to_stamp
from vla_adapter_ros.nodes.parameters import RecorderParameters
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.streams import StreamSubscriber
from vla_adapter_ros.observation.lateness import losses_since
from vla_adapter_ros.recorder.commands import run_command
from vla_adapter_ros.recorder.memory import share_one_heap
from vla_adapter_ros.recorder.session import RecordingSession
from vla_adapter_ros.recorder.session_types import Reply, SessionSettings, SessionState, describe
from vla_adapter_ros.srv import StartEpisode
from vla_adapter_ros.texts import visible

STATUS_PERIOD_S = 0.2
DEPTH = QoSProfile(depth=10)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class RecorderNode(ManagedNode):
    """Callbacks hand samples and commands to a `RecordingSession`; saving happens in its threads.

    The data set is open from configuration to clean-up. A deactivation discards the episode that is being
    recorded; one that waits to be saved goes on waiting, until the clean-up.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("recorder_node", RecorderParameters, **options)

    def configure(self) -> None:
        """Open the data set, and everything the node hears and serves."""
        parameters = self.parameters
        if not parameters.dataset:
            raise ParameterError("parameter dataset is empty: allowed is the directory of the data set")
        buttons = ButtonMap(parameters.joy_buttons)
        settings = SessionSettings(
            on_fail=parameters.on_fail,
            min_disk_bytes=parameters.min_disk_gb * 1e9,
            silence_s=parameters.silence_s,
        )
        thresholds = read_settings(parameters.verdict) if parameters.verdict else DEFAULTS
        writer = DatasetWriter(
            parameters.dataset,
            self.contract,
            codec=parameters.codec,
            crf=parameters.crf,
            gop=parameters.gop,
            preset=parameters.preset,
        )
        humans = [self.resolve_topic_name(group.topic) for group in self.contract.teleop_groups]
        self._leader = Leader(self.contract, lambda: min(map(self.count_publishers, humans)))
        self._session = RecordingSession(
            writer,
            self.contract,
            settings,
            thresholds,
            log=self.get_logger().info,
            leader=self._leader,
            alarm=self.get_logger().error,
            losses=lambda: self._streams.builder.losses,
        )
        self.own(self._session.close)
        self._instruction = parameters.instruction
        real_time = not self.get_parameter("use_sim_time").value  # by which messages are received, too
        self._refused: deque[tuple[str, str]] = deque()  # images that could not be used: camera, why
        self._streams = StreamSubscriber(
            self,
            self._record_frames,
            with_action=True,
            polled=real_time,
            on_refused=lambda camera, why: self._refused.append((camera, why)),
        )
        self._status = self.publish_on(RecorderStatus, "~/status", DEPTH)
        self.listen(ControllerStatus, STATUS_TOPIC, self._on_controller, DEPTH)
        self.listen(String, "instruction", self._on_instruction, LATCHED, always=True)
        self.listen(String, "~/command", lambda m: self._command(m.data), DEPTH)
        if buttons:
            self.listen(Joy, "joy", lambda m: [self._command(c) for c in buttons.pressed(m.buttons)], DEPTH)
        # While a service waits for the disk, it must not keep the others, nor itself, from being called.
        group = ReentrantCallbackGroup()
        self.serve(StartEpisode, "~/start_episode", self._on_start, group=group)
        session = self._session
        for name, act in (
            ("stop_episode", session.stop),
            ("discard_episode", session.discard),
            ("save_pending", session.save),
            ("rerecord_episode", lambda: session.rerecord(self.now(), self._obstacles())),
        ):

            async def answer(_: Any, response: Trigger.Response, act: Any = act) -> Trigger.Response:
                reply = act()
                self._publish_status()  # whoever waits for the state need not wait for the timer
                response.success, response.message = await self._outcome(reply)
                return response

            self.serve(Trigger, f"~/{name}", answer, group=group)
        # People watch the status by their own time, not by that of a simulation.
        self.every(STATUS_PERIOD_S, self._publish_status, steady=True)
        self.get_logger().info(f"data set {writer.root}, {writer.num_episodes} episodes so far")

    def activate(self) -> None:
        """Begin to build frames; nothing is recorded before an episode is started."""
        self._problem = "no frame yet"
        self._streams.start()

    def deactivate(self) -> None:
        """Discard the episode that is being recorded."""
        if self._session.state is SessionState.RECORDING:
            self._session.discard()

    def _on_controller(self, message: ControllerStatus) -> None:
        report = Report(
            seconds(message.header.stamp),
            message.state,
            message.control_source,
            message.blocked_by,
            message.mode,
            message.foreign_publisher,
        )
        self._leader.hear(report)

    def _on_instruction(self, message: String) -> None:
        if task := visible(message.data):
            self._instruction = task
            self._session.change_instruction(task, self.now())

    def _stream_issues(self) -> list[str]:
        """Streams that are silent."""
        self._streams.poll()
        return self._streams.issues(self.now())

    def _obstacles(self) -> list[str]:
        """Why no good frame could be recorded now."""
        self._streams.poll()
        return self._streams.obstacles(self.now())

    def _record_frames(self, now: float) -> None:
        """Record the frames that became ready, and count the images that made none."""
        while self._refused:
            self._session.count_refused_image(*self._refused.popleft())
        for frame in self._streams.builder.take_frames(now):
            self._session.add_frame(frame)
            self._problem = frame.problem
            self.acknowledge(frame.stamp)
        self._session.check_faults(now, self._stream_issues)

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        reply = self._session.start(request.instruction, self.now(), self._obstacles())
        response.accepted, response.message = reply.ok, reply.message
        self._publish_status()
        return response

    def _command(self, words: str) -> None:
        """A command without an answer: what became of it is in the status."""
        if (
            words.strip() in ("start", "toggle")
            and self._session.state is SessionState.IDLE
            and self._instruction
        ):
            words = f"start {self._instruction}"
        run_command(self._session, words, self.now(), self._obstacles())
        self._publish_status()

    def _publish_status(self) -> None:
        self._session.check_faults(self.now(), self._stream_issues)
        status = self._session.status()
        # The problem of the newest frame is that of now only as long as frames come.
        problem = "; ".join(self._stream_issues()) or self._problem
        ages = self._streams.builder.newest_ages(self.now())
        message = RecorderStatus(
            state=status.state.value,
            reason=status.reason or problem,
            controller=self._leader.state,
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
            verdict=list(status.report_lines),
        )
        message.header.stamp = to_stamp(self.now())
        self._status.publish(message)
        self.diagnose(
            problem,
            state=status.state,
            frames=status.frames,
            dropped=status.dropped,
            images=self._streams.images,
            losses="; ".join(losses_since({}, self._streams.builder.losses)),
            saving=status.saving,
            disk_gb=f"{status.disk_left / 1e9:.2f}",
        )

    async def _outcome(self, reply: Reply) -> tuple[bool, str]:
        """Wait until an episode is on disk, if one is being saved, and say how it ended."""
        if reply.saved is None:
            return reply.ok, reply.message
        executor, done = self.executor, Future()
        reply.saved.add_done_callback(lambda _: executor.create_task(done.set_result, None))
        await done
        try:
            summary = reply.saved.result()
        except VlaAdapterError as error:
            return False, str(error)
        return True, describe(summary, reply.dropped)


def main() -> int:
    """Entry point of `recorder_node`."""
    share_one_heap()
    return run(RecorderNode)


if __name__ == "__main__":
    raise SystemExit(main())
