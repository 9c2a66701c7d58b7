"""The controller without ROS: chunks and teleoperation in, limited timed motion out.

`MotionCore` advances on a fixed grid of ticks: it chooses who leads (human,
policy or nobody), takes the reference from there, and lets `CommittedMotion`
follow it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import watchdogs
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.chunk import Chunk
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
from vla_adapter_ros.control.supervisor import Supervisor
from vla_adapter_ros.control.workspace import Box
from vla_adapter_ros.errors import ChunkError, ChunkValueError, CommandError

RAMP_SPEED = 0.2  # share of the velocity limits while a far first target is approached
RAMPED_RAD = 0.02  # this close to the reference, an approach is over
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

    Its states, and what leads from one to another: see `Supervisor`.

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
        self._instructions = Instructions()
        self._supervisor = Supervisor(
            contract, armed, self._arm, self._motion, self._sources, self.counters, self._instructions
        )
        self._gripper = GripperSwitch(contract.gripper)
        self._commanded_gripper: float | None = None  # newest value of the gripper dimension
        self._command: np.ndarray | None = None
        self._urgent = False
        self._uncommanded: float | None = None  # stamp of a chunk that has led to no command yet

    # Inputs

    def measure(self, positions: dict[str, float], stamp: float) -> None:
        """Take in measured joint positions by name [rad]; other joints are ignored.

        Raises:
            CommandError: an arm joint is missing or not finite, or the stamp lies in the future: it would
                hide all that is measured until then.
        """
        time = self._clock.inside(stamp)
        if self._clock.tick is not None and time > self._clock.time + FUTURE_S:
            raise CommandError(
                f"joint state from {time - self._clock.time:.2f} s in the future, allowed are {FUTURE_S}: "
                "are the clocks of driver and controller in step?"
            )
        measured = self._arm.accept(positions, time)
        due = self._motion.due(time)
        if due is not None and self._motion.moving:
            error, reason = watchdogs.tracking_error(
                due.position, measured, self.contract.arm_joints, self.contract.safety
            )
            self.counters.tracking_error_max = max(self.counters.tracking_error_max, error)
            self._supervisor.report(reason)

    def accept_chunk(self, chunk: Chunk, now: float) -> None:
        """Follow a chunk from the next tick on. Zero rows mean: stop and hold.

        Raises:
            ChunkError: the chunk was refused; the motion goes on as before,
                except after values that no working policy sends.
            KinematicsError: rows of an ee space before the kinematics are known.
        """
        time = self._clock.inside(now)
        chunk = dataclasses.replace(chunk, stamp=self._clock.inside(chunk.stamp))
        supervisor = self._supervisor
        try:
            self._instructions.check(chunk)
            ready = self._sources.ready(chunk, time, self._arm, self._motion, self.kinematics)
            if len(chunk.rows):
                supervisor.admit(ready, time)
        except ChunkError as error:
            self.counters.rejected_chunks += 1
            supervisor.refused = str(error)
            if isinstance(error, ChunkValueError) and supervisor.source == "policy":
                supervisor.report(f"the policy sent {error}")
            raise
        fresh = self._instructions.is_new(chunk)
        self._instructions.note(chunk)
        if not len(chunk.rows):
            supervisor.end_task()
            return
        if supervisor.state in ("disarmed", "stopped"):
            self._instructions.end(supervisor.reason)  # neither `arm` nor `reset` begins it later
            return
        if fresh:
            supervisor.release()
        here = self._motion.from_here(self._arm.position)
        seam = self._sources.follow(chunk, ready, self._clock.time, here, fade=not supervisor.slow)
        self.counters.note_seam(seam)
        self._uncommanded = chunk.stamp
        supervisor.follow()

    def accept_teleop(self, command: np.ndarray, stamp: float) -> None:
        """Take in a human's command, float64 (A,) in the contract's order and units.

        In delta spaces it is a row that is due during one row's time from its
        stamp. On the route `direct` it only says that the human leads.

        Raises:
            CommandError: wrong shape or not finite.
            ChunkError: an ee_pose or ee_delta that the arm cannot reach.
            KinematicsError: an ee space before the kinematics are known.
        """
        measured = self._arm.position
        here = None if measured is None else self._motion.from_here(measured)
        leading = self._supervisor.source == "human"
        self._sources.accept_teleop(command, self._clock.inside(stamp), here, self.kinematics, leading)

    def deadman(self, pressed: bool, stamp: float) -> None:
        """Take in the deadman switch; counts only if the contract names its topic."""
        self._supervisor.deadman.accept(pressed, self._clock.inside(stamp))

    def set_kinematics(self, kinematics: ArmKinematics) -> None:
        """Make the arm's kinematics known; its limits count where they are tighter than the contract's."""
        self.kinematics = kinematics
        self._supervisor.kinematics_known = True
        self.limits = Limits.of(self.contract).tightened(kinematics)
        workspace = self.contract.workspace
        box = Box(workspace, kinematics) if workspace is not None else None
        self._motion.limiter.constrain(self.limits, box)
        self._sources.timeline.limits = self.limits

    def arm(self) -> None:
        """Allow motion: leaves `disarmed`, and `holding` after a fault. Only a new instruction moves the arm.

        Raises:
            CommandError: the state is `stopped`; nothing is armed.
        """
        self._supervisor.arm()

    def hold(self) -> None:
        """Stop within the margin, and hold until a new instruction."""
        self._supervisor.hold()

    def stop(self) -> None:
        """Stop within the margin and stay stopped until `reset`. No safety function."""
        self._supervisor.stop()

    def reset(self) -> None:
        """Leave `stopped`, and `holding` after a fault. Only a new instruction moves the arm again."""
        self._supervisor.reset()

    def miss_chunk(self, chunk: Chunk) -> None:
        """Take note of a chunk that came while nobody ticked: it ends its instruction."""
        try:
            self._instructions.check(chunk)
        except ChunkError:
            return
        self._instructions.note(chunk)
        self._instructions.end("it was given while the controller was inactive")
        self._instructions.forget_time()

    def resume(self, now: float) -> None:
        """Begin again at `now` [s], after a time in which nobody ticked; nothing of before moves the arm.

        What was sent last was carried out, or the arm was moved otherwise: the next motion begins where the
        arm is. `disarmed` and `stopped` stay; what else was before is over.
        """
        if self._clock.tick is not None:
            self._restart_clock(now)
        self._forget()
        self._supervisor.resume()

    # Time

    def tick(self, now: float) -> Tick:
        """Advance to `now` [s] (several grid steps if ticks were missed)."""
        self._urgent = False
        clock, supervisor = self._clock, self._supervisor
        steps = clock.steps(now)
        if clock.jumped(steps):
            self._clock_set(now, forward=steps > 0)
            steps = 1
        self.counters.missed_ticks += max(steps - 1, 0)
        for _ in range(steps):
            clock.tick += 1
            self._step(clock.tick, clock.time)
        return Tick(now, supervisor.state, supervisor.reason, supervisor.source, self._command, self._urgent)

    def trajectory(self, now: float) -> Trajectory | None:
        """What to send: everything due after `now` [s], then a full stop; None when nothing moves."""
        clock = self._clock
        if clock.tick is None or self._supervisor.yields:
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

    def due(self, now: float) -> Due | None:
        """What should be happening at `now` [s]; None while nothing was sent, or somebody else leads."""
        if self._clock.tick is None or self._supervisor.yields:
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
    def gripper_position(self) -> float | None:
        """Position of the gripper joint due at the last tick or `trajectory` call; None before any."""
        return self._motion.gripper

    @property
    def state(self) -> str:
        """State: see `Supervisor`."""
        return self._supervisor.state

    @property
    def newest_chunk(self) -> tuple[str, int, int]:
        """Session, instruction and sequence of the newest accepted chunk."""
        return self._instructions.session, self._instructions.number, self._instructions.sequence

    def _step(self, tick: int, time: float) -> None:
        motion, supervisor = self._motion, self._supervisor
        motion.advance(tick)
        supervisor.watch(time)
        if supervisor.cut:
            motion.cut(tick)
            supervisor.cut, self._urgent = False, True
        supervisor.choose(time)
        if supervisor.source == "none":
            motion.brake(tick)
            self._command = self._held()
            return
        self._command = self._sources.command(supervisor.source, time)
        self._commanded_gripper = float(self._command[self._sources.gripper_column])
        if supervisor.yields:
            self._forget()
            return
        if supervisor.source == "policy" and self._uncommanded is not None:
            self.counters.note_latency(time - self._uncommanded)
            self._uncommanded = None
        self._follow(tick, time)

    def _follow(self, tick: int, time: float) -> None:
        """Decide one tick towards whoever leads."""
        motion, supervisor = self._motion, self._supervisor
        reference = self._sources.reference(supervisor.source)
        measured = self._arm.position
        if not motion.holds(measured):
            value = self._commanded_gripper
            self._forget()
            self._commanded_gripper = value
        gripper = self._gripper.position(self._commanded_gripper, time)
        step = motion.follow(tick, reference, gripper, measured, RAMP_SPEED if supervisor.slow else 1.0)
        if step is not None:
            self.counters.note_limits(step)
            near = np.abs(step.state[0] - reference.at(time)[0]).max() <= RAMPED_RAD
            supervisor.slow = supervisor.slow and not near

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
            opened = (self._arm.gripper > middle) == (gripper.open_position > gripper.closed_position)
            value = gripper.open if opened else gripper.closed
        return resting_row(self.contract, self._motion.from_here(measured)[0], value, self.kinematics)

    def _forget(self) -> None:
        """Drop what was sent so far; the next motion begins where the arm is."""
        self._motion.forget()
        if not self._supervisor.yields:
            self._commanded_gripper = None
        self._gripper = GripperSwitch(self.contract.gripper)

    def _clock_set(self, now: float, forward: bool) -> None:
        """After a jump of the clock nothing that was timed is valid any more.

        Set back, the motion goes on in the new time and is stopped there. Set
        forward, whoever follows it is at its end already.
        """
        gap = self._restart_clock(now)
        if forward:
            self._forget()
        if self._supervisor.state not in ("disarmed", "stopped"):
            self._supervisor.fail(f"the clock jumped by {gap:.2f} s")

    def _restart_clock(self, now: float) -> float:
        """Let the next tick be at `now` [s] and drop what was timed; returns how far the clock jumped [s]."""
        gap = self._clock.set(now)
        self._sources.clear()
        self._instructions.forget_time()
        self._arm.expire()
        self._supervisor.deadman.accept(False, 0.0)
        self._uncommanded = None
        return gap
