"""Recorder node: aligned frames to a LeRobot data set, episode by episode."""

from __future__ import annotations

import shutil
from typing import Any

from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from vla_adapter_ros.errors import FrameError, ParameterError, RecordingError, VlaAdapterError
from vla_adapter_ros.msg import ControllerStatus, RecorderStatus
from vla_adapter_ros.nodes.base import STATUS_TOPIC, ManagedNode, run
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.parameters import RecorderParameters
from vla_adapter_ros.nodes.streams import StreamSubscriber
from vla_adapter_ros.recording.align import FrameBuilder
from vla_adapter_ros.recording.frame import Frame
from vla_adapter_ros.recording.writer import DatasetWriter
from vla_adapter_ros.srv import StartEpisode

CONTROL_SOURCES = {"none": 0, "human": 1, "policy": 2}


class RecorderNode(ManagedNode):
    """Writes while recording; a saved episode is on disk before the service answers."""

    def __init__(self) -> None:
        super().__init__("recorder_node", RecorderParameters)
        self._writer: DatasetWriter | None = None
        self._recording = False

    def configure(self) -> None:
        parameters = self.parameters
        if not parameters.dataset:
            raise ParameterError("parameter dataset is empty: allowed is the directory of the data set")
        self._writer = DatasetWriter(
            parameters.dataset, self.contract, codec=parameters.codec, crf=parameters.crf
        )
        self._builder = FrameBuilder(self.contract, with_action=True)
        self._streams = StreamSubscriber(self, self._builder, self._take)
        self._source = 0
        self._frames = self._dropped = 0
        self._newest: Frame | None = None
        self._started = 0.0
        self._status = self.create_publisher(RecorderStatus, "~/status", QoSProfile(depth=10))
        self.create_subscription(ControllerStatus, STATUS_TOPIC, self._on_controller, QoSProfile(depth=10))
        self.create_service(StartEpisode, "~/start_episode", self._on_start)
        self.create_service(Trigger, "~/stop_episode", self._on_stop)
        self.create_service(Trigger, "~/discard_episode", self._on_discard)
        self.create_timer(0.2, self._publish_status)
        self.get_logger().info(f"data set {parameters.dataset}, {self._writer.num_episodes} episodes so far")

    def activate(self) -> None:
        self.acknowledge("recorder", 0.0)

    def deactivate(self) -> None:
        if self._writer is not None:
            if self._recording:
                self._writer.discard_episode()
                self._recording = False
            self._writer.close()
            self._writer = None

    def _on_controller(self, message: ControllerStatus) -> None:
        self._source = CONTROL_SOURCES.get(message.control_source, 0)

    def _take(self) -> None:
        """Record the frames that became ready."""
        for frame in self._builder.take(self.now()):
            self._newest = frame
            if self._recording:
                self._record(frame)
            self.acknowledge("recorder", frame.stamp)

    def _record(self, frame: Frame) -> None:
        if frame.stamp < self._started:
            return
        try:
            self._writer.add(frame, self._source)
            self._frames += 1
        except FrameError as error:
            self._dropped += 1
            self.diagnose(f"frame left out: {error}")
        except RecordingError as error:  # an encoder failed: the writer has dropped the episode
            self._recording = False
            self.diagnose(f"episode lost: {error}")

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        complaints = self._builder.complaints(self.now())
        try:
            if complaints:
                raise RecordingError("inputs are missing: " + "; ".join(complaints))
            self._writer.start_episode(request.instruction)
        except VlaAdapterError as error:
            response.accepted, response.message = False, str(error)
            return response
        self._recording, self._started = True, self.now()
        self._frames = self._dropped = 0
        response.accepted, response.message = True, f"recording episode {self._writer.num_episodes}"
        return response

    def _on_stop(self, _: Any, response: Trigger.Response) -> Trigger.Response:
        try:
            summary = self._writer.save_episode()
            response.success = True
            response.message = (
                f"saved episode {summary.index}: {summary.frames} frames in {summary.duration_s:.1f} s, "
                f"{summary.rate_hz:.2f} Hz, {self._dropped} left out"
            )
        except VlaAdapterError as error:
            response.success, response.message = False, str(error)
        self._recording = False
        self.get_logger().info(response.message)
        return response

    def _on_discard(self, _: Any, response: Trigger.Response) -> Trigger.Response:
        response.success = self._recording
        response.message = "discarded" if self._recording else "no episode is being recorded"
        if self._recording:
            self._writer.discard_episode()
            self._recording = False
        return response

    def _publish_status(self) -> None:
        ages = self._newest.ages if self._newest else {}
        lasted = max(self.now() - self._started, 1e-9)
        message = RecorderStatus(
            state="recording" if self._recording else "idle",
            reason=self._newest.problem if self._newest else "no frame yet",
            episode=self._writer.num_episodes if self._recording else -1,
            frames=self._frames,
            rate_hz=self._frames / lasted if self._recording else 0.0,
            dropped=self._dropped,
            streams=list(ages),
            ages=[float(age) for age in ages.values()],
            queue_depth=self._writer.queue_depth,
            disk_left=float(shutil.disk_usage(self.parameters.dataset).free),
        )
        message.header.stamp = to_stamp(self.now())
        self._status.publish(message)
        self.diagnose(message.reason, frames=self._frames, images=self._streams.images)


def main() -> int:
    """Entry point of `recorder_node`."""
    return run(RecorderNode)


if __name__ == "__main__":
    raise SystemExit(main())
