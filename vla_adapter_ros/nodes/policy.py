"""Policy node: cameras and proprioception in, timed action chunks out."""

from __future__ import annotations

import dataclasses
import math
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from std_msgs.msg import String

from vla_adapter_ros.choices import FASTEST, SLOWEST
from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.control.lateness import AT_ONCE, Lateness
from vla_adapter_ros.control.pacing import ChunkPacer
from vla_adapter_ros.control.supervisor import NONE
from vla_adapter_ros.dataset.leader import SILENCE_S
from vla_adapter_ros.errors import ObservationError, VlaAdapterError
from vla_adapter_ros.msg import ActionChunk, ControllerStatus
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.checked_streams import CheckedStreams
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.conversions import chunk_message
from vla_adapter_ros.nodes.delayed_state import DelayedState
from vla_adapter_ros.nodes.doubt import Doubt
from vla_adapter_ros.nodes.execute_instruction import InstructionServer
from vla_adapter_ros.nodes.graph_status import INPUT_PROBLEM, INSTRUCTION, NO_CHUNKS, PACE
from vla_adapter_ros.nodes.instruction import Instruction, readable_text
from vla_adapter_ros.nodes.parameters import NO_CHECKPOINT, PolicyParameters
from vla_adapter_ros.nodes.policy_capsule import PolicyCapsule
from vla_adapter_ros.nodes.policy_loading import load_policy
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.readiness import controller_problem, not_ready
from vla_adapter_ros.nodes.silence import CONTROLLER, FRAMES, SilenceWatch, patience
from vla_adapter_ros.nodes.streams import StreamSubscriber
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, DEPTH, INSTRUCTION_TOPIC, LATCHED, NEWEST, STATUS_TOPIC
from vla_adapter_ros.nodes.worker import Worker
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.srv import Instruct

SILENCE_PERIOD_S = 0.05  # between two looks for streams that are silent
ADDED_LATENCY_STEP_S = 0.01


