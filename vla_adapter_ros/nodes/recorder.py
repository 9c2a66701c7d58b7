"""Recorder node: aligned frames to a LeRobot data set, episode by episode."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from sensor_msgs.msg import Joy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.dataset.leader import Leader, Report
from vla_adapter_ros.dataset.outcome import offered_reasons
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, read_settings
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import ParameterError, VlaAdapterError
from vla_adapter_ros.msg import ControllerStatus, RecorderStatus
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.buttons import ButtonMap
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.conversions import seconds, to_stamp
from vla_adapter_ros.nodes.parameters import RecorderParameters
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.raw_topics import hear_raw_topics
from vla_adapter_ros.nodes.streams import StreamSubscriber
from vla_adapter_ros.nodes.topics import DEPTH, INSTRUCTION_TOPIC, LATCHED, STATUS_TOPIC
from vla_adapter_ros.observation.lateness import losses_since
from vla_adapter_ros.recorder.commands import run_command
from vla_adapter_ros.recorder.episode_bags import EpisodeBags
from vla_adapter_ros.recorder.memory import share_one_heap
from vla_adapter_ros.recorder.session import RecordingSession
from vla_adapter_ros.recorder.session_types import Reply, SessionSettings, SessionState, describe
from vla_adapter_ros.srv import LabelEpisode, StartEpisode
from vla_adapter_ros.texts import visible

STATUS_PERIOD_S = 0.2


class RecorderNode(ManagedNode[RecorderParameters]):
    """Records aligned frames, episode by episode; what it does is a `ConfiguredRecorder`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("recorder_node", RecorderParameters, **options)

    def configure(self) -> ConfiguredRecorder:
        """Open the data set, and everything the node hears and serves."""
        return ConfiguredRecorder(self)


