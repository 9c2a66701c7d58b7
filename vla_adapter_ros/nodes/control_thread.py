"""The controller's thread: ticks `MotionCore` at a fixed rate, and sends what it gives."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
import traceback
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import JointState

from vla_adapter_ros.capsule.recorded_core import KEPT_S, RecordedCore
from vla_adapter_ros.capsule.ring import NewestEntries
from vla_adapter_ros.control import Tick
from vla_adapter_ros.control.rows import RowStream
from vla_adapter_ros.control.shadow import ShadowScore
from vla_adapter_ros.control.supervisor import GATED, HOLDING, HOMING, NOT_ARMED, STOPPED
from vla_adapter_ros.control.watchdogs import untracked
from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.conversions import action_message
from vla_adapter_ros.nodes.grippers import GripperOutput, gripper_outputs
from vla_adapter_ros.nodes.motion_ahead import MotionAheadPublisher
from vla_adapter_ros.nodes.outputs import ArmOutput, Outgoing, arm_outputs
from vla_adapter_ros.nodes.parameters import ControllerMode, ControllerParameters
from vla_adapter_ros.nodes.rate_loop import RateLoop
from vla_adapter_ros.nodes.said_once import SaidOnce
from vla_adapter_ros.nodes.status import diagnostic_values, status_message
from vla_adapter_ros.nodes.topics import DEPTH, STATUS_TOPIC
from vla_adapter_ros.observation.lateness import kind_of

_STATUS_BYTES = 20_000  # of one byte each: only their number is bounded
REST_WITHIN_S = 1.5  # wall time for a soft stop when the node is deactivated in motion


class ControlThread:
    """Owns the core, the outputs and the thread; to be made in `configure`.

    Args:
        node: Configured node; publishes.
    """

    def __init__(self, node: ManagedNode[ControllerParameters]) -> None:
        self._node = node
        contract, parameters = self._contract, self._parameters = node.contract, node.parameters
        mode = parameters.mode
        self.lock = threading.Lock()
        """To be held by everybody who calls the core."""
        self.core = RecordedCore(
            contract if mode.sends_commands else untracked(contract),
            1.0 / parameters.rate_hz,
            parameters.armed or not mode.needs_arming,
            splice=parameters.splice,
            speed=parameters.speed,
        )
        self.arms: list[ArmOutput] = []
        """One per controller of the arm; none in a mode that sends no commands."""
        self._grippers: list[GripperOutput] = []
        if mode.sends_commands:
            self.arms = arm_outputs(node, contract, parameters.velocity_feedback)
            self._grippers = gripper_outputs(node, contract, parameters.gripper_max_effort)
        self.rows = RowStream() if mode is ControllerMode.ROW_PASS_THROUGH else None
        """Rows that go out as they are, in that mode alone; used under the lock."""
        self.human: tuple[np.ndarray | None, float] = (None, -np.inf)
        """In shadow mode: the human's newest command (A,) and its receipt [s]; used under the lock."""
        self.newest_chunk = 0
        """Sequence of the newest chunk that came, for the simulator's lock step."""
        self._score = ShadowScore(contract) if mode is ControllerMode.SHADOW else None
        self._commands = node.publish_on(JointState, contract.action.topic, DEPTH)
        self._virtual = node.publish_on(JointState, "~/shadow_command", DEPTH)
        self._row = node.publish_on(JointState, "~/row", DEPTH)
        self._status = node.publish_on(ControllerStatus, STATUS_TOPIC, DEPTH)
        self._ticks = self._sent = 0
        self._last_said = "", ""  # state and source
        self.on_failure: Callable[[str], None] = lambda why: None
        """Called by the thread after a fault has ended motion, with the reason; must return at once."""
        self._failures = 0
        self.statuses: NewestEntries[tuple[float, ControllerStatus]] = NewestEntries(KEPT_S, _STATUS_BYTES)
        """What was published in the last seconds, with the time [s]; used under the lock."""
        self._transitions, self._instruction = SaidOnce(), 0
        self.person_acted = False
        """Whether a person has acted since the last status, so that what follows is news."""
        self.ahead = MotionAheadPublisher(node, self.core.contract)
        """Tells the policy where the arm will be; used under the lock."""
        self._loop: RateLoop | None = None  # while the node is active

    def start(self) -> None:
        """Begin to tick; what is made is owned by the node."""
        if self._score is not None:
            self._score.clear()
        self._ticks = self._sent = 0
        self._last_said = "", ""
        self.human = None, -np.inf
        with self.lock:
            self.core.activate(self._node.now())
        # A full collection visits every object of the process, 20 ms in which nothing ticks. Those that are
        # there to stay are not visited any more.
        gc.collect()
        gc.freeze()
        self._node.own(gc.unfreeze)
        self._node.own(self._end_arm)
        self._node.own(self.ahead.stop)
        self.ahead.start()
        self._loop = RateLoop(
            self._node.get_clock(),
            self.core.period_s,
            self._guarded_tick,
            self._node.simulated_time,
            self._parameters.realtime_priority,
            self._node.get_logger().info,
        )
        self._node.own(self._loop.stop)
        self._loop.start()

    def come_to_rest(self) -> None:
        """Bring the arm to rest, when the node is deactivated.

        A trajectory controller was told the whole stop as soon as one trajectory with it is sent. Drivers of
        positions, velocities and twists need the stop tick by tick; velocities and twists end with a zero.
        """
        with self.lock:
            self.core.hold()
        if self._node.simulated_time:
            # During a transition no callback runs, so simulated time stands still. One more tick commits the
            # stop; a position driver stays where it was told to be last.
            if self._loop is not None:
                self._loop.stop()
            self._guarded_tick(self._node.now() + self.core.period_s)
        else:
            self._wait_for_rest()

    def acknowledge_inputs(self) -> None:
        """Tell the simulator which chunk has come, and how many messages were sent."""
        self._node.acknowledge(0.0, self.newest_chunk, self._sent)

    def _wait_for_rest(self) -> None:
        deadline = time.monotonic() + REST_WITHIN_S
        while time.monotonic() < deadline:
            with self.lock:
                if self.core.trajectory(self._node.now()) is None:
                    return
            time.sleep(0.02)

    def _end_arm(self) -> None:
        """The last thing that is sent, after the last tick: nothing would correct a velocity later."""
        for arm in self.arms:
            arm.end(self._node.now())
        for arm in self.arms:
            arm.flush()

    def _guarded_tick(self, now: float) -> None:
        """A tick that fails stops the arm: a thread that ended silently would leave it in motion."""
        try:
            self._tick(now)
        except Exception as error:
            self._node.faults.report("control tick", repr(error), traceback.format_exc())
            with self.lock:
                self.core.stop()
            self._sent += sum(arm.end(now) for arm in self.arms)
            self._node.acknowledge(now, self.newest_chunk, self._sent)

    def _tick(self, now: float) -> None:
        with self.lock:
            tick = self.core.tick(now)
            telling = tick.urgent or self._ticks % self._parameters.publish_every == 0
            out = Outgoing(
                now,
                self.core.setpoint(now),
                self.core.trajectory(now) if telling else None,
                *self.core.measured,
                released=tick.source == "human" and self._contract.teleop.route == "direct",
            )
            if telling:
                self.ahead.offer(self.core, now)
            positions = self.core.gripper_positions
            failures, why = self.core.failures
            row = self.rows.next_row(now) if self.rows is not None and tick.source == "policy" else None
            human, human_at = self.human
        self._ticks += 1
        if failures != self._failures:
            self._failures = failures
            self.on_failure(why)
        human_active = human is not None and abs(now - human_at) <= self._contract.teleop.timeout_s
        if self._score is not None:
            self._compare(self._score, tick, human if human_active else None, now)
        elif tick.command is not None:
            self._publish_command(tick.command, now)
        if row is not None:
            self._row.publish(action_message(row, self._contract, now))
        if self.arms:
            out = self._still_timely(out)
            self._sent += sum(arm.send(out) for arm in self.arms)
            if positions is not None and not out.released:
                for gripper, position in zip(self._grippers, positions, strict=True):
                    self._sent += gripper.send(position, now, repeat=out.trajectory is not None)
        source = tick.source if self._score is None else ("human" if human_active else "none")
        changed = (tick.state, source) != self._last_said
        if changed or self._ticks % self._parameters.status_every == 0:
            self._publish_status(tick, source)
        self._node.acknowledge(now, self.newest_chunk, self._sent)

    def _still_timely(self, out: Outgoing) -> Outgoing:
        """Drop a trajectory that is late: this process got no processor meanwhile."""
        if out.trajectory is None:
            return out
        with self.lock:
            timely = self.core.still_timely(self._node.now())
        return out if timely else dataclasses.replace(out, trajectory=None)

    def _compare(self, score: ShadowScore, tick: Tick, human: np.ndarray | None, now: float) -> None:
        """Shadow mode: score the policy against the human, and record what the human does."""
        if tick.source == "policy" and tick.command is not None:
            self._virtual.publish(action_message(tick.command, self._contract, now))
            if human is not None:
                score.note(tick.command, human)
        if human is not None:
            self._publish_command(human, now)

    def _publish_command(self, command: np.ndarray, now: float) -> None:
        """Say what was commanded before limiting: what is recorded."""
        self._commands.publish(action_message(command, self._contract, now))

    def _publish_status(self, tick: Tick, source: str) -> None:
        before, self._last_said = self._last_said, (tick.state, source)
        # An arm that moves, or may move and only waits, has no problem; a problem is logged by `diagnose`.
        problem = tick.reason if tick.state in (GATED, HOLDING, STOPPED) else self.core.refusal
        if tick.state == HOMING:
            problem = ""
        if problem == NOT_ARMED:
            arm = self._node.resolve_service_name("~/arm")
            problem = f"not armed yet: `vla-adapter arm`, or `ros2 service call {arm} std_srvs/srv/Trigger`"
        message = status_message(self.core, tick, self._parameters.mode, source, self._score)
        if tick.state != before[0]:
            text = f": {tick.reason}" if tick.reason and not problem else ""
            self._tell_transition(f"{before[0] or 'start'} -> {tick.state}{text}", message.instruction_id)
        self._status.publish(message)
        with self.lock:
            self.statuses.add((tick.time, message), tick.time, 1)
        self._node.diagnose(problem, **diagnostic_values(message))

    def _tell_transition(self, text: str, instruction: int) -> None:
        """Log a change of the state; one that comes again and again, as in starvation, is not repeated."""
        now = time.monotonic()
        if self.person_acted or instruction != self._instruction:
            self._transitions.forget()
        self.person_acted, self._instruction = False, instruction
        self._transitions.ended(now)
        if self._transitions.begins(kind_of(text), now):
            self._node.get_logger().info(text)