class PolicyNode(ManagedNode[PolicyParameters]):
    """Turns frames and an instruction into action chunks; what it does is a `ConfiguredPolicy`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("policy_node", PolicyParameters, **options)
        self.sequence = self.published = 0
        """Number of the newest chunk, and of the newest that was published, counted over all sessions: the
        simulator counts what is on its way."""

    def configure(self) -> Configured[PolicyParameters]:
        """Load the checkpoint, compare it with the robot, measure inference, and open the streams."""
        if self.parameters.checkpoint == NO_CHECKPOINT:
            return CheckedStreams(self)
        return ConfiguredPolicy(self)


@dataclass(frozen=True)
class _Heard:
    """The newest status of the controller, and when it came by the steady clock and in ROS time [s]."""

    status: ControllerStatus | None = None
    steady: float = -np.inf
    ros: float = -np.inf


@dataclass(frozen=True)
class _Made:
    """A chunk that is to be published, from which frame, text and in which time, and when it was made [s]."""

    chunk: Chunk
    frame: Frame
    text: str
    duration: float
    at: float
    committed: np.ndarray | None
    """Rows (D, A) before the chunk that the policy was told."""


class ConfiguredPolicy(Configured[PolicyParameters]):
    """Callbacks decode and store; a worker thread builds frames, infers and publishes."""

    def __init__(self, node: PolicyNode) -> None:
        super().__init__(node)
        self._policy_node, parameters = node, self.parameters
        self._loaded = load_policy(parameters, self.contract)
        self._policy = self._loaded.policy
        chunk = self._policy.config.chunk
        self._pacer = ChunkPacer(self.contract.rate_hz, chunk, parameters.execution_horizon)
        self._session = secrets.token_hex(8)
        self._lock = threading.Lock()  # guards the instruction and what is published for it
        self._predicting = threading.Lock()  # guards the policy's engine; taken before the other one
        self._instruction, self._why_ended, self._heard = Instruction(), "", _Heard()
        self._frame_problem = self._no_chunk = ""  # of the newest frame
        self._begun = False  # a chunk has been published for the instruction
        self._made: deque[_Made] = deque()  # chunks that are yet to be published
        self._inference_s = np.nan  # of the newest chunk
        self._newest: Frame | None = None  # good frame
        self._doubt = Doubt(self._loaded.familiarity, self.contract)
        self._worker = Worker("inference", self._work)
        self._capsule = PolicyCapsule(node, self._loaded, self._session, lambda: self._instruction.text)
        self._delayed = DelayedState(
            node, self._policy.config.max_delay_rows, parameters.full_pace_rows or math.inf
        )
        self._streams = StreamSubscriber(
            node,
            lambda _: self._worker.wake(),
            with_action=False,
            on_image=self._capsule.note_image,
        )
        self._silence = self._watch_for_silence()
        self._chunks = node.publish_on(ActionChunk, CHUNK_TOPIC, NEWEST)
        self._current = node.publish_on(String, INSTRUCTION_TOPIC, LATCHED)
        node.serve(Instruct, "instruct", self._on_instruct)
        InstructionServer(node, self._give, self._end_if_followed, lambda: self._heard.status)
        if parameters.require_controller:
            node.listen(ControllerStatus, STATUS_TOPIC, self._on_status, DEPTH)
        node.every(SILENCE_PERIOD_S, self._end_if_silent)
        if parameters.added_latency_s:
            node.every(ADDED_LATENCY_STEP_S, self._publish_made)
        node.describe_with(self._describe)
        node.get_logger().info(f"{self._loaded}, {chunk} rows per chunk")

    def activate(self) -> None:
        """Start the worker thread; it waits for an instruction."""
        self._streams.start()
        self._silence = self._watch_for_silence()
        self._heard, self._why_ended, self._newest = _Heard(), "", None
        self._frame_problem = self._no_chunk = ""
        self._pacer.reset()
        self.node.own(self._worker.stop)
        self._worker.start()

    def deactivate(self) -> None:
        """End the instruction: the arm stops, and the next activation does not move it."""
        why = "the policy was deactivated: give a new instruction"
        self._end(Ending(EndedBy.INACTIVE, why), tell=True)
        self._worker.stop()
        self._chunks.flush()

    @property
    def _speed(self) -> float:
        """At which the controller carries out the rows; 1 where nobody says another one."""
        said = self._heard.status.speed if self._heard.status is not None else FASTEST
        return said if SLOWEST <= said <= FASTEST else FASTEST

    def _watch_for_silence(self) -> SilenceWatch:
        controller_s = SILENCE_S if self.parameters.require_controller else np.inf
        return SilenceWatch(patience(self.contract, self._streams.builder, controller_s))

    def _on_instruct(self, request: Instruct.Request, response: Instruct.Response) -> Instruct.Response:
        instruction, response.message = self._give(request.instruction)
        response.accepted = instruction is not None
        return response

    def _give(self, words: str) -> tuple[Instruction | None, str]:
        """Make `words` the instruction; without any, what moves stops and holds.

        Returns:
            The instruction, None if it is refused; and what there is to say.
        """
        text, refusal = readable_text(words)
        if text:
            refusal = self._not_ready(text)
        changed = "" if refusal else self._scene_change(text)
        if refusal or (changed and self._loaded.scene.refuses):
            return None, refusal or changed
        self._warm_up_for(text)
        number = self._instruction.number + 1
        if text:
            before = Ending(EndedBy.REPLACED, f"instruction {number} has replaced it")
            message = f"instruction {number}: {text}"
        else:
            before = Ending(EndedBy.HOLD, "an empty instruction has ended it")
            message = "stopped and holding"
        instruction = self._follow(text, before)
        if unknown := self._policy.tokenizer.unknown_words(text):
            message += f" (this checkpoint does not know: {', '.join(unknown)})"
        if changed:
            message += f". Warning: {changed}"
            self.node.get_logger().warning(message)
        else:
            self.node.get_logger().info(message)
        return instruction, message

    def _warm_up_for(self, text: str) -> None:
        """Record or compile what an instruction needs before anything moves for it; stopping never waits."""
        if not text or self._policy.is_warm_for(text):
            return
        started = time.monotonic()
        with self._predicting:
            self._policy.warm_up_for(text)
        took = time.monotonic() - started
        self.node.get_logger().info(f"prepared inference for an instruction of this length in {took:.1f} s")

    def _not_ready(self, text: str) -> str:
        """Why `text` cannot be followed now; empty if it can."""
        long = ""
        try:
            self._policy.tokenize([text])
        except ObservationError as error:
            long = str(error)
        controller = ""
        if self.parameters.require_controller:
            age = time.monotonic() - self._heard.steady
            if self.node.simulated_time:  # while it stands still, nobody sends anything
                age = min(age, abs(self.node.now() - self._heard.ros))
            controller = controller_problem(self._heard.status, age)
        return not_ready(
            inputs=self._streams.obstacles(self.node.now()),
            controller=controller,
            listeners=self._chunks.get_subscription_count(),
            text=long,
        )

    def _scene_change(self, text: str) -> str:
        """What has changed since the demonstrations; empty if nothing has, or the arm is at work already."""
        if not text or self._instruction.text or self._newest is None:
            return ""
        return self._loaded.scene.changes(self._newest.images, self._newest.state)

    def _follow(self, text: str, ending: Ending) -> Instruction:
        """Make `text` the instruction; without words, what moves stops and holds.

        Args:
            text: Can be followed.
            ending: Of the instruction that is followed so far.
        """
        with self._lock:
            self._instruction.ending = self._instruction.ending or ending
            followed = self._instruction = Instruction(text, self._instruction.number + 1, self.node.now())
            self._why_ended, self._begun = "", False
            self._made.clear()
            self._pacer.reset()
            self._doubt.reset()
            self._silence.reset()
            if not text:
                self._publish_end("")
        self._current.publish(String(data=text))
        return followed

    def _end_if_followed(self, instruction: Instruction, ending: Ending) -> None:
        """End an instruction on its caller's wish, as an empty one does: stop and hold."""
        if instruction is self._instruction:
            self._follow("", ending)
            self.node.get_logger().info(f"instruction {instruction.number} has ended: {ending.why}")

    def _end(self, ending: Ending, tell: bool) -> None:
        """Follow the instruction no more: nothing moves until a new one is given.

        Args:
            ending: What ends it.
            tell: Whether the controller does not know yet.
        """
        with self._lock:
            if not self._instruction.text:
                return
            self._made.clear()
            if tell:
                self._publish_end(ending.why)
            self._instruction.ending = ending
            self._instruction = Instruction("", self._instruction.number, self._instruction.given)
            self._why_ended = ending.why
        self._capsule.note_ending(ending)
        self._diagnose()
        self._current.publish(String())

    def _on_status(self, status: ControllerStatus) -> None:
        self._heard = _Heard(status, time.monotonic(), self.node.now())
        if self._instruction.text and (ending := self._instruction.end_by(status, self._session)):
            self._end(ending, tell=False)

    def _end_if_silent(self) -> None:
        """End the instruction when a stream has been silent for so long that the arm must not go on."""
        newest = self._streams.builder.newest_stamps()
        newest |= {FRAMES: self._streams.builder.last_good, CONTROLLER: self._heard.steady}
        silent = self._silence.find_silent(self.node.now(), newest)
        if silent and self._instruction.text:
            why = self._silence.reason(silent, self.contract, self._streams.builder, self.node.now())
            self._end(Ending(EndedBy.SILENCE, why), tell=True)

    def _work(self) -> None:
        with self.node.boundary("inference"):
            self._infer_from(self._streams.builder.take_frames(self.node.now()))

    def _infer_from(self, frames: list[Frame]) -> None:
        for frame in frames[-1:]:  # older ones would only make chunks that are already late
            self._frame_problem = frame.problem
            if not frame.problem:
                self._newest = frame
            try:
                self._infer_if_due(frame)
            except (VlaAdapterError, RuntimeError) as error:  # torch reports with RuntimeError
                self._no_chunk = f"no chunk for the frame of {frame.stamp:.3f} s: {error}"
            finally:
                self.node.acknowledge(frame.stamp, outputs=self._policy_node.published)
        self._diagnose()

    def _infer_if_due(self, frame: Frame) -> None:
        """Infer from a frame if there is an instruction and the frame is due."""
        with self._lock:
            instruction = self._instruction
            if frame.problem or not instruction.text or not self._pacer.take(frame.stamp, self._speed):
                return
        started = time.monotonic()
        images = [frame.images[name] for name in self.contract.camera_names]
        late = self._delayed.of(frame, *self._lateness())
        self._pacer.delay_s, self._pacer.pace = late.lateness.delay_s, late.lateness.pace
        with self._predicting:
            rows = self._policy.predict(images, instruction.text, late.state, late.committed)
            duration = time.monotonic() - started
            with self._lock:
                if instruction is not self._instruction:
                    return  # it changed or ended meanwhile: these rows answer the old one
                chunk = self._chunk(frame.stamp, rows, late=late.lateness)
                unsure = self._doubt.of(chunk, self._policy.query_features)
                chunk = dataclasses.replace(chunk, uncertainty=unsure)
                seen = dataclasses.replace(frame, state=late.state)
                made = _Made(chunk, seen, instruction.text, duration, self.node.now(), late.committed)
                self._made.append(made)
        self._no_chunk, self._inference_s = "", duration
        self._publish_made()

    def _publish_made(self) -> None:
        """Publish the chunks that are made, each when its added latency has passed."""
        with self._lock:
            while self._made and self.node.now() >= self._made[0].at + self.parameters.added_latency_s:
                made = self._made.popleft()
                message = self._publish(made.chunk, made.frame.oldest, made.duration)
                self._begun = True
                self._pacer.note_latency(self.node.now() - made.frame.stamp)
                self._capsule.add(made.frame, made.text, made.chunk.rows, message, made.committed)

    def _lateness(self) -> tuple[float, float, tuple[str, int], bool]:
        """For `DelayedState.of`: latency [s], speed, newest chunk, and whether the arm stands still."""
        latency_s, status = self._pacer.latency_p99 or self._loaded.chunk_s or 0.0, self._heard.status
        resting = status is not None and status.control_source == NONE and not self._begun
        return latency_s, self._speed, (self._session, self._policy_node.published), resting

    def _chunk(self, stamp: float, rows: np.ndarray, reason: str = "", late: Lateness = AT_ONCE) -> Chunk:
        self._policy_node.sequence += 1
        return Chunk(
            stamp=stamp + late.delay_s,
            rows=rows,
            names=self.contract.action_names,
            rate_hz=self.contract.rate_hz * late.pace,
            session_id=self._session,
            instruction_id=self._instruction.number,
            sequence=self._policy_node.sequence,
            space=self.contract.action.space,
            input_stamp=stamp,
            instructed_at=self._instruction.given,
            reason=reason,
            most_delay_s=self._delayed.most_delay_s(self._speed),
            checkpoint=self._loaded.name,
        )

    def _publish_end(self, reason: str) -> None:
        """Tell the controller that the instruction has ended."""
        now, nothing = self.node.now(), np.zeros((0, len(self.contract.action_names)))
        self._publish(self._chunk(now, nothing, reason), now, 0.0)

    def _publish(self, chunk: Chunk, oldest: float, duration: float) -> ActionChunk:
        message = chunk_message(chunk, self.parameters.execution_horizon, oldest, duration)
        self._chunks.publish(message)
        self._policy_node.published = chunk.sequence
        self.node.acknowledge(0.0, outputs=self._policy_node.published)
        return message

    def _input_problem(self) -> str:
        """Why no good frame comes, the first cause: a silent stream, or what the newest frame lacks."""
        return next(iter(self._streams.issues(self.node.now())), self._frame_problem)

    def _diagnose(self) -> None:
        """Say what stands against chunks, the end of an instruction first."""
        inputs = self._streams.problems(self.node.now(), self._frame_problem)
        late = self._pacer.issue() or self._delayed.too_late(self._pacer.latency_p99, self._speed)
        self.node.diagnose(
            self._why_ended, *inputs, self._no_chunk, late, self._delayed.problem, self._loaded.uncertified
        )

    def _describe(self) -> dict[str, object]:
        """What `vla-adapter status` and others want to know, as values of /diagnostics."""
        known: dict[str, object] = {**self._loaded.describe()}
        if not self.node.active:
            return known
        return known | {
            INSTRUCTION: self._instruction.text,
            INPUT_PROBLEM: self._input_problem(),
            NO_CHUNKS: self._no_chunk or self._pacer.issue(),
            "inference_s": f"{self._inference_s:.4f}",
            "latency_p99_s": f"{self._pacer.latency_p99:.4f}",
            "delay_s": f"{self._delayed.newest.delay_s:g}",
            PACE: f"{self._delayed.newest.pace:g}",
            **self._streams.describe(self.node.now()),
        }


def main() -> int:
    """Entry point of `policy_node`."""
    return run(PolicyNode)


if __name__ == "__main__":
    raise SystemExit(main())
