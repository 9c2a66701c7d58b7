"""Measures how long after a command the arm is there, by small steps through the running controller.

The steps are chunks, as a policy sends them: the controller keeps every limit, and refuses them while it is
disarmed or stopped. A hold, a stop, a fault, a human or another policy ends the measurement.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rcl_interfaces.srv import GetParameters
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState

from vla_adapter_ros.commissioning.command_delay import (
    Estimate,
    Step,
    choose_joint,
    estimate_delay,
    plan_step,
)
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import TimeSource
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.control.supervisor import HOLDING, IDLE, NONE
from vla_adapter_ros.errors import CommandError, ServiceError
from vla_adapter_ros.msg import ActionChunk, ControllerStatus, RecorderStatus
from vla_adapter_ros.nodes.addressee import find_controller_service
from vla_adapter_ros.nodes.conversions import JointReader, action_of, chunk_message, seconds
from vla_adapter_ros.nodes.parameters import ControllerMode
from vla_adapter_ros.nodes.readiness import controller_problem
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.streams import best_effort
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, NEWEST, RECORDER_TOPIC, STATUS_TOPIC

ANSWER_S = 5.0
HEARD_S = 10.0  # longest wait for the controller's status, its command and the joints
STANDS_STILL_S = 20.0  # wall time in which simulated time must go on
OLD_S = 1.0  # a status this old is that of a controller that is gone
_BEGUN_S = 1.5  # the controller follows a chunk within so long, or does not
_ROWS_BEYOND_S = 1.0  # of a chunk, beyond the step: rows never run out before the next one
_DEPTH = 1000


@dataclass(frozen=True)
class RunningController:
    """A controller that knows this client, and what it was started with.

    Attributes:
        chunks: Reaches it.
        contract: Shipped name or path, as it was given there.
        rate_hz, publish_every: See `ControllerParameters`.
    """

    chunks: Publisher[ActionChunk]
    contract: str
    rate_hz: float
    publish_every: int


def reach_controller(client: RosClient, patience_s: float) -> RunningController:
    """Find the controller of the client's namespace, ask what it was started with, and take over its clock.

    The endpoints of a process become known in the order in which they were made: a controller that answers
    knows the publisher too, and no chunk is lost.

    Raises:
        NoAnswerError: there is none, or it does not answer.
    """
    chunks = client.node.create_publisher(ActionChunk, CHUNK_TOPIC, NEWEST)
    name, left = find_controller_service(client, "get_parameters", patience_s)
    names = ["contract", "rate_hz", "publish_every", "use_sim_time"]
    answer = client.service(GetParameters, name).call(
        GetParameters.Request(names=names), ANSWER_S, found_within_s=left
    )
    contract, rate, every, simulated = answer.values
    client.node.set_parameters([Parameter("use_sim_time", value=simulated.bool_value)])
    return RunningController(chunks, contract.string_value, rate.double_value, every.integer_value)


class DelayMeasurement:
    """Steps of one joint, and what came of them.

    Args:
        client: In the namespace of the robot.
        controller: Of that robot.
        contract: Of the robot, as the controller has it.
        joint: That moves; empty: the last that turns.
        size: How far [rad].

    Raises:
        CommandError: the joint or the size is not allowed, or the joint has no room.
        ContractError: the contract's actions are no joint positions.
        ServiceError: the controller is not ready, or something is silent.
    """

    def __init__(
        self, client: RosClient, controller: RunningController, contract: Contract, joint: str, size: float
    ) -> None:
        self._client, self._contract, self._node = client, contract, client.node
        self._place = choose_joint(contract, joint)
        self._number = contract.arm_places.index(self._place)
        self.joint = contract.arm_joints[self._number]
        """The joint that moves."""
        self._lock = threading.Lock()
        self._status: tuple[float, ControllerStatus] | None = None  # and when it came [s]
        self._recording = False
        self._commands: list[tuple[float, np.ndarray]] = []
        self._measured: list[tuple[float, float]] = []
        self._session, self._sequence = f"measure_{secrets.token_hex(8)}", 0
        self._instructed = 0.0
        client.subscribe(ControllerStatus, STATUS_TOPIC, self._on_status, best_effort(10))
        client.subscribe(RecorderStatus, RECORDER_TOPIC, self._on_recorder, best_effort(10))
        client.subscribe(JointState, contract.action.topic, self._on_command, best_effort(_DEPTH))
        for topic in contract.joint_state_topics:
            client.subscribe(JointState, topic, self._hear_joints(topic), best_effort(_DEPTH))
        self._chunks = controller.chunks
        self._require_ready()
        start = self._commands[-1][1]
        self._scale = contract.action.dimensions[self._place].scale
        here = float(start[self._place]) * self._scale
        self.step: Step = plan_step(here, size, contract.limits[self.joint])
        """The first step; the second leads back."""

    def run(self, repeats: int, report: Callable[[str, Estimate], None]) -> None:
        """Move there and back, `repeats` times; the arm ends where it was.

        Args:
            repeats: Steps there, and as many back.
            report: Told after each step which one it was, and what it showed.

        Raises:
            ServiceError: something ended the motion; the arm stays where it came to rest.
            CommandError: the joint did not follow.
        """
        self._require_ready()
        start = self._commands[-1][1].copy()
        self._instructed = self._now()
        try:
            for number in range(2 * repeats):
                there = number % 2 == 0
                report("there" if there else "back", self._measure_step(start, there, first=number == 0))
        finally:
            self._send(np.zeros((0, len(start))))
            self._chunks.wait_for_all_acked(Duration(seconds=ANSWER_S))

    def _measure_step(self, start: np.ndarray, there: bool, first: bool) -> Estimate:
        """Send one step, wait until it is over, and compare."""
        step, rate = self.step, self._contract.rate_hz
        offsets = np.arange(0.0, step.whole_s + _ROWS_BEYOND_S, 1.0 / rate)
        way = step.at(offsets) if there else step.at(np.array([step.whole_s])) - step.at(offsets)
        rows = np.tile(start, (len(offsets), 1))
        rows[:, self._place] += way / self._scale
        with self._lock:
            self._commands, self._measured = self._commands[-1:], self._measured[-1:]
        begun = self._now()
        self._send(rows)
        self._wait_until(begun + step.whole_s, begun + _BEGUN_S if first else begun)
        with self._lock:
            commands, measured = list(self._commands), np.array(self._measured)
        times = np.array([time for time, _ in commands])
        wanted = np.array([values[self._place] for _, values in commands]) * self._scale
        return estimate_delay(times, wanted, measured[:, 0], measured[:, 1])

    def _wait_until(self, end: float, followed_by: float) -> None:
        """Wait for a time of the node's clock [s], while the controller follows.

        Raises:
            ServiceError: it does not follow, or no more.
        """
        newest, moved_at = self._now(), time.monotonic()
        while (now := self._now()) < end:
            self._client.check_alive()
            if now > newest:
                newest, moved_at = now, time.monotonic()
            if time.monotonic() > moved_at + STANDS_STILL_S:
                raise ServiceError(f"the clock stands still at {now:.2f} s")
            problem = self._interruption(waits=now < followed_by)
            if problem:
                raise ServiceError(f"the measurement ended, the arm stays where it came to rest: {problem}")
            time.sleep(0.02)

    def _interruption(self, waits: bool) -> str:
        """Why the controller does not follow this measurement; empty if it does, or may yet begin to."""
        status = self._newest_status()
        if status is None:
            return "the controller is silent"
        if status.session_id == self._session and status.control_source == "policy":
            return ""
        if waits and not status.blocked_by and status.control_source == NONE:
            return ""
        who = f"{status.control_source} leads" if status.control_source != NONE else ""
        return status.first_cause or status.reason or who or f"its state is {status.state}"

    def _require_ready(self) -> None:
        """Require a controller that would follow, is led by nobody, and moves a real arm.

        Raises:
            ServiceError: says what stands against it.
        """
        self._client.poll_until(self._hears_all, HEARD_S)
        heard = self._status
        age = self._now() - heard[0] if heard is not None else np.inf
        status = heard[1] if heard is not None else None
        problem = controller_problem(status, age)
        if problem or status is None:
            pass
        elif status.mode != ControllerMode.DRIVE:
            problem = f"its mode is {status.mode}, in which the arm does not move: start it with mode drive"
        elif status.speed != 1.0:
            problem = f"its speed is {status.speed:g}: `vla-adapter speed 1` first"
        elif status.control_source != NONE or status.state not in (IDLE, HOLDING):
            problem = f"{status.control_source} leads: `vla-adapter hold`, or let go, first"
        elif self._now() <= 0.0:
            problem = "its clock is that of a simulation, and nobody publishes /clock"
        elif not self._listeners:
            problem = "it does not listen to the action chunks"
        elif not self._measured:
            topics = ", ".join(self._contract.joint_state_topics)
            problem = f"no position of {self.joint} comes on {topics}"
        elif not self._commands:
            problem = f"nothing comes on {self._node.resolve_topic_name(self._contract.action.topic)}"
        elif self._recording:
            problem = "an episode is being recorded: end it first"
        if problem:
            raise ServiceError(f"the controller cannot be measured now: {problem}")

    def _hears_all(self) -> bool:
        heard = self._status and self._commands and self._measured and self._listeners
        return bool(heard) and self._now() > 0.0

    @property
    def _listeners(self) -> int:
        return self._chunks.get_subscription_count()

    def _newest_status(self) -> ControllerStatus | None:
        heard = self._status
        return heard[1] if heard is not None and self._now() - heard[0] < OLD_S else None

    def _send(self, rows: np.ndarray) -> None:
        """Publish rows (H, A) as a chunk of this measurement, stamped now; without rows its end."""
        now = self._now()
        self._sequence += 1
        chunk = Chunk(
            now,
            rows,
            self._contract.action_names,
            self._contract.rate_hz,
            self._session,
            1,
            self._sequence,
            self._contract.action.space,
            instructed_at=self._instructed,
        )
        self._chunks.publish(chunk_message(chunk, len(rows), now, 0.0))

    def _now(self) -> float:
        return float(self._node.get_clock().now().nanoseconds * 1e-9)

    def _on_status(self, message: ControllerStatus) -> None:
        now = self._now()
        if now > 0.0:  # else a simulation's clock is not heard yet
            self._status = now, message

    def _on_recorder(self, message: RecorderStatus) -> None:
        self._recording = message.state == "recording"

    def _on_command(self, message: JointState) -> None:
        try:
            command = action_of(message, self._contract)
        except CommandError:
            return
        with self._lock:
            self._commands.append((seconds(message.header.stamp), command))

    def _hear_joints(self, topic: str) -> Callable[[JointState], None]:
        reader = JointReader(self._contract, topic)
        received = self._contract.topics[topic].time is TimeSource.RECEIVE

        def hear(message: JointState) -> None:
            try:
                positions = reader.positions(message)
            except CommandError:
                return
            if self.joint in positions:
                stamp = self._now() if received else seconds(message.header.stamp)
                with self._lock:
                    self._measured.append((stamp, positions[self.joint]))

        return hear
