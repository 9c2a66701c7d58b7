"""A `MotionCore` that remembers every call of the last seconds, and what came of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vla_adapter_ros.capsule.ring import SegmentRing
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import Chunk, MotionCore, Tick, Trajectory
from vla_adapter_ros.control.core_state import CoreState, freeze
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.timeline import SmoothRows
from vla_adapter_ros.errors import ChunkError, VlaAdapterError

KEPT_S = 20.0
"""What happened in the last so many seconds is in a capsule, at least."""
SEGMENT_S = 5.0
MOST_BYTES = 64 << 20
_CALL_BYTES, _POSITION_BYTES = 500, 120  # a call, and a joint position by name


class Refusal(NamedTuple):
    """The error that a call raised: its class and its sentence."""

    kind: str
    text: str


class Call(NamedTuple):
    """A call of the core: its name, what it was given, and what came of it."""

    name: str
    arguments: tuple[Any, ...]
    outcome: Any = None


class Snapshot(NamedTuple):
    """What a core knew at one time: its state, and its kinematics."""

    state: CoreState
    kinematics: ArmKinematics | None


def _recorded(method: Callable[..., Any]) -> Any:
    """The method of the core, which is remembered with each call; arguments are positional."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: RecordedCore, *arguments: Any) -> Any:
        try:
            outcome = method(self, *arguments)
        except VlaAdapterError as error:
            self._remember(Call(name, arguments, Refusal(type(error).__name__, str(error))))
            raise
        self._remember(Call(name, arguments, outcome))
        return outcome

    return call


class RecordedCore(MotionCore):
    """As `MotionCore`; `recorded` gives what it was told and what it answered, to be replayed.

    Whoever calls it holds a lock, as with `MotionCore`. Once in `SEGMENT_S` a tick takes a snapshot of the
    state as well.

    Args:
        contract, period_s, armed, splice, speed: As for `MotionCore`.
    """

    def __init__(
        self,
        contract: Contract,
        period_s: float = 0.01,
        armed: bool = True,
        *,
        splice: str = "replace",
        speed: float = 1.0,
    ) -> None:
        super().__init__(contract, period_s, armed, splice=splice, speed=speed)
        self._ring: SegmentRing[Snapshot, Call] = SegmentRing(KEPT_S, SEGMENT_S, MOST_BYTES)
        self._start: np.ndarray | None = None  # of the newest chunk

    def recorded(self) -> tuple[Snapshot, list[Call]] | None:
        """The state before the oldest call that is remembered, and the calls; None before the first tick."""
        return self._ring.contents()

    measure = _recorded(MotionCore.measure)
    miss_chunk = _recorded(MotionCore.miss_chunk)
    end_instruction = _recorded(MotionCore.end_instruction)
    accept_teleop = _recorded(MotionCore.accept_teleop)
    clutch = _recorded(MotionCore.clutch)
    deadman = _recorded(MotionCore.deadman)
    hear_operator = _recorded(MotionCore.hear_operator)
    foreign = _recorded(MotionCore.foreign)
    set_kinematics = _recorded(MotionCore.set_kinematics)
    arm = _recorded(MotionCore.arm)
    hold = _recorded(MotionCore.hold)
    stop = _recorded(MotionCore.stop)
    reset = _recorded(MotionCore.reset)
    home = _recorded(MotionCore.home)
    set_speed = _recorded(MotionCore.set_speed)
    activate = _recorded(MotionCore.activate)
    trajectory = _recorded(MotionCore.trajectory)
    still_timely = _recorded(MotionCore.still_timely)
    setpoint = _recorded(MotionCore.setpoint)
    _chunk_start = _recorded(MotionCore.chunk_start)
    _tick = _recorded(MotionCore.tick)

    def chunk_start(self, chunk: Chunk, now: float) -> np.ndarray | None:
        """See `MotionCore.chunk_start`."""
        self._start = None
        self._start = self._chunk_start(chunk, now)
        return self._start

    def follow_chunk(self, chunk: Chunk, smooth: SmoothRows | None, now: float) -> None:
        """See `MotionCore.follow_chunk`. Where the chunk began is remembered instead of its smooth rows."""
        arguments = chunk, self._start, now
        try:
            super().follow_chunk(chunk, smooth, now)
        except VlaAdapterError as error:
            self._remember(Call("follow_chunk", arguments, Refusal(type(error).__name__, str(error))))
            raise
        self._remember(Call("follow_chunk", arguments))

    def refuse_chunk(self, error: ChunkError) -> None:
        """See `MotionCore.refuse_chunk`."""
        super().refuse_chunk(error)
        self._remember(Call("refuse_chunk", (Refusal(type(error).__name__, str(error)),)))

    def tick(self, now: float) -> Tick:
        """See `MotionCore.tick`."""
        if self._ring.due(now):
            self._ring.begin(Snapshot(freeze(self), self.kinematics), now)
        tick: Tick = self._tick(now)
        return tick

    def _remember(self, call: Call) -> None:
        size, arguments, outcome = _CALL_BYTES, call.arguments, call.outcome
        if call.name == "measure":
            size += _POSITION_BYTES * len(arguments[0])
        elif isinstance(outcome, Trajectory):
            size += 3 * outcome.positions.nbytes
        elif arguments and isinstance(arguments[0], Chunk):
            size += arguments[0].rows.nbytes
        self._ring.add(call, size)
