"""Which instruction is alive, and which chunks still belong to it.

An instruction is a number within a session of a policy. It begins with its first chunk that is followed,
and ends once: by a stop, a fault, an empty chunk, or a newer instruction. What has ended never moves the
arm again, whoever repeats it: a policy that has not heard of the end, a second policy, or a session that
is dead but whose last chunk comes late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.errors import ChunkError

_MOST_SESSIONS = 64  # remembered


class EndedBy(Choice):
    """What ended an instruction."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    HOLD = "hold"
    STOP = "stop"
    FAULT = "fault"
    SILENCE = "silence"
    HUMAN = "human"
    REPLACED = "replaced"
    REFUSED = "refused"
    INACTIVE = "inactive"


@dataclass(frozen=True)
class Ending:
    """What ended an instruction, and why, in a sentence."""

    by: EndedBy
    why: str


INACTIVE = Ending(EndedBy.INACTIVE, "the controller was inactive")


class Instructions:
    """The instructions that were heard of."""

    def __init__(self) -> None:
        self.session = ""
        """Session of the newest instruction that was heard of."""
        self.number = -1
        """Its number."""
        self.sequence = -1
        """Number of its newest chunk."""
        self.checkpoint = ""
        """Checkpoint behind that chunk; empty: unknown."""
        self._stamp = -np.inf
        self._alive = False
        self._newest: dict[str, int] = {}  # by session
        self._ended_at = -np.inf
        self.refused = ""
        """Why the newest chunk was refused; empty: it was not."""
        self.ending = INACTIVE
        """What ended the newest instruction that has ended."""

    @property
    def alive(self) -> bool:
        """Whether chunks of the newest instruction may still move the arm."""
        return self._alive

    @property
    def ended_number(self) -> int:
        """Newest instruction of the session that has ended; -1: none."""
        return self.number if not self._alive else self.number - 1

    def is_new(self, chunk: Chunk) -> bool:
        """Whether `chunk` is the first that is heard of its instruction."""
        return chunk.instruction_id > self._newest.get(chunk.session_id, -1)

    def check(self, chunk: Chunk) -> None:
        """Refuse what must not move the arm.

        Raises:
            ChunkError: of an instruction that has ended, was replaced or was given before the last stop; or
                of the one that is alive, but not after its newest chunk.
        """
        if self.is_new(chunk):
            given = chunk.instructed_at
            if given is not None and given <= self._ended_at:
                if not self._alive:
                    self.refuse(chunk, self.ending)  # so that its policy hears that it has ended
                raise ChunkError(
                    f"its instruction was given {self._ended_at - given:.2f} s too early: {self.ending.why}"
                )
            return
        if chunk.session_id != self.session:
            raise ChunkError(f"of session {chunk.session_id}, which session {self.session} has replaced")
        if chunk.instruction_id < self.number:
            raise ChunkError(f"of instruction {chunk.instruction_id}, the newest is {self.number}")
        if not self._alive and len(chunk.rows):
            raise ChunkError(f"of instruction {self.number}, which has ended: {self.ending.why}")
        if chunk.sequence <= self.sequence:
            raise ChunkError(f"number {chunk.sequence} is not after {self.sequence}")
        if (decided := chunk.stamp - chunk.delay_s) < self._stamp:
            raise ChunkError(f"stamped {self._stamp - decided:.3f} s before the newest")

    def note(self, chunk: Chunk) -> None:
        """Make `chunk` the newest; its instruction lives if it has rows."""
        new = self.is_new(chunk)
        if self._alive and new:
            self.ending = Ending(EndedBy.REPLACED, "a new instruction has replaced it")
        self._alive = len(chunk.rows) > 0 and (self._alive or new)
        self._remember(chunk)

    def refuse(self, chunk: Chunk, ending: Ending) -> None:
        """End an instruction that was refused when it was first heard of; it needs to be given anew."""
        if self.is_new(chunk):
            self._remember(chunk)
            self._alive, self.ending = False, ending

    def end(self, ending: Ending, now: float = -np.inf) -> None:
        """End what is alive, and whatever was instructed until `now` [s] but was not heard of yet."""
        self._ended_at = max(self._ended_at, now)
        self._alive, self.ending = False, ending

    def forget_time(self) -> None:
        """Accept any stamp next, as after a jump of the clock."""
        self._stamp, self._ended_at = -np.inf, -np.inf

    def _remember(self, chunk: Chunk) -> None:
        self.session, self.number = chunk.session_id, chunk.instruction_id
        self.sequence, self._stamp = chunk.sequence, chunk.stamp - chunk.delay_s
        self.checkpoint = chunk.checkpoint
        self._newest.pop(self.session, None)
        self._newest[self.session] = self.number
        while len(self._newest) > _MOST_SESSIONS:
            del self._newest[next(iter(self._newest))]
