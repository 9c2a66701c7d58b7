"""Controller node: action chunks and teleoperation in, limited commands to arms and grippers out."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import Chunk, MotionCore, Tick
from vla_adapter_ros.control.command_parts import CommandParts
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.rows import RowStream
from vla_adapter_ros.control.shadow import ShadowScore
from vla_adapter_ros.control.supervisor import GATED, HOLDING, NOT_ARMED, STOPPED
from vla_adapter_ros.errors import ChunkError, ContractError
from vla_adapter_ros.msg import ActionChunk, ControllerStatus
from vla_adapter_ros.nodes.base import CHUNK_TOPIC, STATUS_TOPIC, ManagedNode
from vla_adapter_ros.nodes.conversions import chunk_of, command_message, command_of, joint_positions, seconds
from vla_adapter_ros.nodes.description import watch_description
from vla_adapter_ros.nodes.foreign_publishers import foreign_publisher
from vla_adapter_ros.nodes.grippers import GripperOutput, gripper_outputs
from vla_adapter_ros.nodes.outputs import ArmOutput, Outgoing, arm_outputs
from vla_adapter_ros.nodes.parameters import ControllerMode, ControllerParameters
from vla_adapter_ros.nodes.process import run
from vla_adapter_ros.nodes.rate_loop import RateLoop
from vla_adapter_ros.nodes.status import diagnostic_values, status_message
from vla_adapter_ros.nodes.streams import best_effort

DEPTH = QoSProfile(depth=10)
HEARS_ALL = best_effort(10)
WATCH_S = 1.0  # between two looks at the graph
REST_WITHIN_S = 1.5  # wall time for a soft stop when the node is deactivated in motion


class ControllerNode(ManagedNode):
    """Runs `MotionCore` in a fixed-rate thread; keeps holding when everything else is gone.

    Callbacks hand their input to the core under a lock. The thread ticks the
    core under the same lock, and sends without it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("controller_node", ControllerParameters, **options)

    def configure(self) -> None:
        """Make the core, the outputs to the drivers, and everything the node hears and serves."""
        contract, parameters = self.contract, self.parameters
        self._mode = parameters.mode
        parameters.require_command_delay(contract)
        self._lock = threading.Lock()
        self._core = MotionCore(
            contract if self._mode.sends_commands else _untracked(contract),
            1.0 / parameters.rate_hz,
            parameters.armed or not self._mode.needs_arming,
            splice=parameters.splice,
        )
        if contract.command_topics != {contract.action.topic: "joint_state"}:
            raise ContractError(
                f"contract.action: commands on {contract.command_topics}: allowed to drive a robot are "
                "joint states on action.topic alone; other types are for recording and for bags"
            )
        self._arms: list[ArmOutput] = []
        self._grippers: list[GripperOutput] = []
        if self._mode.sends_commands:
            self._arms = arm_outputs(self, contract, parameters.velocity_feedback)
            self._grippers = gripper_outputs(self, contract, parameters.gripper_max_effort)
        self._chunk_kinematics: ArmKinematics | None = None
        self._score = ShadowScore(contract) if self._mode is ControllerMode.SHADOW else None
        self._rows = RowStream() if self._mode is ControllerMode.ROW_PASS_THROUGH else None
        self._newest_chunk = 0
        self._driven = contract.driven_topics if self._mode.sends_commands else ()
        self._chunks = self.resolve_topic_name(CHUNK_TOPIC)
        self._commands = self.publish_on(JointState, contract.action.topic, DEPTH)
        self._virtual = self.publish_on(JointState, "~/shadow_command", DEPTH)
        self._row = self.publish_on(JointState, "~/row", DEPTH)
        self._status = self.publish_on(ControllerStatus, STATUS_TOPIC, DEPTH)
        for topic in contract.joint_state_topics:
            hear = partial(self._on_joints, topic, contract.joints_on(topic))
            self.listen(JointState, topic, hear, HEARS_ALL)
        self._human_parts = CommandParts(contract)
        for number, group in enumerate(contract.teleop_groups):
            self.listen(JointState, group.topic, partial(self._on_teleop, number), HEARS_ALL)
        if contract.teleop.takeover_topic:
            self.listen(Bool, contract.teleop.takeover_topic, self._on_clutch, HEARS_ALL)
        self.listen(ActionChunk, CHUNK_TOPIC, self._on_chunk, QoSProfile(depth=1), always=True)
        self.listen(Bool, "~/software_stop", self._on_software_stop, DEPTH)
        if contract.safety.deadman_topic:
            self.listen(Bool, contract.safety.deadman_topic, self._on_deadman, HEARS_ALL)
        for name in ("arm", "hold", "stop", "reset"):
            self.serve(Trigger, f"~/{name}", self._service(name))
        watch_description(self, contract, self._take_kinematics, self.diagnose)
        self.every(WATCH_S, self._watch_graph, steady=True)
        if not self._mode.sends_commands:
            self.get_logger().warning(f"mode {self._mode}: no commands are sent; state {self._core.state}")

    def activate(self) -> None:
        """Start the control thread; nothing moves by that."""
        if self._score is not None:
            self._score.clear()
        self._ticks = self._sent = 0
        self._last_said = "", ""  # state and source
        self._human: tuple[np.ndarray | None, float] = (None, -np.inf)  # in shadow mode, with its receipt
        with self._lock:
            self._core.activate(self.now())
        self.own(self._end_arm)
        self._loop = RateLoop(
            self.get_clock(),
            self._core.period_s,
            self._guarded_tick,
            self.get_parameter("use_sim_time").value,
            self.parameters.realtime_priority,
            self.get_logger().info,
        )
        self.own(self._loop.stop)
        self._loop.start()

    def deactivate(self) -> None:
        """Bring the arm to rest.

        A trajectory controller was told the whole stop as soon as one trajectory with it is sent. Drivers of
        positions, velocities and twists need the stop tick by tick; velocities and twists end with a zero.
        """
        with self._lock:
            self._core.hold()
        if self.get_parameter("use_sim_time").value:
            # During a transition no callback runs, so simulated time stands still. One more tick commits the
            # stop; a position driver stays where it was told to be last.
            self._loop.stop()
            self._guarded_tick(self.now() + self._core.period_s)
        else:
            self._wait_for_rest()

    def _wait_for_rest(self) -> None:
        deadline = time.monotonic() + REST_WITHIN_S
        while time.monotonic() < deadline:
            with self._lock:
                if self._core.trajectory(self.now()) is None:
                    return
            time.sleep(0.02)

    def _end_arm(self) -> None:
        """The last thing that is sent, after the last tick: nothing would correct a velocity later."""
        for arm in self._arms:
            arm.end(self.now())
        for arm in self._arms:
            arm.flush()

    # Inputs

    def _on_joints(self, topic: str, called: dict[str, str], message: JointState) -> None:
        now = self.now()
        stamp = now if self.contract.topics[topic].time == "receive" else seconds(message.header.stamp)
        positions = {called.get(name, name): value for name, value in joint_positions(message).items()}
        self._guard(lambda: self._core.measure(positions, stamp, now))

    def _on_teleop(self, number: int, message: JointState) -> None:
        now, group = self.now(), self.contract.teleop_groups[number]
        stamp = now if self.contract.teleop.time == "receive" else seconds(message.header.stamp)

        def take_command() -> None:
            part = command_of(message, group.names_in_messages, self.contract.action.field)
            whole = self._human_parts.add_part(number, part, stamp)
            if whole is None:
                return
            if self._mode is ControllerMode.SHADOW:
                self._human = whole[0], now
            else:
                self._core.accept_teleop(*whole, now)

        self._guard(take_command)

    def _on_clutch(self, message: Bool) -> None:
        self._guard(lambda: self._core.clutch(message.data))

    def _on_chunk(self, message: ActionChunk) -> None:
        """Follow a chunk. What takes long, in it or in a hostile one, is done without the lock."""
        # The sequence and not a count: of two chunks in quick succession the first may be replaced.
        self._newest_chunk = message.sequence
        with self.boundary(f"{self._chunks} refused"):
            try:
                self._follow(chunk_of(message))
            except ChunkError as error:
                with self._lock:
                    self._core.refuse_chunk(error)
                raise
        if self.active:
            self.acknowledge(0.0, self._newest_chunk, self._sent)

    def _follow(self, chunk: Chunk) -> None:
        with self._lock:
            if not self.active:  # what was asked for meanwhile must not begin with the activation
                self._core.miss_chunk(chunk)
                return
            start, kinematics = self._core.chunk_start(chunk, self.now()), self._chunk_kinematics
        smooth = self._core.chunk_rows(chunk, start, kinematics)
        with self._lock:
            self._core.follow_chunk(chunk, smooth, self.now())
            if self._rows is not None:
                self._rows.accept(chunk)

    def _on_software_stop(self, message: Bool) -> None:
        if message.data:  # latched: false does not start anything, ~/reset does
            self._guard(self._core.stop)

    def _on_deadman(self, message: Bool) -> None:
        self._guard(lambda: self._core.deadman(message.data, self.now()))

    def _take_kinematics(self, build: Callable[[], Any]) -> None:
        # One for the control thread, one for what is sent, one for chunks: none serves two threads.
        for_core, for_output, for_chunks = build(), build(), build()
        with self._lock:
            self._core.set_kinematics(for_core)
            self._chunk_kinematics = for_chunks
            for arm in self._arms:  # only Cartesian commands use it, and they have one output
                arm.kinematics = for_output

    def _service(self, name: str) -> Callable[[Any, Any], Any]:
        def call(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if name == "arm":
                self._watch_graph()
            with self._lock:
                response.success, response.message = getattr(self._core, name)()
            return response

        return call

    def _watch_graph(self) -> None:
        """Look for others who drive the arm, and whether the policy is still there."""
        foreign = foreign_publisher(self, self._driven, self.contract.teleop.publishers)
        gone = self.count_publishers(self._chunks) == 0
        with self._lock:
            self._core.foreign(foreign)
            if gone:
                self._core.end_instruction("the policy is gone")

    def _guard(self, action: Callable[[], None]) -> None:
        """Run `action` on the core; what it refuses has no effect, and is reported by the boundary."""
        with self._lock:
            action()

    # The control thread

    def _guarded_tick(self, now: float) -> None:
        """A tick that fails stops the arm: a thread that ended silently would leave it in motion."""
        try:
            self._tick(now)
        except Exception as error:
            self.get_logger().error(f"tick failed: {error!r}", throttle_duration_sec=1.0)
            self.diagnose(f"tick failed: {error!r}")
            with self._lock:
                self._core.stop()
            self._sent += sum(arm.end(now) for arm in self._arms)
            self.acknowledge(now, self._newest_chunk, self._sent)

    def _tick(self, now: float) -> None:
        with self._lock:
            tick = self._core.tick(now)
            telling = tick.urgent or self._ticks % self.parameters.publish_every == 0
            out = Outgoing(
                now,
                self._core.setpoint(now),
                self._core.trajectory(now) if telling else None,
                *self._core.measured,
                released=tick.source == "human" and self.contract.teleop.route == "direct",
            )
            positions = self._core.gripper_positions
            row = self._rows.next_row(now) if self._rows is not None and tick.source == "policy" else None
            human, human_at = self._human
        self._ticks += 1
        human_active = human is not None and abs(now - human_at) <= self.contract.teleop.timeout_s
        if self._score is not None:
            self._compare(tick, human if human_active else None, now)
        elif tick.command is not None:
            self._publish_command(tick.command, now)
        if row is not None:
            self._row.publish(command_message(row, self.contract.action_names, now))
        if self._arms:
            out = self._still_timely(out)
            self._sent += sum(arm.send(out) for arm in self._arms)
            if positions is not None and not out.released:
                for gripper, position in zip(self._grippers, positions, strict=True):
                    self._sent += gripper.send(position, now, repeat=out.trajectory is not None)
        source = tick.source if self._score is None else ("human" if human_active else "none")
        changed = (tick.state, source) != self._last_said
        if changed or self._ticks % self.parameters.status_every == 0:
            self._publish_status(tick, source)
        self.acknowledge(now, self._newest_chunk, self._sent)

    def _still_timely(self, out: Outgoing) -> Outgoing:
        """Drop a trajectory that is late: this process got no processor meanwhile."""
        if out.trajectory is None:
            return out
        with self._lock:
            timely = self._core.still_timely(self.now())
        return out if timely else dataclasses.replace(out, trajectory=None)

    def _compare(self, tick: Tick, human: np.ndarray | None, now: float) -> None:
        """Shadow mode: score the policy against the human, and record what the human does."""
        names = self.contract.action_names
        if tick.source == "policy" and tick.command is not None:
            self._virtual.publish(command_message(tick.command, names, now))
            if human is not None:
                self._score.note(tick.command, human)
        if human is not None:
            self._publish_command(human, now)

    def _publish_command(self, command: np.ndarray, now: float) -> None:
        """Say what was commanded before limiting: what is recorded."""
        action = self.contract.action
        self._commands.publish(command_message(command, self.contract.action_names, now, action.field))

    def _publish_status(self, tick: Tick, source: str) -> None:
        before, self._last_said = self._last_said, (tick.state, source)
        # An arm that may move and only waits has no problem; a problem is logged by `diagnose`.
        problem = tick.reason if tick.state in (GATED, HOLDING, STOPPED) else self._core.refusal
        if problem == NOT_ARMED:
            arm = self.resolve_service_name("~/arm")
            problem = (
                f"not armed yet: `vla-adapter call arm`, or `ros2 service call {arm} std_srvs/srv/Trigger`"
            )
        if tick.state != before[0]:
            text = f": {tick.reason}" if tick.reason and not problem else ""
            self.get_logger().info(f"{before[0] or 'start'} -> {tick.state}{text}")
        message = status_message(self._core, tick, self._mode, source, self._score)
        self._status.publish(message)
        self.diagnose(problem, **diagnostic_values(message))


def _untracked(contract: Contract) -> Contract:
    """The contract for motion that no arm carries out: the setpoint is not compared with what is measured."""
    safety = dataclasses.replace(contract.safety, tracking_error_max=sys.float_info.max)
    return dataclasses.replace(contract, safety=safety)


def main() -> int:
    """Entry point of `controller_node`."""
    return run(ControllerNode)


if __name__ == "__main__":
    raise SystemExit(main())
