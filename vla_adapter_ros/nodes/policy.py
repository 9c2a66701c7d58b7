"""Policy node: cameras and proprioception in, timed action chunks out."""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

import numpy as np
import torch
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from vla_adapter_ros.contract import checkpoints_folder, require_same
from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.pacing import ChunkPacer, budget_complaint
from vla_adapter_ros.dataset.leader import SILENCE_S
from vla_adapter_ros.errors import CheckpointError, ObservationError, ParameterError, VlaAdapterError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.device import describe_device, resolve_device, torch_type
from vla_adapter_ros.msg import ActionChunk, ControllerStatus
from vla_adapter_ros.nodes.base import CHUNK_TOPIC, STATUS_TOPIC, ManagedNode
from vla_adapter_ros.nodes.conversions import chunk_message
from vla_adapter_ros.nodes.instruction import Instruction
from vla_adapter_ros.nodes.parameters import PolicyParameters
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.readiness import controller_problem, not_ready
from vla_adapter_ros.nodes.silence import CONTROLLER, FRAMES, SilenceWatch, patience
from vla_adapter_ros.nodes.streams import StreamSubscriber
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.srv import Instruct
from vla_adapter_ros.texts import visible

DEFAULT_CHECKPOINT = "franka_sim_tiny"
BUDGET_RUNS = 10
SILENCE_PERIOD_S = 0.05  # between two looks for streams that are silent


