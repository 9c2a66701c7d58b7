"""The controller without ROS: chunks and teleoperation in, limited timed motion out.

`MotionCore` takes in what comes and gives out what is due, in the caller's time.
Inside, `Arbiter` decides who leads (human, policy or nobody), by the table of
`Supervisor`; `Execution` lets `CommittedMotion` follow, on a fixed grid of ticks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import watchdogs
from vla_adapter_ros.control.arbiter import Arbiter
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.chunk_intake import ChunkIntake
from vla_adapter_ros.control.clock import TickClock
from vla_adapter_ros.control.execution import Execution
from vla_adapter_ros.control.homing import home_target
from vla_adapter_ros.control.instructions import INACTIVE, Ending
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.limiter import Limiter
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.motion import CommittedMotion, Setpoint, Trajectory
from vla_adapter_ros.control.sources import Sources
from vla_adapter_ros.control.statistics import Counters
from vla_adapter_ros.control.supervisor import HUMAN, NO_INSTRUCTION, STILL, Event
from vla_adapter_ros.control.timeline import SmoothRows
from vla_adapter_ros.control.workspace import Box
from vla_adapter_ros.errors import ChunkError, CommandError

FUTURE_S = 0.5  # joint states stamped later than this are refused
MARGIN_S = 0.03  # a stop that cannot wait leaves this much of what was sent already


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
        speed: Of the policy's motion at the start: see `set_speed`.

    Raises:
        CommandError: a speed that is not allowed.
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
        speed: float = 1.0,
    ) -> None:
        self.contract = contract
        self.period_s = period_s
        self.counters = Counters()
        self.limits = Limits.of(contract)
        """Limits in force: the contract's, and the robot description's where they are tighter."""
        lead = max(1, round(contract.command.command_delay_s / period_s))
        margin = max(1, round(margin_s / period_s))
        self._clock = clock = TickClock(period_s)
        self._arm = arm = ArmState(contract)
        self._motion = motion = CommittedMotion(
            Limiter(self.limits, period_s), period_s, lead, margin, contract.safety.tracking_error_max
        )
        self._sources = sources = Sources(contract, self.limits, splice, handover_s, crossfade_s, speed)
        self._arbiter = Arbiter(contract, clock, arm, motion, sources, self.counters, armed)
        parts = contract, clock, arm, motion, sources, self._arbiter
        self._intake = ChunkIntake(*parts, self.counters)
        self._execution = Execution(*parts, self._intake, self.counters)

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
            if self._clock.started and time > received + FUTURE_S:
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
        setpoint = self._motion.setpoint(time)
        if setpoint is not None and measured and self._motion.moving:
            wanted = dict(zip(self.contract.arm_joints, setpoint.position, strict=True))
            distance, reason = watchdogs.tracking_error(wanted, measured, self.contract.safety)
            self.counters.tracking_error_max = max(self.counters.tracking_error_max, distance)
            self._arbiter.fault = self._arbiter.fault or reason

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
            ChunkError: see `ChunkIntake.start`.
        """
        return self._intake.start(self._inside(chunk), self._clock.inside(now))

    def chunk_rows(
        self, chunk: Chunk, start: np.ndarray | None, kinematics: ArmKinematics | None
    ) -> SmoothRows | None:
        """Second step, which takes long and touches no state: rows of any space become smooth joint rows.

        Raises:
            ChunkError, KinematicsError: see `Sources.to_joint_space`.
        """
        return None if start is None else self._sources.to_joint_space(self._inside(chunk), start, kinematics)

    def follow_chunk(self, chunk: Chunk, smooth: SmoothRows | None, now: float) -> None:
        """Last step: follow the chunk, unless something has happened meanwhile.

        Raises:
            ChunkError: see `ChunkIntake.follow`.
        """
        self._intake.follow(self._inside(chunk), smooth, self._clock.inside(now))

    def refuse_chunk(self, error: ChunkError) -> None:
        """Note that a chunk was refused; values that no working policy sends stop its motion."""
        self._intake.refuse(error)

    def miss_chunk(self, chunk: Chunk) -> None:
        """Take note of a chunk that came while nobody ticked: it ends its instruction."""
        self._intake.miss(chunk)

    def end_instruction(self, why: str) -> None:
        """End the instruction as a policy that is gone would have done: stop and hold."""
        self._arbiter.end_instruction(why)

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
        leading = self._arbiter.source == HUMAN
        stamp = self._clock.inside(stamp)
        self._sources.accept_teleop(command, stamp, received, here, self.kinematics, leading)

    def clutch(self, held: bool) -> None:
        """Take in the clutch of `teleop.takeover_topic`."""
        self._sources.takeover.clutch(held)

    def deadman(self, pressed: bool, stamp: float) -> None:
        """Take in the deadman switch; counts only if the contract names its topic."""
        self._arbiter.deadman.accept(pressed, self._clock.inside(stamp))
        self._arbiter.observe(self._clock.time)

    def hear_operator(self, now: float) -> None:
        """Take in a sign of life of the operator's page, received at `now` [s]."""
        self._arbiter.operator.hear(self._clock.inside(now))
        self._arbiter.observe(self._clock.time)

    def foreign(self, publisher: str) -> None:
        """Note another node that publishes what this controller publishes, in words; empty: there is none."""
        self._arbiter.foreign = publisher

    def set_kinematics(self, kinematics: ArmKinematics) -> None:
        """Make the arm's kinematics known; its limits count where they are tighter than the contract's."""
        self._execution.kinematics, self._arbiter.kinematics_known = kinematics, True
        self.limits = Limits.of(self.contract).tightened(kinematics)
        workspace = self.contract.workspace
        box = Box(workspace, kinematics) if workspace is not None else None
        self._motion.limiter.constrain(self.limits, box)
        self._sources.timeline.limits = self.limits

    # Calls: each answers whether it happened, and says so in a sentence

    def arm(self) -> tuple[bool, str]:
        """Allow motion. It never moves the arm: that takes an instruction or a human's command."""
        return self._arbiter.answer(self._arbiter.do(Event.ARM, NO_INSTRUCTION), "armed")

    def hold(self) -> tuple[bool, str]:
        """Stop within the margin, and hold until a new instruction or a human who has let go before."""
        return self._arbiter.answer(self._arbiter.do(Event.HOLD, "hold requested"), "holds")

    def stop(self) -> tuple[bool, str]:
        """Stop within the margin and stay stopped until `reset`. No safety function."""
        return self._arbiter.answer(self._arbiter.do(Event.STOP, "stop requested"), "stopped")

    def reset(self) -> tuple[bool, str]:
        """Leave `stopped`, and `holding` once its cause is gone. It never moves the arm."""
        return self._arbiter.answer(self._arbiter.do(Event.RESET, NO_INSTRUCTION), "reset")

    def home(self, names: Sequence[str] = (), positions: Sequence[float] = ()) -> tuple[bool, str]:
        """Bring the arm to a pose, slowly and within its limits; the grippers stay as they are.

        Hold, stop, a fault and a human's command end the motion; instructions are refused until it is over.

        Args:
            names: Joints of the arm, each once; none: the contract's home pose.
            positions: One per name [rad or m].
        """
        kind = self.contract.command.type
        if kind.is_cartesian:
            return False, f"command.type {kind}: the robot solves its own kinematics, so no pose can be told"
        try:
            return self._arbiter.home(home_target(self.contract, names, positions))
        except CommandError as error:
            return False, str(error)

    def set_speed(self, speed: float) -> tuple[bool, str]:
        """Carry out the policy's motion at this fraction of its own speed, 0.1 to 1; not a human's."""
        try:
            self._sources.set_speed(speed, self._clock.time)
        except CommandError as error:
            return False, str(error)
        return True, f"the policy's motion is carried out at {speed:g} times its own speed"

    def activate(self, now: float) -> None:
        """Begin at `now` [s], after a time without ticks: nothing of before moves the arm."""
        if self._clock.started:
            self._clock.set(now)
        self._arm.forget()
        self._arbiter.drop_times()
        self._execution.forget()
        self._arbiter.do(Event.ACTIVATE, "" if self._arbiter.supervisor.state in STILL else NO_INSTRUCTION)
        self._arbiter.instructions.end(INACTIVE, self._clock.inside(now))

    # Time

    def tick(self, now: float) -> Tick:
        """Advance to `now` [s] (several grid steps if ticks were missed)."""
        execution = self._execution
        execution.advance(now)
        return Tick(now, self.state, self.reason, self._arbiter.source, execution.command, execution.urgent)

    def trajectory(self, now: float) -> Trajectory | None:
        """What to send: everything due after `now` [s], then a full stop; None when nothing moves."""
        clock = self._clock
        if not clock.started or self._arbiter.yields:
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

    def setpoint(self, now: float) -> Setpoint | None:
        """What should be happening at `now` [s]; None while nothing was sent, or somebody else leads."""
        if not self._clock.started or self._arbiter.yields:
            return None
        return self._motion.setpoint(self._clock.inside(now))

    def measured_at(self, time: float) -> np.ndarray | None:
        """Joint positions (J,) measured at `time` [s], in the last two seconds."""
        return self._arm.at(self._clock.inside(time))

    @property
    def measured(self) -> tuple[np.ndarray | None, float]:
        """Newest measured positions (J,), None before the first, and the time of the oldest of them [s]."""
        return self._arm.position, self._clock.outside_time(self._arm.stamp)

    @property
    def most_delay_s(self) -> float:
        """How much later than its image a chunk of the policy that leads may begin [s]; 0: none leads."""
        return self._intake.most_delay_s

    @property
    def known_chunk(self) -> tuple[str, int]:
        """Session and sequence of the newest chunk that is followed, or is to begin later."""
        return self._intake.known_chunk

    @property
    def gripper_positions(self) -> tuple[float, ...] | None:
        """Positions of the gripper joints (G,) due at the last tick or `trajectory` call; None before any."""
        return self._motion.grippers

    @property
    def state(self) -> str:
        """State: see `Supervisor`."""
        return self._arbiter.supervisor.state

    @property
    def reason(self) -> str:
        """Why nothing moves, the first cause, or what a motion waits for; empty if nothing is unusual."""
        return self._arbiter.reason

    @property
    def kinematics(self) -> ArmKinematics | None:
        """The arm's, once they are known."""
        return self._execution.kinematics

    @property
    def refusal(self) -> str:
        """Why an instruction or a human's command would be refused now; empty: neither would be."""
        return self._arbiter.supervisor.refusal

    @property
    def operator_silent(self) -> bool:
        """Whether a policy's instruction would be refused for want of an operator alone."""
        return self._arbiter.supervisor.refused_for_policy

    @property
    def checkpoint(self) -> str:
        """Checkpoint behind the newest accepted chunk; empty: unknown."""
        return self._arbiter.instructions.checkpoint

    @property
    def foreign_publisher(self) -> str:
        """See `foreign`."""
        return self._arbiter.foreign

    @property
    def failures(self) -> tuple[int, str]:
        """How often a fault, or the silence of an input, has ended motion; and why the last time."""
        return self._arbiter.failures

    @property
    def speed(self) -> float:
        """See `set_speed`."""
        return self._sources.path_time.speed

    @property
    def newest_chunk(self) -> tuple[str, int, int]:
        """Session, instruction and sequence of the newest accepted chunk."""
        newest = self._arbiter.instructions
        return newest.session, newest.number, newest.sequence

    @property
    def ended_instruction(self) -> int:
        """Newest instruction of that session that has ended; -1: none."""
        return self._arbiter.instructions.ended_number

    @property
    def ending(self) -> Ending:
        """What ended it."""
        return self._arbiter.instructions.ending

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