class ConfiguredRecorder(Configured[RecorderParameters]):
    """Callbacks hand samples and commands to a `RecordingSession`; saving happens in its threads.

    The data set is open from configuration to clean-up. A deactivation discards the episode that is being
    recorded; one that waits to be saved goes on waiting, until the clean-up.
    """

    def __init__(self, node: RecorderNode) -> None:
        super().__init__(node)
        parameters = self.parameters
        if not parameters.dataset:
            raise ParameterError("parameter dataset is empty: allowed is the directory of the data set")
        self._buttons = ButtonMap(parameters.joy_buttons)
        self._reasons = offered_reasons(parameters.outcome_reasons)
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
        humans = [node.resolve_topic_name(group.topic) for group in self.contract.teleop_groups]
        self._leader = Leader(self.contract, lambda: min(map(node.count_publishers, humans), default=0))
        bags = EpisodeBags(writer.root if parameters.raw_bag else None, self._alarm)
        if bags.folder is not None:
            hear_raw_topics(node, bags)
        self._session = RecordingSession(
            writer,
            self.contract,
            settings,
            thresholds,
            log=self._log,
            leader=self._leader,
            alarm=self._alarm,
            losses=lambda: self._streams.builder.losses,
            bags=bags,
        )
        node.own(self._session.close)
        self._instruction = parameters.instruction
        self._problem = "no frame yet"
        self._refused: deque[tuple[str, str]] = deque()  # images that could not be used: camera, why
        self._streams = StreamSubscriber(
            node,
            self._record_frames,
            with_action=True,
            polled=not node.simulated_time,  # by which messages are received, too
            on_refused=lambda camera, why: self._refused.append((camera, why)),
        )
        self._status = node.publish_on(RecorderStatus, "~/status", DEPTH)
        node.listen(ControllerStatus, STATUS_TOPIC, self._on_controller, DEPTH)
        node.listen(String, INSTRUCTION_TOPIC, self._on_instruction, LATCHED, always=True)
        node.listen(String, "~/command", lambda m: self._run_command(m.data), DEPTH)
        if self._buttons:
            node.listen(Joy, "joy", self._on_buttons, DEPTH)
        # While a service waits for the disk, it must not keep the others, nor itself, from being called.
        group = ReentrantCallbackGroup()
        node.serve(StartEpisode, "~/start_episode", self._on_start, group=group)
        node.serve(LabelEpisode, "~/label_episode", self._on_label, group=group)
        session = self._session
        for name, act in (
            ("stop_episode", session.stop),
            ("discard_episode", session.discard),
            ("save_pending", session.save),
            ("rerecord_episode", lambda: session.rerecord(node.now(), self._obstacles())),
        ):
            node.serve(Trigger, f"~/{name}", self._service(act), group=group)
        # People watch the status by their own time, not by that of a simulation.
        node.every(STATUS_PERIOD_S, self._publish_status, steady=True)
        node.get_logger().info(f"data set {writer.root}, {writer.num_episodes} episodes so far")

    def activate(self) -> None:
        """Begin to build frames; nothing is recorded before an episode is started."""
        self._problem = "no frame yet"
        self._streams.start()

    def deactivate(self) -> None:
        """Discard the episode that is being recorded."""
        if self._session.state is SessionState.RECORDING:
            self._session.discard()

    def _log(self, line: str) -> None:
        self.node.get_logger().info(line)

    def _alarm(self, line: str) -> None:
        self.node.get_logger().error(line)

    def _service(self, act: Callable[[], Reply]) -> Callable[[Any, Any], Awaitable[Trigger.Response]]:
        """The callback of a service that acts on the session, and answers once the disk has done its part."""

        async def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            reply = act()
            self._publish_status()  # whoever waits for the state need not wait for the timer
            response.success, response.message = await self._outcome(reply)
            return response

        return answer

    def _on_controller(self, message: ControllerStatus) -> None:
        report = Report(
            seconds(message.header.stamp),
            message.state,
            message.control_source,
            "" if message.operator_silent else message.blocked_by,  # a human needs no operator's page
            message.mode,
            message.foreign_publisher,
            message.checkpoint,
            message.latency_p50,
            message.latency_p99,
        )
        self._leader.hear(report)

    def _on_instruction(self, message: String) -> None:
        if task := visible(message.data):
            self._instruction = task
            self._session.change_instruction(task, self.node.now())

    def _stream_issues(self) -> list[str]:
        """Streams that are silent."""
        self._streams.poll()
        return self._streams.issues(self.node.now())

    def _obstacles(self) -> list[str]:
        """Why no good frame could be recorded now."""
        self._streams.poll()
        return self._streams.obstacles(self.node.now())

    def _record_frames(self, now: float) -> None:
        """Record the frames that became ready, and count the images that made none."""
        while self._refused:
            self._session.count_refused_image(*self._refused.popleft())
        for frame in self._streams.builder.take_frames(now):
            self._session.add_frame(frame)
            self._problem = frame.problem
            self.node.acknowledge(frame.stamp)
        # Not `now`, up to which all is in, but may be long past: the status timer looks at the clock, too.
        self._session.check_faults(self.node.now(), self._stream_issues)

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        reply = self._session.start(request.instruction, self.node.now(), self._obstacles())
        response.accepted, response.message = reply.ok, reply.message
        self._publish_status()
        return response

    async def _on_label(
        self, request: LabelEpisode.Request, response: LabelEpisode.Response
    ) -> LabelEpisode.Response:
        reply = self._session.label(request.episode, request.outcome, request.reason)
        response.success, response.message = await self._outcome(reply)
        self._publish_status()
        return response

    def _on_buttons(self, message: Joy) -> None:
        for command in self._buttons.pressed(message.buttons):
            self._run_command(command)

    def _run_command(self, words: str) -> None:
        """A command without an answer: what became of it is in the status."""
        if (
            words.strip() in ("start", "toggle")
            and self._session.state is SessionState.IDLE
            and self._instruction
        ):
            words = f"start {self._instruction}"
        run_command(self._session, words, self.node.now(), self._obstacles())
        self._publish_status()

    def _publish_status(self) -> None:
        self._session.check_faults(self.node.now(), self._stream_issues)
        status = self._session.status()
        # The problem of the newest frame is that of now only as long as frames come.
        problem = "; ".join(self._stream_issues()) or self._problem
        ages = self._streams.builder.newest_ages(self.node.now())
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
            newest_episode=status.newest,
            interventions=status.interventions,
            intervention_share=status.intervention_share,
            outcome=status.label.outcome or "",
            outcome_reason=status.label.reason,
            checkpoint=status.checkpoint,
            outcome_reasons=list(self._reasons),
        )
        message.header.stamp = to_stamp(self.node.now())
        self._status.publish(message)
        self.node.diagnose(
            *self._streams.problems(self.node.now(), self._problem),
            state=status.state,
            frames=status.frames,
            dropped=status.dropped,
            images=self._streams.images,
            losses="; ".join(losses_since({}, self._streams.builder.losses)),
            saving=status.saving,
            disk_gb=f"{status.disk_left / 1e9:.2f}",
        )

    async def _outcome(self, reply: Reply) -> tuple[bool, str]:
        """Wait until an episode or its label is on disk, if one is being written, and say how that ended."""
        written = reply.saved or reply.labeled
        if written is None:
            return reply.ok, reply.message
        done: Future[None] = Future()
        written.add_done_callback(lambda _: self.node.soon(done.set_result, None))
        await done
        try:
            if reply.labeled is not None:
                return True, f"episode {reply.labeled.result()}: {reply.message}"
            assert reply.saved is not None
            return True, describe(reply.saved.result(), reply.dropped)
        except VlaAdapterError as error:
            return False, str(error)


def main() -> int:
    """Entry point of `recorder_node`."""
    share_one_heap()
    return run(RecorderNode)


if __name__ == "__main__":
    raise SystemExit(main())
