"""Takes in the policy's chunks: which are followed, and when they begin. All times are inside times [s]."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.arbiter import Arbiter
from vla_adapter_ros.control.arm_state import ArmState
from vla_adapter_ros.control.chunk import Chunk, check_chunk
from vla_adapter_ros.control.clock import TickClock
from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.control.motion import CommittedMotion
from vla_adapter_ros.control.sources import Sources
from vla_adapter_ros.control.statistics import Counters
from vla_adapter_ros.control.supervisor import ENDED, GATED, MOVING, POLICY, RUNNING, STOPPED, Event
from vla_adapter_ros.control.timeline import SmoothRows
from vla_adapter_ros.errors import ChunkError, ChunkValueError

_DUE_S = 1e-6


class ChunkIntake:
    """Checks chunks against the instruction and the state, and lets them lead. It has no state of its own.

    Args:
        contract: The robot's contract.
        clock, arm, motion, sources: What it looks at; the sources follow.
        arbiter: Is told what happens.
        counters: Counts refused chunks and transitions.
    """

    def __init__(
        self,
        contract: Contract,
        clock: TickClock,
        arm: ArmState,
        motion: CommittedMotion,
        sources: Sources,
        arbiter: Arbiter,
        counters: Counters,
    ) -> None:
        self._contract, self._clock, self._arm = contract, clock, arm
        self._motion, self._sources, self._counters = motion, sources, counters
        self._arbiter, self._instructions = arbiter, arbiter.instructions
        self._supervisor = arbiter.supervisor

    @property
    def known_chunk(self) -> tuple[str, int]:
        """Session and sequence of the newest chunk that is followed, or waits."""
        if self._sources.waiting:
            newest, _ = self._sources.waiting[-1]
            return newest.session_id, newest.sequence
        return self._instructions.session, self._instructions.sequence

    @property
    def most_delay_s(self) -> float:
        """How late that chunk's policy may be [s]; 0 where none is followed and none waits."""
        if self._sources.waiting:
            return self._sources.waiting[-1][0].most_delay_s
        chunk = self._sources.timeline.chunk
        return chunk.most_delay_s if chunk is not None and self._instructions.alive else 0.0

    def start(self, chunk: Chunk, now: float) -> np.ndarray | None:
        """First step of following a chunk, which is quick: refuse what must not be followed.

        Returns:
            Where it begins, float64 (J,); None for one without rows.

        Raises:
            ChunkError: see `check_chunk` and `Instructions.check`; the state does not permit motion, or the
                policy is too unsure.
        """
        self._instructions.check(chunk)
        check_chunk(chunk, self._contract, now, self._sources.path_time.between(chunk.stamp, now))
        if not len(chunk.rows):
            return None
        self._refuse_new(chunk)
        self._refuse_unsure(chunk)
        return self._sources.start_of(chunk, self._arm, self._motion)

    def follow(self, chunk: Chunk, smooth: SmoothRows | None, now: float) -> None:
        """Last step: follow the chunk, unless something has happened meanwhile; one that begins later waits.

        Raises:
            ChunkError: as `start`; or the first target is too far from the arm.
        """
        self._instructions.check(chunk)
        if smooth is None:
            self._end_by_chunk(chunk)
            return
        self._refuse_new(chunk)
        if chunk.delay_s > 0.0 and chunk.stamp > now + _DUE_S:
            before = (w for w in self._sources.waiting if w[0].stamp < chunk.stamp - _DUE_S)
            self._sources.waiting = (*before, (chunk, smooth))
        else:
            self._sources.waiting = ()
            self._begin(chunk, smooth, now)

    def begin_later(self, time: float) -> None:
        """Follow the newest chunk that waits and begins until `time` [s], that of the next tick."""
        due = [waits for waits in self._sources.waiting if waits[0].stamp <= time + _DUE_S]
        if not due:
            return
        self._sources.waiting = self._sources.waiting[len(due) :]
        chunk, smooth = due[-1]
        try:
            self._instructions.check(chunk)
            self._refuse_new(chunk)
            self._begin(chunk, smooth, time)
        except ChunkError as error:
            self.refuse(error)

    def _begin(self, chunk: Chunk, smooth: SmoothRows, now: float) -> None:
        """Let a chunk begin.

        Raises:
            ChunkError: the first target is too far from the arm.
        """
        new = self._instructions.is_new(chunk)
        self._instructions.note(chunk)
        self._instructions.refused = ""
        if new:
            self._sources.takeover.pass_on()
        if self._supervisor.state != RUNNING:
            self._arbiter.admit(self._sources.first_target(smooth.chunk, now), "first target")
            if self._arbiter.do(Event.INSTRUCTION if new else Event.CHUNK).refused:
                return  # joint states are late: the next chunk goes on once they are back
        measured = self._arm.known_position
        begin = self._clock.time + self._motion.begins_after(measured)
        here = self._motion.from_here(measured)
        transition = self._sources.follow(chunk, smooth, begin, here, fade=not self._arbiter.slow)
        self._counters.count_transition(transition)
        self._arbiter.uncommanded = chunk.seen_at

    def refuse(self, error: ChunkError) -> None:
        """Note that a chunk was refused; values that no working policy sends stop its motion."""
        self._counters.rejected_chunks += 1
        self._instructions.refused = str(error)
        if isinstance(error, ChunkValueError) and self._arbiter.source == POLICY:
            self._arbiter.fault = self._arbiter.fault or f"the policy sent {error}"

    def miss(self, chunk: Chunk) -> None:
        """Take note of a chunk that came while nobody ticked: it ends its instruction."""
        try:
            self._instructions.check(chunk)
        except ChunkError:
            return
        why = "it was given while the controller was inactive"
        self._instructions.refuse(chunk, Ending(EndedBy.INACTIVE, why))

    # Inside

    def _refuse_new(self, chunk: Chunk) -> None:
        """Refuse the first chunk of an instruction while something stands against it; it is over then.

        Raises:
            ChunkError: what stands against it.
        """
        if self._instructions.is_new(chunk) and (refusal := self._supervisor.refusal):
            by = EndedBy.STOP if self._supervisor.state == STOPPED else EndedBy.REFUSED
            self._instructions.refuse(chunk, Ending(by, refusal))
            raise ChunkError(refusal)

    def _refuse_unsure(self, chunk: Chunk) -> None:
        """End the instruction of a policy that does not know what it does, if the contract asks for it.

        Raises:
            ChunkError: the policy is too unsure.
        """
        limit = self._contract.safety.uncertainty_max
        if not limit or chunk.uncertainty <= limit:
            return
        why = f"the policy is unsure: {chunk.uncertainty:.2f}, allowed is {limit:g} (safety.uncertainty_max)"
        if self._instructions.is_new(chunk):
            self._instructions.refuse(chunk, Ending(EndedBy.REFUSED, why))
        else:
            self._arbiter.do(Event.SILENCE, why)
        raise ChunkError(why)

    def _end_by_chunk(self, chunk: Chunk) -> None:
        """A chunk without rows came: stop softly. With a reason the policy has lost something."""
        live = self._instructions.alive
        self._instructions.note(chunk)
        if chunk.reason and live:
            self._arbiter.do(Event.SILENCE, chunk.reason, by_policy=True)
        elif live or self._supervisor.state in (*MOVING, GATED):
            self._arbiter.do(Event.END, chunk.reason or ENDED, by_policy=True)