class PolicyNode(ManagedNode):
    """Callbacks only store; a worker thread builds frames, infers and publishes."""

    def __init__(self, **options: Any) -> None:
        super().__init__("policy_node", PolicyParameters, **options)
        self._sequence = self._published = 0  # of all chunks: the simulator counts what is on its way

    def configure(self) -> None:
        """Load the checkpoint, compare it with the robot, measure inference, and open the streams."""
        parameters = self.parameters
        path = parameters.checkpoint or str(checkpoints_folder() / DEFAULT_CHECKPOINT)
        if parameters.threads:
            torch.set_num_threads(parameters.threads)
        device = resolve_device(parameters.device)
        self._policy = VlaAdapterPolicy.from_pretrained(
            path, device=device, dtype=torch_type(parameters.dtype)
        )
        if parameters.compile:
            self._policy.compile()
        if self._policy.contract is None:
            raise CheckpointError(f"{path} has no contract.yaml: it does not say which robot it is for")
        require_same(self.contract, self._policy.contract, f"checkpoint {path}")
        self._policy.warm_up()
        if not parameters.lock_step:  # there time waits for inference
            self._require_budget()
        self._pacer = ChunkPacer(
            self.contract.rate_hz, self._policy.config.chunk, parameters.execution_horizon
        )
        self._session = secrets.token_hex(8)
        self._lock = threading.Lock()  # guards the instruction and what is published for it
        self._instruction, self._why_ended = Instruction(), ""
        self._wake, self._ended = threading.Event(), threading.Event()
        self._streams = StreamSubscriber(self, lambda _: self._wake.set(), with_action=False)
        self._chunks = self.publish_on(ActionChunk, CHUNK_TOPIC, QoSProfile(depth=1))
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._current = self.publish_on(String, "instruction", latched)
        self.serve(Instruct, "instruct", self._on_instruct)
        if parameters.require_controller:
            self.listen(ControllerStatus, STATUS_TOPIC, self._on_status, QoSProfile(depth=10))
        self.every(SILENCE_PERIOD_S, self._watch_silence)
        chunk, where = self._policy.config.chunk, describe_device(device)
        self.get_logger().info(f"checkpoint {path}, {chunk} rows per chunk, {where}")

    def _require_budget(self) -> None:
        """Measure inference on blank images, and refuse an execution horizon that it cannot serve."""
        blank = [np.zeros((c.height, c.width, 3), np.uint8) for c in self.contract.cameras.values()]
        state, times = np.zeros(len(self.contract.state)), []
        for _ in range(BUDGET_RUNS):
            started = time.monotonic()
            self._policy.predict(blank, "measure", state)
            times.append(time.monotonic() - started)
        problem = budget_complaint(
            self.contract.rate_hz,
            self._policy.config.chunk,
            self.parameters.execution_horizon,
            float(np.percentile(times, 99)),
        )
        if problem:
            raise ParameterError(problem)

    def activate(self) -> None:
        """Start the worker thread; it waits for an instruction."""
        self._builder = self._streams.start()
        needed_s = SILENCE_S if self.parameters.require_controller else np.inf
        self._silence = SilenceWatch(patience(self.contract, self._builder, needed_s))
        self._status: ControllerStatus | None = None
        self._heard, self._heard_ros = -np.inf, -np.inf  # when the status came, by the steady and ROS clocks
        self._why_ended = ""
        self._pacer.reset()
        self._ended.clear()
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        self.own(self._end_worker)
        self._worker.start()

    def deactivate(self) -> None:
        """End the instruction: the arm stops, and the next activation does not move it."""
        self._end("the policy was deactivated: give a new instruction", tell=True)
        self._end_worker()
        self._chunks.flush()

    def _end_worker(self) -> None:
        self._ended.set()
        self._wake.set()
        self._worker.join()

    def _on_instruct(self, request: Instruct.Request, response: Instruct.Response) -> Instruct.Response:
        given = " ".join(request.instruction.split())
        text = visible(given)
        if given and not text:
            response.message = (
                f"instruction {given!r}: allowed is a text that can be read, or '' to stop and hold"
            )
            return response
        if text and (refusal := self._not_ready(text)):
            response.accepted, response.message = False, refusal
            return response
        self._follow(text)
        response.accepted = True
        number = self._instruction.number
        response.message = f"instruction {number}: {text}" if text else "stopped and holding"
        unknown = self._policy.tokenizer.unknown_words(text)
        if unknown:
            response.message += f" (this checkpoint does not know: {', '.join(unknown)})"
        self.get_logger().info(response.message)
        return response

    def _not_ready(self, text: str) -> str:
        """Why `text` cannot be followed now; empty if it can."""
        long = ""
        try:
            self._policy.tokenize([text])
        except ObservationError as error:
            long = str(error)
        controller = ""
        if self.parameters.require_controller:
            age = time.monotonic() - self._heard
            if self.get_parameter("use_sim_time").value:  # while time stands still, nobody sends anything
                age = min(age, abs(self.now() - self._heard_ros))
            controller = controller_problem(self._status, age)
        return not_ready(
            inputs=self._streams.obstacles(self.now()),
            controller=controller,
            listeners=self._chunks.get_subscription_count(),
            text=long,
        )

    def _follow(self, text: str) -> None:
        """Make `text` the instruction; without words, what moves stops and holds."""
        with self._lock:
            self._instruction = Instruction(text, self._instruction.number + 1, self.now())
            self._why_ended = ""
            self._pacer.reset()
            self._silence.reset()
            if not text:
                self._publish_end("")
        self._current.publish(String(data=text))

    def _end(self, why: str, tell: bool) -> None:
        """Follow the instruction no more: nothing moves until a new one is given.

        Args:
            why: In a sentence.
            tell: Whether the controller does not know yet.
        """
        with self._lock:
            if not self._instruction.text:
                return
            if tell:
                self._publish_end(why)
            self._instruction = Instruction("", self._instruction.number, self._instruction.given)
            self._why_ended = why
            self.diagnose(why)
        self._current.publish(String())

    def _on_status(self, status: ControllerStatus) -> None:
        self._status, self._heard, self._heard_ros = status, time.monotonic(), self.now()
        if self._instruction.text and (why := self._instruction.end_by(status, self._session)):
            self._end(why, tell=False)

    def _watch_silence(self) -> None:
        """End the instruction when a stream has been silent for so long that the arm must not go on."""
        newest = self._builder.newest_stamps()
        newest |= {FRAMES: self._builder.last_good, CONTROLLER: self._heard}
        silent = self._silence.find_silent(self.now(), newest)
        if silent and self._instruction.text:
            self._end(self._silence.reason(silent, self.contract, self._builder, self.now()), tell=True)

    def _work(self) -> None:
        while not self._ended.is_set():
            self._wake.wait(0.05)
            self._wake.clear()
            with self.boundary("inference"):
                self._work_once()

    def _work_once(self) -> None:
        frames = self._builder.take_frames(self.now())
        for frame in frames[-1:]:  # older ones would only make chunks that are already late
            try:
                self._handle(frame)
            except (VlaAdapterError, RuntimeError) as error:  # torch reports with RuntimeError
                self.diagnose(f"no chunk for the frame of {frame.stamp:.3f} s: {error}")
            finally:
                self.acknowledge(frame.stamp, outputs=self._published)
        if not frames:
            self._report_issues()

    def _handle(self, frame: Frame) -> None:
        """Infer from a frame if there is an instruction and the frame is due."""
        with self._lock:
            instruction = self._instruction
            if frame.problem or not instruction.text or not self._pacer.take(frame.stamp):
                self.diagnose(self._why_ended or frame.problem, instruction=instruction.text)
                return
        started = time.monotonic()
        images = [frame.images[name] for name in self.contract.camera_names]
        rows = self._policy.predict(images, instruction.text, frame.state)
        duration = time.monotonic() - started
        with self._lock:
            if instruction is not self._instruction:
                return  # it changed or ended meanwhile: these rows answer the old one
            self._publish(self._chunk(frame.stamp, rows), frame.oldest, duration)
            self._pacer.note_latency(self.now() - frame.stamp)
            self.diagnose(
                self._pacer.issue(),
                instruction=instruction.text,
                inference_s=f"{duration:.4f}",
                latency_p99_s=f"{self._pacer.latency_p99:.4f}",
                images=self._streams.images,
            )

    def _chunk(self, stamp: float, rows: np.ndarray, reason: str = "") -> Chunk:
        self._sequence += 1
        return Chunk(
            stamp=stamp,
            rows=rows,
            names=self.contract.action_names,
            rate_hz=self.contract.rate_hz,
            session_id=self._session,
            instruction_id=self._instruction.number,
            sequence=self._sequence,
            space=self.contract.action.space,
            input_stamp=stamp,
            instructed_at=self._instruction.given,
            reason=reason,
        )

    def _publish_end(self, reason: str) -> None:
        """Tell the controller that the instruction has ended."""
        now, nothing = self.now(), np.zeros((0, len(self.contract.action_names)))
        self._publish(self._chunk(now, nothing, reason), now, 0.0)

    def _publish(self, chunk: Chunk, oldest: float, duration: float) -> None:
        message = chunk_message(chunk, self.parameters.execution_horizon, oldest, duration)
        self._chunks.publish(message)
        self._published = chunk.sequence
        self.acknowledge(0.0, outputs=self._published)

    def _report_issues(self) -> None:
        """Without frames there is nothing to infer from: say which stream is silent."""
        problem = self._why_ended or "; ".join(self._streams.issues(self.now()))
        if problem:
            self.diagnose(problem, instruction=self._instruction.text)


def main() -> int:
    """Entry point of `policy_node`."""
    return run(PolicyNode)


if __name__ == "__main__":
    raise SystemExit(main())
