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
from vla_adapter_ros.control.chunk import Chunk, ChunkOrder
from vla_adapter_ros.control.gripper import GripperSwitch
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.limiter import Limiter
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.motion import CommittedMotion, Due, Trajectory
from vla_adapter_ros.control.sources import Sources
from vla_adapter_ros.control.spaces import resting_row
from vla_adapter_ros.control.statistics import Counters
from vla_adapter_ros.control.workspace import Box
from vla_adapter_ros.errors import ChunkError, ChunkValueError

CLOCK_JUMP_S = 0.5  # a larger gap between two ticks means that the clock was set
RAMP_SPEED = 0.2  # share of the velocity limits while a far first target is approached
RAMPED_RAD = 0.02  # this close to the reference, an approach is over
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

    @property
    def reference(self) -> np.ndarray | None:
        """The same as `command`."""
        return self.command


class MotionCore:
    """State machine and limited motion of one arm.

    | state    | meaning                                    | left                          |
    |----------|--------------------------------------------|-------------------------------|
    | disarmed | not armed since the start                  | by `arm`                      |
    | idle     | nothing to do                              | by a chunk or a human         |
    | gated    | first target too far away, nothing moves   | by a nearer one               |
    | running  | a human or the policy leads                | by what is listed below       |
    | holding  | stopping or at rest, the reason says why   | by what is listed below       |
    | stopped  | `stop` was called                          | by `reset`                    |

    What ends motion, how, and what begins it again:

    | cause                             | stop | the policy leads again by    | a human by       |
    |-----------------------------------|------|------------------------------|------------------|
    | rows used up (starved)            | soft | the next chunk               | a command        |
    | chunk without rows                | soft | the next chunk               | a command        |
    | human let go, or took over        | soft | the next chunk               | a command        |
    | `hold`                            | cut  | new instruction, arm, reset  | letting go first |
    | joint states old, tracking error  | cut  | new instruction, arm, reset  | letting go first |
    | clock set, deadman released       | cut  | new instruction, arm, reset  | letting go first |
    | chunk with impossible values      | cut  | new instruction, arm, reset  | letting go first |
    | `stop`                            | cut  | `reset` only                 | `reset` only     |

    A soft stop begins where the lead ends. A cut replaces what is due
    later than a margin by a stop. Both are jerk-limited and end at rest. A new
    instruction is a chunk of a new session or instruction with rows. Every
    motion begins through the first-target gate, a human's as well.

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
        self._period_ns = round(period_s * 1e9)
        self.limits = Limits.of(contract)
        """Limits in force: the contract's, and the robot description's where they are tighter."""
        lead = max(1, round(contract.command.lead_s / period_s))
        margin = max(1, round(margin_s / period_s))
        self._motion = CommittedMotion(Limiter(self.limits, period_s), period_s, lead, margin)
        self._arm = ArmState(contract)
        self._sources = Sources(contract, self.limits, splice, handover_s, crossfade_s)
        self._order = ChunkOrder()
        self._deadman = watchdogs.Deadman(contract.safety)
        self._gripper = GripperSwitch(contract.gripper)
        self._state = "idle" if armed else "disarmed"
        self._reason = "" if armed else "not armed yet"
        self._source = "none"
        self._latched = False  # after a fault: the policy waits for an explicit call
        self._cut = self._urgent = False
        self._fault = ""  # found between two ticks
        self._slow = False
        self._refused = ""
        self._base: float | None = None  # time of tick 0 [s]; inside, times count from there
        self._ticks: int | None = None  # number of the newest tick
        self._commanded_gripper: float | None = None  # newest value of the gripper dimension
        self._command: np.ndarray | None = None
        self._uncommanded: float | None = None  # stamp of a chunk that has led to no command yet

    # Inputs

    def measure(self, positions: dict[str, float], stamp: float) -> None:
        """Take in measured joint positions by name [rad]; other joints are ignored.

        Raises:
            CommandError: an arm joint is missing or not finite.
        """
        time = self._inside(stamp)
        measured = self._arm.accept(positions, time)
        due = self._motion.due(time)
        if due is not None and self._motion.moving:
            error, reason = watchdogs.tracking_error(
                due.position, measured, self.contract.arm_joints, self.contract.safety
            )
            self.counters.tracking_error_max = max(self.counters.tracking_error_max, error)
            self._fault = self._fault or reason

    def accept_chunk(self, chunk: Chunk, now: float) -> None:
        """Follow a chunk from the next tick on. Zero rows mean: stop and hold.

        Raises:
            ChunkError: the chunk was refused; the motion goes on as before,
                except after values that no working policy sends.
            KinematicsError: rows of an ee space before the kinematics are known.
        """
        time = self._inside(now)
        chunk = dataclasses.replace(chunk, stamp=self._inside(chunk.stamp))
        try:
            self._order.check(chunk)
            ready = self._sources.ready(chunk, time, self._arm, self._motion, self.kinematics)
            self._admit(ready, chunk, time)
        except ChunkError as error:
            self.counters.rejected_chunks += 1
            self._refused = str(error)
            if isinstance(error, ChunkValueError) and self._source == "policy":
                self._fault = self._fault or f"the policy sent {error}"
            raise
        fresh = self._order.note(chunk)
        if not len(chunk.rows):
            self._sources.timeline.clear()
            if not self._latched and self._state in ("running", "holding", "gated"):
                self._become("idle", "")
            return
        if self._state in ("disarmed", "stopped"):
            return
        if fresh:
            self._release()
        if self._latched:
            return
        switch = (self._ticks or 0) * self.period_s
        seam = self._sources.follow(chunk, ready, switch, self._here(), fade=not self._slow)
        self.counters.note_seam(seam)
        self._uncommanded = chunk.stamp
        self._refused = ""
        if self._state in ("idle", "gated", "holding"):
            self._become("running", "")

    def accept_teleop(self, command: np.ndarray, stamp: float) -> None:
        """Take in a human's command, float64 (A,) in the contract's order and units.

        In delta spaces it is a row that is due during one row's time from its
        stamp. On the route `direct` it only says that the human leads.

        Raises:
            CommandError: wrong shape or not finite.
            ChunkError: an ee_pose or ee_delta that the arm cannot reach.
            KinematicsError: an ee space before the kinematics are known.
        """
        self._sources.accept_teleop(
            command, self._inside(stamp), self._here(), self.kinematics, self._source == "human"
        )

    def deadman(self, pressed: bool, stamp: float) -> None:
        """Take in the deadman switch; counts only if the contract names its topic."""
        self._deadman.accept(pressed, self._inside(stamp))

    def set_kinematics(self, kinematics: ArmKinematics) -> None:
        """Make the arm's kinematics known; its limits count where they are tighter than the contract's."""
        self.kinematics = kinematics
        self.limits = Limits.of(self.contract).tightened(kinematics)
        workspace = self.contract.workspace
        box = Box(workspace, kinematics) if workspace is not None else None
        self._motion.limiter.constrain(self.limits, box)
        self._sources.timeline.limits = self.limits

    def arm(self) -> None:
        """Allow motion: leaves `disarmed`, and `holding` after a fault."""
        if self._state == "disarmed":
            self._become("idle", "")
        self._release()

    def hold(self) -> None:
        """Stop within the margin and hold until `arm`, `reset` or a new instruction."""
        if self._state not in ("disarmed", "stopped"):
            self._fail("hold requested")

    def stop(self) -> None:
        """Stop within the margin and stay stopped until `reset`. No safety function."""
        self._fail("stop requested")
        self._become("stopped", "stop requested")

    def reset(self) -> None:
        """Leave `stopped`, and `holding` after a fault."""
        if self._state == "stopped":
            self._become("idle", "")
        self._release()

    # Time

    def tick(self, now: float) -> Tick:
        """Advance to `now` [s] (several grid steps if ticks were missed)."""
        self._urgent = False
        steps = round(self._inside(now) / self.period_s) - (self._ticks or 0)
        if self._ticks is None:
            self._ticks, steps = steps - 1, 1
        if steps < 0 or steps * self.period_s > CLOCK_JUMP_S:
            self._clock_set(now, forward=steps > 0)
            steps = 1
        self.counters.missed_ticks += max(steps - 1, 0)
        for _ in range(steps):
            self._ticks += 1
            self._step(self._ticks)
        return Tick(now, self._state, self._reason, self._source, self._command, self._urgent)

    def trajectory(self, now: float) -> Trajectory | None:
        """What to send: everything due after `now` [s], then a full stop; None when nothing moves."""
        if self._ticks is None or self._yields:
            return None
        tick = int(np.floor(self._inside(now) / self.period_s + 1e-4))
        points = self._motion.points(tick)
        if points is None:
            return None
        ticks, states = points
        return Trajectory(
            joints=self.contract.arm_joints,
            times=self._base + ticks * self.period_s,
            positions=states[:, 0],
            velocities=states[:, 1],
            accelerations=states[:, 2],
            start_ns=round(self._base * 1e9) + tick * self._period_ns,
            offsets=(ticks - tick) * self._period_ns * 1e-9,
        )

    def due(self, now: float) -> Due | None:
        """What should be happening at `now` [s]; None while nothing was sent, or somebody else leads."""
        if self._ticks is None or self._yields:
            return None
        return self._motion.due(self._inside(now))

    def commanded_at(self, time: float) -> np.ndarray | None:
        """Joint positions (J,) that were (or will be) due at `time` [s], in the last two seconds."""
        due = self._motion.due(self._inside(time))
        return None if due is None else due.position

    def measured_at(self, time: float) -> np.ndarray | None:
        """Joint positions (J,) measured at `time` [s], in the last two seconds."""
        return self._arm.at(self._inside(time))

    @property
    def gripper_position(self) -> float | None:
        """Position of the gripper joint due at the last tick or `trajectory` call; None before any."""
        return self._motion.gripper

    @property
    def state(self) -> str:
        """State as in the class description."""
        return self._state

    @property
    def newest_chunk(self) -> tuple[str, int, int]:
        """Session, instruction and sequence of the newest accepted chunk."""
        return self._order.session, self._order.instruction, self._order.sequence

    def _step(self, tick: int) -> None:
        time = tick * self.period_s
        motion = self._motion
        motion.advance(tick)
        self._watch(time)
        if self._cut:
            motion.cut(tick)
            self._cut, self._urgent = False, True
        self._choose(time)
        if self._source == "none":
            motion.brake(tick)
            self._command = self._held()
            return
        self._command = self._sources.command(self._source, time)
        self._commanded_gripper = float(self._command[self._sources.gripper_column])
        if self._yields:
            self._forget()
            return
        if self._source == "policy" and self._uncommanded is not None:
            self.counters.note_latency(time - self._uncommanded)
            self._uncommanded = None
        reference = self._sources.reference(self._source)
        gripper = self._gripper.position(self._commanded_gripper, time)
        measured = self._arm.position
        if not motion.holds(measured):
            self._forget()
        step = motion.follow(tick, reference, gripper, measured, RAMP_SPEED if self._slow else 1.0)
        if step is not None:
            self.counters.note_limits(step)
            near = np.abs(step.state[0] - reference.at(time)[0]).max() <= RAMPED_RAD
            self._slow = self._slow and not near

    def _watch(self, time: float) -> None:
        """Turn a fault into a stop that is cut short."""
        active = (self._source != "none" and not self._yields) or self._motion.moving
        if active and not self._fault and self._state != "stopped":
            safety = self.contract.safety
            self._fault = watchdogs.joint_states_too_old(
                self._arm.stamp, time, safety
            ) or self._deadman.released(time)
        if self._fault and active and self._state not in ("stopped", "holding"):
            self._fail(self._fault)
        self._fault = ""

    def _choose(self, time: float) -> None:
        """Decide who leads at `time`, and note why nobody does."""
        sources, timeline = self._sources, self._sources.timeline
        human = sources.human_leads(time)
        if not human:
            sources.human_admitted = False
            sources.human_blocked = False
        before, self._source = self._source, "none"
        if self._state in ("disarmed", "stopped"):
            return
        if not human and timeline.chunk is None:
            if before == "human" and not self._latched:
                self._become("idle", "")
            return
        refused = self._not_ready(time)
        if refused and not (human and self._yields_to_human):
            timeline.clear()
            self._become("holding", refused)
        elif human and not sources.human_blocked:
            timeline.clear()
            self._let_human_lead(time)
        elif timeline.chunk is None:
            return
        elif timeline.starved(time):
            self.counters.starved_ticks += 1
            because = f"; the newest was refused: {self._refused}" if self._refused else ""
            self._become("holding", f"no action chunk for {time - timeline.chunk.end:.2f} s{because}")
        else:
            self._source = "policy"
            self._become("running", "")

    def _not_ready(self, time: float) -> str:
        return (
            watchdogs.joint_states_too_old(self._arm.stamp, time, self.contract.safety)
            or self._deadman.released(time)
            or watchdogs.kinematics_missing(self.contract, self.kinematics is not None)
        )

    def _let_human_lead(self, time: float) -> None:
        sources = self._sources
        if not sources.human_admitted and not self._yields_to_human:
            refused = watchdogs.too_far(
                sources.teleop.at(time)[0],
                self._here()[0],
                self.contract.arm_joints,
                self.contract.safety,
                "the human's command",
            )
            if refused and self.contract.safety.first_target == "refuse":
                self._become("gated", refused)
                return
            self._slow = bool(refused)
        sources.human_admitted = True
        self._source = "human"
        self._become("running", "")

    def _admit(self, ready: Chunk, chunk: Chunk, time: float) -> None:
        """The gate for the first target of a motion: refuse it, or approach it slowly."""
        if not len(chunk.rows) or self._state not in ("idle", "gated", "holding"):
            return
        if self._arm.position is None:
            raise ChunkError("no joint states yet, so the first target cannot be checked")
        missing = watchdogs.kinematics_missing(self.contract, self.kinematics is not None)
        if missing:
            raise ChunkError(missing)
        refused = watchdogs.too_far(
            self._sources.first_target(ready, time),
            self._here()[0],
            self.contract.arm_joints,
            self.contract.safety,
            "first target",
        )
        if refused and self.contract.safety.first_target == "refuse":
            if not self._latched:
                self._become("gated", refused)
            raise ChunkError(refused)
        self._slow = bool(refused)

    # State

    @property
    def _yields_to_human(self) -> bool:
        return self.contract.teleop.route == "direct"

    @property
    def _yields(self) -> bool:
        """Whether a human moves the arm past this controller."""
        return self._yields_to_human and self._source == "human"

    def _here(self) -> np.ndarray | None:
        """State (3, J) that the next motion begins from; None before the first joint state."""
        measured = self._arm.position
        if measured is None:
            return None
        if self._motion.holds(measured):
            return self._motion.limiter.state
        return np.stack([measured, np.zeros_like(measured), np.zeros_like(measured)])

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
        return resting_row(self.contract, self._here()[0], value, self.kinematics)

    def _forget(self) -> None:
        """Drop what was sent so far; the next motion begins where the arm is."""
        self._motion.forget()
        if not self._yields:
            self._commanded_gripper = None
        self._gripper = GripperSwitch(self.contract.gripper)

    def _fail(self, reason: str) -> None:
        """Stop, cut short, and wait for an explicit call."""
        self._sources.timeline.clear()
        self._sources.human_blocked = True
        self._latched, self._cut, self._slow = True, True, False
        self._become("holding", reason)

    def _release(self) -> None:
        """Leave a hold after a fault."""
        self._sources.human_blocked = False
        if self._latched:
            self._latched = False
            if self._state == "holding":
                self._become("idle", "")

    def _clock_set(self, now: float, forward: bool) -> None:
        """After a jump of the clock nothing that was timed is valid any more.

        Set back, the motion goes on in the new time and is stopped there. Set
        forward, whoever follows it is at its end already.
        """
        gap = now - (self._base + self._ticks * self.period_s)
        self._base = now - (self._ticks + 1) * self.period_s
        self._sources.clear()
        self._order.forget_time()
        self._arm.expire()
        self._deadman.accept(False, 0.0)
        self._uncommanded = None
        if forward:
            self._forget()
        if self._state not in ("disarmed", "stopped"):
            self._fail(f"the clock jumped by {gap:.2f} s")

    def _inside(self, time: float) -> float:
        """Time since tick 0 [s]: small numbers, so that nothing is lost by rounding."""
        if self._base is None:
            if not np.isfinite(time):
                return time
            self._base = time
        return time - self._base

    def _become(self, state: str, reason: str) -> None:
        self._state, self._reason = state, reason
