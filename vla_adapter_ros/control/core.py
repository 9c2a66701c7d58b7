"""The controller without ROS: chunks and teleoperation in, limited timed motion out.

`MotionCore` advances on a fixed grid of ticks: it chooses who leads (human,
policy or nobody), takes the reference from there, and lets `CommittedMotion`
follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.chunk import Chunk, check_chunk
from vla_adapter_ros.control.gripper import GripperSwitch
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.motion import CommittedMotion, Trajectory
from vla_adapter_ros.control.statistics import Counters
from vla_adapter_ros.control.teleop import TeleopStream
from vla_adapter_ros.control.timeline import ChunkTimeline
from vla_adapter_ros.errors import ChunkError, CommandError

CLOCK_JUMP_S = 0.5  # a larger gap between two ticks means that the clock was set


@dataclass(frozen=True)
class Tick:
    """What one tick decided.

    `reference` is the action before limiting, float64 (A,): at rest the one
    that is held; None before the first joint state.
    """

    time: float
    state: str
    reason: str
    source: str
    reference: np.ndarray | None


class MotionCore:
    """State machine and limited motion of one arm.

    States: disarmed, idle (nothing to do), gated (first target too far away),
    running, holding (stopped softly, reason given), stopped (latched).

    Args:
        contract: The robot's contract.
        period_s: Length of a tick [s].
        armed: Whether motion is allowed from the start.
    """

    def __init__(self, contract: Contract, period_s: float = 0.01, armed: bool = True) -> None:
        self.contract = contract
        self.period_s = period_s
        self.counters = Counters()
        self._motion = CommittedMotion(
            contract.arm_joints, Limits.of(contract), period_s, contract.command.lead_s
        )
        self._arm = [contract.action_names.index(joint) for joint in contract.arm_joints]
        self._grip = contract.action_names.index(contract.gripper.dimension)
        self._gripper = GripperSwitch(contract.gripper)
        self._timeline = ChunkTimeline()
        self._state = "idle" if armed else "disarmed"
        self._reason = "" if armed else "not armed yet"
        self._source = "none"
        self._time: float | None = None
        self._measured: np.ndarray | None = None
        self._measured_at = -np.inf
        self._measured_gripper = contract.gripper.open_position
        self._reference: np.ndarray | None = None
        self._teleop = TeleopStream(contract.action_names, contract.teleop.timeout_s)
        self._newest = ("", -1, -1)  # session, instruction, sequence of the newest chunk
        self._uncommanded: float | None = None  # stamp of a chunk that has led to no command yet

    # Inputs

    def measure(self, positions: dict[str, float], stamp: float) -> None:
        """Take in measured joint positions by name [rad]; other joints are ignored.

        Raises:
            CommandError: an arm joint is missing or not finite.
        """
        missing = [joint for joint in self.contract.arm_joints if joint not in positions]
        if missing:
            raise CommandError(f"joint state lacks {missing}; it has {sorted(positions)}")
        values = np.array([positions[joint] for joint in self.contract.arm_joints], dtype=np.float64)
        if not np.isfinite(values).all():
            raise CommandError(f"joint state is not finite: {values.tolist()}")
        self._measured, self._measured_at = values, stamp
        self._measured_gripper = positions.get(self.contract.gripper.joint, self._measured_gripper)

    def accept_chunk(self, chunk: Chunk, now: float) -> None:
        """Follow a chunk from the next tick on. Zero rows mean: stop and hold.

        Raises:
            ChunkError: the chunk was refused; the motion goes on as before.
        """
        try:
            self._check_order(chunk)
            check_chunk(chunk, self.contract, now)
            if len(chunk.rows):
                self._gate(chunk)
        except ChunkError:
            self.counters.rejected_chunks += 1
            raise
        self._newest = (chunk.session_id, chunk.instruction_id, chunk.sequence)
        if not len(chunk.rows):
            self._timeline.clear()
            if self._state in ("running", "holding", "gated"):
                self._become("idle", "")
            return
        if self._state in ("disarmed", "stopped"):
            return
        position, velocity = self._reference_now(chunk, now)
        self.counters.seam_step = self._timeline.take_over(chunk, now, position, velocity)
        self._uncommanded = chunk.stamp
        if self._state in ("idle", "gated", "holding"):
            self._become("running", "")

    def accept_teleop(self, command: np.ndarray, stamp: float) -> None:
        """Take in a teleoperation command, float64 (A,) in the contract's order and units.

        Raises:
            CommandError: wrong shape or not finite.
        """
        self._teleop.accept(command, stamp)

    def arm(self) -> None:
        """Allow motion; leaves `disarmed` only."""
        if self._state == "disarmed":
            self._become("idle", "")

    def hold(self) -> None:
        """Stop softly and drop the chunk; the next accepted chunk moves again."""
        self._timeline.clear()
        if self._state in ("running", "gated", "idle"):
            self._become("holding", "hold requested")

    def stop(self) -> None:
        """Stop at the acceleration limit and stay stopped until `reset`. No safety function."""
        self._timeline.clear()
        self._become("stopped", "stop requested")

    def reset(self) -> None:
        """Leave `stopped`."""
        if self._state == "stopped":
            self._become("idle", "")

    # Time

    def tick(self, now: float) -> Tick:
        """Advance to `now` (several grid steps if ticks were missed)."""
        if self._time is None:
            self._time = now - self.period_s
        steps = round((now - self._time) / self.period_s)
        if steps < 0 or steps * self.period_s > CLOCK_JUMP_S:
            self._clock_jumped(now)
            steps = 0
        self.counters.missed_ticks += max(steps - 1, 0)
        for _ in range(steps):
            self._time += self.period_s
            self._step(self._time)
        return Tick(now, self._state, self._reason, self._source, self._reference)

    def trajectory(self, now: float) -> Trajectory | None:
        """What to send: see `CommittedMotion.trajectory`."""
        return self._motion.trajectory(now)

    @property
    def gripper_position(self) -> float | None:
        """Position of the gripper joint that was due at the last `trajectory` call; None before any."""
        return self._motion.gripper

    @property
    def state(self) -> str:
        """State of the state machine."""
        return self._state

    @property
    def newest_chunk(self) -> tuple[str, int, int]:
        """Session, instruction and sequence of the newest accepted chunk."""
        return self._newest

    # Inside

    def _step(self, now: float) -> None:
        """One tick: choose the source, take its reference, move towards it within the limits."""
        self._choose(now)
        if self._source == "none":
            self._motion.brake(now)
            self._reference = self._held()
            return
        if self._source == "human":
            reference, velocity = self._teleop.command.copy(), self._teleop.velocity
        else:
            reference, velocity = self._timeline.sample(now)
            reference[self._grip] = self._timeline.row(now)[self._grip]
            self._note_latency(now)
        gripper = self._gripper.position(reference[self._grip])
        step = self._motion.follow(now, reference[self._arm], velocity[self._arm], gripper, self._measured)
        self.counters.note_limits(step)
        self._reference = reference

    def _choose(self, now: float) -> None:
        """Decide who leads at `now`, and note why nobody does."""
        if self._state in ("disarmed", "stopped"):
            self._source = "none"
            return
        if now - self._measured_at > self.contract.safety.joint_state_timeout_s:
            self._source = "none"
            if self._state == "running" or self._timeline.chunk is not None or self._teleop.leads(now):
                silence = now - self._measured_at
                text = f"{silence:.2f} s old" if np.isfinite(silence) else "missing"
                self._timeline.clear()
                self._become("holding", f"joint states are {text}")
            return
        if self._teleop.leads(now):
            if self._source != "human":
                self._timeline.clear()
            self._source = "human"
            self._become("running", "")
        elif self._timeline.chunk is None:
            if self._source == "human":
                self._become("idle", "")
            self._source = "none"
        elif self._timeline.starved(now):
            self.counters.starved_ticks += 1
            self._source = "none"
            self._become("holding", f"no action chunk for {now - self._timeline.chunk.end:.2f} s")
        else:
            if self._source == "human":
                chunk = self._timeline.chunk
                self._timeline.take_over(chunk, now, *self._reference_now(chunk, now))
            self._source = "policy"
            self._become("running", "")

    def _check_order(self, chunk: Chunk) -> None:
        session, instruction, sequence = self._newest
        if chunk.session_id != session:
            return
        if chunk.instruction_id < instruction:
            raise ChunkError(f"of instruction {chunk.instruction_id}, the newest is {instruction}")
        if chunk.instruction_id == instruction and chunk.sequence <= sequence:
            raise ChunkError(f"number {chunk.sequence} is not after {sequence}")

    def _gate(self, chunk: Chunk) -> None:
        """Refuse the first target of a motion when it is too far from the arm."""
        if self._state not in ("idle", "gated", "holding"):
            return
        if self._measured is None:
            raise ChunkError("no joint states yet, so the first target cannot be checked")
        here = self._motion.position if self._motion.moving else self._measured
        distance = np.abs(chunk.rows[0][self._arm] - here)
        allowed = self.contract.safety.first_target_max_distance
        if distance.max() > allowed:
            joint = self.contract.arm_joints[int(distance.argmax())]
            reason = f"first target is {distance.max():.2f} rad from {joint}, allowed are {allowed}"
            self._become("gated", reason)
            raise ChunkError(reason)

    def _reference_now(self, chunk: Chunk, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Reference position and velocity that a new chunk takes over from, (A,) each."""
        if self._source == "policy" and self._timeline.chunk is not None:
            return self._timeline.sample(now)
        position = chunk.rows[0].copy()
        position[self._arm] = self._motion.position if self._motion.moving else self._measured
        velocity = np.zeros_like(position)
        velocity[self._arm] = self._motion.velocity
        return position, velocity

    def _held(self) -> np.ndarray | None:
        """The action that keeps the arm where it is sent, or where it is while nothing was sent."""
        if self._measured is None:
            return None
        if not self._motion.holds(self._measured):
            self._forget()  # nothing was sent, or somebody else has moved the arm since
        gripper = self.contract.gripper
        held = np.empty(len(self.contract.action_names))
        held[self._arm] = self._measured if self._motion.position is None else self._motion.position
        if self._reference is not None:
            held[self._grip] = self._reference[self._grip]
        else:
            middle = (gripper.open_position + gripper.closed_position) / 2
            opened = (self._measured_gripper > middle) == (gripper.open_position > gripper.closed_position)
            held[self._grip] = gripper.open if opened else gripper.closed
        return held

    def _forget(self) -> None:
        """Drop what was sent so far; the next motion begins where the arm is."""
        self._motion.forget()
        self._reference = None
        self._gripper = GripperSwitch(self.contract.gripper)

    def _clock_jumped(self, now: float) -> None:
        """After a jump of the clock nothing that was timed is valid any more."""
        gap = now - self._time
        self._time = now
        self._timeline.clear()
        self._teleop.clear()
        self._measured_at = -np.inf
        self._forget()
        self._source = "none"
        if self._state not in ("disarmed", "stopped"):
            self._become("holding", f"the clock jumped by {gap:.2f} s")

    def _note_latency(self, now: float) -> None:
        if self._uncommanded is not None:
            self.counters.note_latency(now - self._uncommanded)
            self._uncommanded = None

    def _become(self, state: str, reason: str) -> None:
        self._state, self._reason = state, reason
