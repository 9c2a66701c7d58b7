"""The controller without ROS: chunks and teleoperation in, limited timed motion out.

`MotionCore` advances on a fixed grid of ticks: it chooses who leads (human,
policy or nobody), takes the reference from there, and lets `CommittedMotion`
follow it. What every event does in every state is a table: see `supervisor.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import watchdogs
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.chunk import Chunk, check_chunk
from vla_adapter_ros.control.clock import TickClock
from vla_adapter_ros.control.gripper import GripperSwitch
from vla_adapter_ros.control.instructions import Instructions
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.limiter import Limiter
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.motion import CommittedMotion, Due, Trajectory
from vla_adapter_ros.control.sources import Sources
from vla_adapter_ros.control.spaces import resting_row
from vla_adapter_ros.control.statistics import Counters
from vla_adapter_ros.control.supervisor import (
    GATED,
    HOLDING,
    HUMAN,
    NO_INSTRUCTION,
    NONE,
    POLICY,
    RUNNING,
    STILL,
    Decision,
    Effect,
    Event,
    Supervisor,
)
from vla_adapter_ros.control.timeline import SmoothRows
from vla_adapter_ros.control.workspace import Box
from vla_adapter_ros.errors import ChunkError, ChunkValueError, CommandError

RAMP_SPEED = 0.2  # share of the velocity limits while a far first target is approached
RAMPED_RAD = 0.02  # this close to the reference, an approach is over
FUTURE_S = 0.5  # joint states stamped later than this are refused
MARGIN_S = 0.03  # a stop that cannot wait leaves this much of what was sent already
SHORT_GAP_TICKS = 2  # ticks that a position driver may miss without the motion beginning anew


@dataclass(frozen=True)
class Tick:
    """What one tick decided.

    `command` is the action before limiting, float64 (A,), in the contract's own
    space: what is recorded. At rest it is the one that is held; None before the
    first joint state, and in ee_pose before the kinematics are known. `urgent`
    asks for sending a trajectory at once: what was sent before is to be replaced.
    """

    time: float
    state: str
    reason: str
    source: str
    command: np.ndarray | None
    urgent: bool = False


class MotionCore:
    """State machine and limited motion of one arm.

    Args:
        contract: The robot's contract.
        period_s: Length of a tick [s].
        armed: Whether motion is allowed from the start.
        splice: How overlapping chunks are combined: see `ChunkTimeline`.
        handover_s: Shortest time in which a difference at a hand-over fades out [s].
        crossfade_s: Length of a cross-fade [s].
        margin_s: What a stop that is cut short leaves of the committed motion [s].
    """

    def __init__(
        self,
        contract: Contract,
        period_s: float = 0.01,
        armed: bool = True,
        *,
        splice: str = "replace",
        handover_s: float = 0.1,
        crossfade_s: float = 0.3,
        margin_s: float = MARGIN_S,
    ) -> None:
        self.contract = contract
        self.period_s = period_s
        self.counters = Counters()
        self.kinematics: ArmKinematics | None = None
        self.limits = Limits.of(contract)
        """Limits in force: the contract's, and the robot description's where they are tighter."""
        lead = max(1, round(contract.command.lead_s / period_s))
        margin = max(1, round(margin_s / period_s))
        self._clock = TickClock(period_s)
        self._motion = CommittedMotion(Limiter(self.limits, period_s), period_s, lead, margin)
        self._arm = ArmState(contract)
        self._sources = Sources(contract, self.limits, splice, handover_s, crossfade_s)
        self._supervisor = Supervisor(armed)
        self._instructions = Instructions()
        self._deadman = watchdogs.Deadman(contract.safety)
        self._gripper = GripperSwitch(contract.gripper)
        self._commanded_gripper: float | None = None  # newest value of the gripper dimension
        self._command: np.ndarray | None = None
        self._source = NONE
        self._admitted = False  # the human who leads has passed the gate
        self._slow = False  # a far first target is being approached
        self._fault = ""  # found between two ticks
        self._foreign = ""
        self._waits = ""  # what a motion that has leave to begin waits for
        self._refused = ""  # why the newest chunk was refused
        self._cut = self._urgent = False
        self._uncommanded: float | None = None  # stamp of a chunk that has led to no command yet

    # Inputs

    def measure(self, positions: dict[str, float], stamp: float, now: float | None = None) -> None:
        """Take in joint positions by name [rad or m], measured at `stamp` [s]; a part of them will do.

        Args:
            positions: By joint name [rad or m].
            stamp: When they were measured [s].
            now: When they were received [s]; None: at the newest tick.

        Raises:
            CommandError: see `ArmState.accept`; or the stamp lies in the future: it would hide all that is
                measured until then.
        """
        time = self._clock.inside(stamp)
        try:
            received = self._clock.time if now is None else self._clock.inside(now)
            if self._clock.tick is not None and time > received + FUTURE_S:
                raise CommandError(
                    f"joint state from {time - received:.2f} s in the future, at most {FUTURE_S}: "
                    "are the clocks of driver and controller in step?"
                )
            measured = self._arm.accept(positions, time)
        except CommandError as error:
            self._arm.refused = str(error)
            raise
        if measured:
            self._arm.refused = ""
        due = self._motion.due(time)
        if due is not None and measured and self._motion.moving:
            wanted = dict(zip(self.contract.arm_joints, due.position, strict=True))
            error, reason = watchdogs.tracking_error(wanted, measured, self.contract.safety)
            self.counters.tracking_error_max = max(self.counters.tracking_error_max, error)
            self._fault = self._fault or reason

    def accept_chunk(self, chunk: Chunk, now: float) -> None:
        """Follow a chunk from the next tick on. Zero rows mean: stop and hold.

        Raises:
            ChunkError: the chunk was refused; the motion goes on as before,
                except after values that no working policy sends.
            KinematicsError: rows of an ee space before the kinematics are known.
        """
        try:
            start = self.chunk_start(chunk, now)
            self.follow_chunk(chunk, self.chunk_rows(chunk, start, self.kinematics), now)
        except ChunkError as error:
            self.refuse_chunk(error)
            raise

    def chunk_start(self, chunk: Chunk, now: float) -> np.ndarray | None:
        """First step of following a chunk, which is quick: refuse what must not be followed.

        Returns:
            Where it begins, float64 (J,); None for one without rows.

        Raises:
            ChunkError: see `check_chunk` and `Instructions.check`, or the state does not permit motion.
        """
        chunk = self._inside(chunk)
        self._instructions.check(chunk)
        check_chunk(chunk, self.contract, self._clock.inside(now))
        if not len(chunk.rows):
            return None
        if self._instructions.is_new(chunk) and (refusal := self._supervisor.refusal):
            self._instructions.refuse(chunk, refusal)
            raise ChunkError(refusal)
        return self._sources.start_of(chunk, self._arm, self._motion)

    def chunk_rows(
        self, chunk: Chunk, start: np.ndarray | None, kinematics: ArmKinematics | None
    ) -> SmoothRows | None:
        """Second step, which takes long and touches no state: rows of any space become smooth joint rows.

        Raises:
            ChunkError, KinematicsError: see `Sources.ready`.
        """
        return None if start is None else self._sources.ready(self._inside(chunk), start, kinematics)

    def follow_chunk(self, chunk: Chunk, ready: SmoothRows | None, now: float) -> None:
        """Last step: follow the chunk, unless something has happened meanwhile.

        Raises:
            ChunkError: as `chunk_start`; or the first target is too far from the arm.
        """
        chunk, instructions = self._inside(chunk), self._instructions
        instructions.check(chunk)
        if ready is None:
            self._end_by_chunk(chunk)
            return
        new = instructions.is_new(chunk)
        if new and (refusal := self._supervisor.refusal):
            instructions.refuse(chunk, refusal)
            raise ChunkError(refusal)
        instructions.note(chunk)
        self._refused = ""
        if new:
            self._sources.takeover.pass_on()
        if self._supervisor.state != RUNNING:
            self._admit(self._sources.first_target(ready.chunk, self._clock.inside(now)), "first target")
            if self._do(Event.INSTRUCTION if new else Event.CHUNK).refused:
                return  # joint states are late: the next chunk goes on once they are back
        measured = self._arm.position
        begin = self._clock.time + self._motion.begins_after(measured)
        here = self._motion.from_here(measured)
        seam = self._sources.follow(chunk, ready, begin, here, fade=not self._slow)
        self.counters.note_seam(seam)
        self._uncommanded = chunk.stamp if chunk.input_stamp is None else chunk.input_stamp

    def refuse_chunk(self, error: ChunkError) -> None:
        """Note that a chunk was refused; values that no working policy sends stop its motion."""
        self.counters.rejected_chunks += 1
        self._refused = str(error)
        if isinstance(error, ChunkValueError) and self._source == POLICY:
            self._fault = self._fault or f"the policy sent {error}"

    def end_instruction(self, why: str) -> None:
        """End the instruction as a policy that is gone would have done: stop softly and hold."""
        if self._instructions.alive:
            self._do(Event.SILENCE, why)

    def accept_teleop(self, command: np.ndarray, stamp: float, now: float | None = None) -> None:
        """Take in a human's command, float64 (A,) in the contract's order and units.

        In delta spaces it is a row that is due during one row's time from its
        stamp. On the route `direct` it only says that the human leads.

        Args:
            command: As in the contract.
            stamp: When it was given [s].
            now: When it was received [s]; None: at the newest tick, or at its stamp if that is later.

        Raises:
            CommandError: wrong shape, not finite, stamped in the future or too long ago.
            ChunkError: an ee_pose or ee_delta that the arm cannot reach.
            KinematicsError: an ee space before the kinematics are known.
        """
        measured = self._arm.position
        here = None if measured is None else self._motion.from_here(measured)
        received = self._clock.time if now is None else self._clock.inside(now)
        leading = self._source == HUMAN
        stamp = self._clock.inside(stamp)
        self._sources.accept_teleop(command, stamp, received, here, self.kinematics, leading)

    def clutch(self, held: bool) -> None:
        """Take in the clutch of `teleop.takeover_topic`."""
        self._sources.takeover.clutch(held)

    def deadman(self, pressed: bool, stamp: float) -> None:
        """Take in the deadman switch; counts only if the contract names its topic."""
        self._deadman.accept(pressed, self._clock.inside(stamp))
        self._observe(self._clock.time)

    def foreign(self, publisher: str) -> None:
        """Note another node that publishes what this controller publishes, in words; empty: there is none."""
        self._foreign = publisher

    def set_kinematics(self, kinematics: ArmKinematics) -> None:
        """Make the arm's kinematics known; its limits count where they are tighter than the contract's."""
        self.kinematics = kinematics
        self.limits = Limits.of(self.contract).tightened(kinematics)
        workspace = self.contract.workspace
        box = Box(workspace, kinematics) if workspace is not None else None
        self._motion.limiter.constrain(self.limits, box)
        self._sources.timeline.limits = self.limits

    # Calls: each answers whether it happened, and says so in a sentence

    def arm(self) -> tuple[bool, str]:
        """Allow motion. It never moves the arm: that takes an instruction or a human's command."""
        return self._answer(self._do(Event.ARM, NO_INSTRUCTION), "armed")

    def hold(self) -> tuple[bool, str]:
        """Stop within the margin, and hold until a new instruction or a human who has let go before."""
        return self._answer(self._do(Event.HOLD, "hold requested"), "holds")

    def stop(self) -> tuple[bool, str]:
        """Stop within the margin and stay stopped until `reset`. No safety function."""
        return self._answer(self._do(Event.STOP, "stop requested"), "stopped")

    def reset(self) -> tuple[bool, str]:
        """Leave `stopped`, and `holding` once its cause is gone. It never moves the arm."""
        return self._answer(self._do(Event.RESET, NO_INSTRUCTION), "reset")

    def activate(self, now: float) -> None:
        """Begin at `now` [s], after a time without ticks: nothing of before moves the arm."""
        if self._clock.tick is not None:
            self._clock.set(now)
        self._arm.forget()
        self._drop_times()
        self._forget()
        self._do(Event.ACTIVATE, "" if self._supervisor.state in STILL else NO_INSTRUCTION)
        self._instructions.end("the controller was inactive", self._clock.inside(now))

    def miss_chunk(self, chunk: Chunk) -> None:
        """Take note of a chunk that came while nobody ticked: it ends its instruction."""
        try:
            self._instructions.check(chunk)
        except ChunkError:
            return
        self._instructions.refuse(chunk, "it was given while the controller was inactive")

    # Time

    def tick(self, now: float) -> Tick:
        """Advance to `now` [s] (several grid steps if ticks were missed)."""
        self._urgent = False
        clock, supervisor = self._clock, self._supervisor
        steps = clock.steps(now)
        if clock.jumped(steps):
            steps = self._clock_set(now, steps)
        self.counters.missed_ticks += max(steps - 1, 0)
        for _ in range(self._after_gap(steps)):
            clock.tick += 1
            self._step(clock.tick, clock.time)
        return Tick(now, supervisor.state, self.reason, self._source, self._command, self._urgent)

    def trajectory(self, now: float) -> Trajectory | None:
        """What to send: everything due after `now` [s], then a full stop; None when nothing moves."""
        clock = self._clock
        if clock.tick is None or self._yields:
            return None
        tick = clock.at(now)
        points = self._motion.points(tick)
        if points is None:
            return None
        ticks, states = points
        return Trajectory(
            joints=self.contract.arm_joints,
            times=clock.outside(ticks),
            positions=states[:, 0],
            velocities=states[:, 1],
            accelerations=states[:, 2],
            start_ns=clock.start_ns(tick),
            offsets=clock.span_s(ticks - tick),
        )

    def still_timely(self, now: float) -> bool:
        """Whether the newest trajectory may be sent at `now` [s]; if not, it counts as never given out.

        One that is sent after its first new point was due would make the arm jump from the stop of the one
        before it.
        """
        return self._motion.still_timely(self._clock.at(now))

    def due(self, now: float) -> Due | None:
        """What should be happening at `now` [s]; None while nothing was sent, or somebody else leads."""
        if self._clock.tick is None or self._yields:
            return None
        return self._motion.due(self._clock.inside(now))

    def commanded_at(self, time: float) -> np.ndarray | None:
        """Joint positions (J,) that were (or will be) due at `time` [s], in the last two seconds."""
        due = self._motion.due(self._clock.inside(time))
        return None if due is None else due.position

    def measured_at(self, time: float) -> np.ndarray | None:
        """Joint positions (J,) measured at `time` [s], in the last two seconds."""
        return self._arm.at(self._clock.inside(time))

    @property
    def measured(self) -> tuple[np.ndarray | None, float]:
        """Newest measured positions (J,), None before the first, and the time of the oldest of them [s]."""
        return self._arm.position, float(self._clock.outside(self._arm.stamp / self.period_s))

    @property
    def gripper_position(self) -> float | None:
        """Position of the gripper joint due at the last tick or `trajectory` call; None before any."""
        return self._motion.gripper

    @property
    def state(self) -> str:
        """State: see `Supervisor`."""
        return self._supervisor.state

    @property
    def reason(self) -> str:
        """Why nothing moves, the first cause, or what a motion waits for; empty if nothing is unusual."""
        reason, waits = self._supervisor.reason, self._sources.takeover.waits
        if self.state == RUNNING:
            return self._waits
        if not waits or self.state in STILL:
            return reason
        return waits if reason == NO_INSTRUCTION else f"{reason}; {waits}"

    @property
    def refusal(self) -> str:
        """Why an instruction or a human's command would be refused now; empty: neither would be."""
        return self._supervisor.refusal

    @property
    def foreign_publisher(self) -> str:
        """See `foreign`."""
        return self._foreign

    @property
    def newest_chunk(self) -> tuple[str, int, int]:
        """Session, instruction and sequence of the newest accepted chunk."""
        newest = self._instructions
        return newest.session, newest.number, newest.sequence

    @property
    def ended_instruction(self) -> int:
        """Newest instruction of that session that has ended; -1: none."""
        return self._instructions.ended_number

    @property
    def _yields(self) -> bool:
        """Whether a human commands the arm past this controller now."""
        return self._source == HUMAN and self.contract.teleop.route == "direct"

    # Inside

    def _inside(self, chunk: Chunk) -> Chunk:
        """The chunk in inside time."""
        inside = self._clock.inside
        return dataclasses.replace(
            chunk,
            stamp=inside(chunk.stamp),
            input_stamp=None if chunk.input_stamp is None else inside(chunk.input_stamp),
            instructed_at=None if chunk.instructed_at is None else inside(chunk.instructed_at),
        )

    def _do(self, event: Event, why: str = "") -> Decision:
        """Let an event happen, with all that it does besides changing the state."""
        decision = self._supervisor.handle(event, why)
        if Effect.END in decision.effect:
            self._instructions.end(decision.reason, self._clock.time)
            self._sources.timeline.clear()
            self._slow = False
        if Effect.BLOCK in decision.effect:
            self._sources.takeover.block(self._clock.time)
        if Effect.CUT in decision.effect:
            self._cut = True
        return decision

    def _answer(self, decision: Decision, done: str) -> tuple[bool, str]:
        if decision.refused:
            return False, decision.reason
        reason = f": {self._supervisor.reason}" if self._supervisor.reason else ""
        return True, f"{done}, state is {self._supervisor.state}{reason}"

    def _end_by_chunk(self, chunk: Chunk) -> None:
        """A chunk without rows came: stop softly. With a reason the policy has lost something."""
        live = self._instructions.alive
        self._instructions.note(chunk)
        if chunk.reason and live:
            self._do(Event.SILENCE, chunk.reason)
        elif live or self._supervisor.state in (RUNNING, GATED):
            self._do(Event.END, chunk.reason or "the instruction was ended")

    def _admit(self, target: np.ndarray, what: str) -> None:
        """The gate for the first target (J,) of a motion: refuse a far one, or approach it slowly.

        Raises:
            ChunkError: the target is too far from the arm.
        """
        here = self._motion.from_here(self._arm.position)[0]
        far = watchdogs.too_far(target, here, self.contract.arm_joints, self.contract.safety, what)
        if far and self.contract.safety.first_target == "refuse":
            self._do(Event.FAR, far)
            raise ChunkError(far)
        self._slow = bool(far)

    def _after_gap(self, steps: int) -> int:
        """What ticks that were missed did to the motion; returns how many are to be made up for.

        What nobody was sent was not executed. A trajectory goes on by itself, to the stop that it ends
        with. A position driver stays where it was told to be last. A velocity driver has stopped or gone
        on: the arm begins anew where it is measured.
        """
        clock, motion, command = self._clock, self._motion, self.contract.command.type
        if steps <= 1 or clock.tick is None:
            return steps
        before, clock.tick = clock.tick, clock.tick + steps - 1
        if not motion.moving:
            return 1
        if command == "joint_trajectory":
            if motion.catch_up(clock.tick + 1):
                self._urgent = True
                return 1
        elif command in ("forward_position", "cartesian_pose"):
            if steps - 1 > SHORT_GAP_TICKS:
                motion.rest(clock.tick)
            else:
                motion.delay(steps - 1)
            return 1
        elif steps - 1 > SHORT_GAP_TICKS:
            motion.forget()
            return 1
        clock.tick = before
        return steps

    def _step(self, tick: int, time: float) -> None:
        motion = self._motion
        if self.contract.command.type == "joint_trajectory" and motion.given_out:
            self._urgent = motion.catch_up(tick) or self._urgent
        motion.advance(tick)
        self._watch(time)
        if self._cut:
            motion.cut(tick)
            self._cut, self._urgent = False, True
        self._choose(time)
        if self._source == NONE:
            motion.brake(tick)
            self._command = self._held()
            return
        self._command = self._sources.command(self._source, time)
        self._commanded_gripper = float(self._command[self._sources.gripper_column])
        if self._yields:
            self._forget()
            return
        if self._source == POLICY and self._uncommanded is not None:
            self.counters.note_latency(time - self._uncommanded)
            self._uncommanded = None
        self._follow(tick, time)

    def _observe(self, time: float) -> tuple[str, str]:
        """Tell the supervisor what stands against motion at `time` [s].

        Returns:
            Why the joint states are too old, and what else must stop a motion; each empty where it is well.
        """
        late = watchdogs.joint_states_too_old(self._arm, time, self.contract.safety)
        missing = watchdogs.kinematics_missing(self.contract, self.kinematics is not None)
        foreign = f"{self._foreign}: stop it first" if self._foreign else ""
        released = self._deadman.released(time)
        self._supervisor.observe(late or missing or foreign or released, bool(late or missing or foreign))
        return late, foreign or released

    def _watch(self, time: float) -> None:
        """Look for what stands against motion, and turn a fault into a stop."""
        supervisor, safety = self._supervisor, self.contract.safety
        late, stops = self._observe(time)
        fault, self._fault = self._fault, ""
        active = (self._source != NONE and not self._yields) or self._motion.moving
        if active and (fault := fault or stops):
            self._do(Event.FAULT, fault)
        if not late:
            return
        silent = time - self._arm.stamp > safety.joint_state_timeout_s + safety.resume_within_s
        waits = supervisor.state in (RUNNING, HOLDING, GATED) or active
        if silent:
            if waits and (self._instructions.alive or active or self._sources.takeover.sends):
                self._do(Event.SILENCE, late)
            self._instructions.end(late, time)
        elif supervisor.state == RUNNING and not self._yields:
            self._do(Event.GAP, late)

    def _choose(self, time: float) -> None:
        """Decide who leads at `time` [s], and note why nobody does."""
        supervisor, sources, timeline = self._supervisor, self._sources, self._sources.timeline
        before, self._source = self._source, NONE
        human = sources.takeover.leads(time)
        if not human:
            self._admitted = False
            if before == HUMAN and supervisor.state == RUNNING:
                alive = self._instructions.alive
                self._do(Event.LET_GO, "the human has let go" + ("" if alive else ": give a new instruction"))
        direct = self.contract.teleop.route == "direct"
        if human and self._let_human_lead(time, direct):
            if before != HUMAN and not self.contract.teleop.hands_back:
                self._instructions.end("a human took over", time)
            timeline.clear()
            self._source = HUMAN
        elif human and supervisor.state == GATED:
            timeline.clear()
        elif timeline.chunk is None or not self._instructions.alive:
            return
        elif timeline.starved(time):
            self.counters.starved_ticks += 1
            because = f": the newest was refused: {self._refused}" if self._refused else ""
            if not self._supervisor.refusal:
                self._do(Event.STARVED, f"no action chunk in time{because}")
        elif supervisor.state == RUNNING or not self._resume(time):
            self._source = POLICY if supervisor.state == RUNNING else NONE

    def _resume(self, time: float) -> bool:
        """Go on with rows after a short gap of the joint states; returns whether that is refused."""
        try:
            self._admit(self._sources.timeline.at(time)[0], "the next row")
        except ChunkError:
            return True
        return self._do(Event.CHUNK).refused

    def _let_human_lead(self, time: float, direct: bool) -> bool:
        """Whether a human who wants to lead may."""
        if direct:
            return not self._do(Event.COMMAND).refused or bool(self._supervisor.state not in STILL)
        if self._supervisor.refusal:
            return False
        if not self._admitted:
            try:
                self._admit(self._sources.teleop.at(time)[0], "the human's command")
            except ChunkError:
                return False
        if self._do(Event.COMMAND).refused:
            return False
        self._admitted = True
        return True

    def _follow(self, tick: int, time: float) -> None:
        """Decide one tick towards whoever leads."""
        motion = self._motion
        reference = self._sources.reference(self._source)
        measured = self._arm.position
        if not motion.holds(measured):
            value = self._commanded_gripper
            self._forget()
            self._commanded_gripper = value
        self._waits = "" if motion.known else self._arm.moving()
        if self._waits:
            self._command = self._held()
            return
        # Whoever interpolates needs the whole time that a beginning leaves to come to its first point.
        self._urgent = self._urgent or not motion.moving
        gripper = self._gripper.position(self._commanded_gripper, time)
        step = motion.follow(tick, reference, gripper, measured, RAMP_SPEED if self._slow else 1.0)
        if step is not None:
            self.counters.note_limits(step)
            near = np.abs(step.state[0] - reference.at(time)[0]).max() <= RAMPED_RAD
            self._slow = self._slow and not near

    def _held(self) -> np.ndarray | None:
        """The action that keeps the arm where it is sent, or where it is while nothing was sent."""
        measured = self._arm.position
        if measured is None:
            return None
        if not self._motion.holds(measured):
            self._forget()  # nothing was sent, or somebody else has moved the arm since
        if self.contract.action.space == "ee_pose" and self.kinematics is None:
            return None
        gripper, value = self.contract.gripper, self._commanded_gripper
        if value is None:
            middle = (gripper.open_position + gripper.closed_position) / 2
            there = gripper.open_position if self._arm.gripper is None else self._arm.gripper
            opened = (there > middle) == (gripper.open_position > gripper.closed_position)
            value = gripper.open if opened else gripper.closed
        return resting_row(self.contract, self._motion.from_here(measured)[0], value, self.kinematics)

    def _forget(self) -> None:
        """Drop what was sent so far; the next motion begins where the arm is."""
        self._motion.forget()
        if not self._yields:
            self._commanded_gripper = None
        self._gripper = GripperSwitch(self.contract.gripper)

    def _clock_set(self, now: float, steps: int) -> int:
        """After a gap or a jump of the clock nothing that was timed is valid any more; returns ticks to go.

        Set back, the motion goes on in the new time and is stopped there. Ahead, what was sent has been
        carried out meanwhile: either the clock was set, or this process was given no processor.
        """
        ahead, moving = steps > 0, self._motion.moving
        text = (
            f"no tick for {steps * self.period_s:.2f} s: this process got no processor, or the clock was set"
        )
        if ahead and moving and self.contract.command.type == "joint_trajectory":
            self._motion.catch_up(self._clock.tick + steps)
        elif ahead and moving and self.contract.command.type in ("forward_position", "cartesian_pose"):
            self._motion.rest(self._clock.tick + steps)
        elif ahead:
            self._forget()
        if not ahead or not self._motion.moving:
            gap = self._clock.set(now)
            text = text if ahead else f"the clock jumped by {gap:.2f} s"
            steps = 1
        self._arm.expire()
        self._drop_times()
        self._do(Event.FAULT, text)
        return steps

    def _drop_times(self) -> None:
        """Forget all that was timed."""
        self._sources.clear()
        self._instructions.forget_time()
        self._deadman.accept(False, 0.0)
        self._uncommanded = None
