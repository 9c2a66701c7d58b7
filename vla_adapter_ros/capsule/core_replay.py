"""Feeds what a controller's core was told to the same core again, and says where the outcome differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.capsule.recorded_core import Call, Refusal, Snapshot
from vla_adapter_ros.capsule.values import difference
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.core_state import restore
from vla_adapter_ros.control.watchdogs import untracked
from vla_adapter_ros.errors import CapsuleError, ChunkError, ChunkValueError, VlaAdapterError
from vla_adapter_ros.untrusted import short

_REFUSALS = {error.__name__: error for error in (ChunkError, ChunkValueError)}
_PLAIN = (
    "measure", "miss_chunk", "end_instruction", "accept_teleop", "clutch", "deadman", "hear_operator",
    "foreign",
    "set_kinematics", "arm", "hold", "stop", "reset", "home", "set_speed", "activate", "tick", "trajectory",
    "still_timely", "setpoint", "chunk_start",
)  # fmt: skip


@dataclass(frozen=True)
class CoreSettings:
    """What a core is made with, besides its contract.

    Attributes:
        period_s, splice: See `MotionCore`.
        tracked: Whether an arm carries out the motion: see `untracked`.
    """

    period_s: float
    splice: str
    tracked: bool = True


@dataclass(frozen=True)
class ReplayResult:
    """How far a replay was the same.

    Attributes:
        ticks: That the capsule has.
        identical: That came out the same, before the first difference.
        at: Time of the first tick that differs [s]; None: none does.
        text: What differs first, with both values; empty: nothing does.
    """

    ticks: int
    identical: int
    at: float | None = None
    text: str = ""

    def __str__(self) -> str:
        same = f"identical: {self.identical} of {self.ticks} ticks"
        return same if not self.text else f"{same}. At {self.at:.3f} s {self.text}"


def replay_core(
    contract: Contract, settings: CoreSettings, snapshot: Snapshot, calls: Iterable[Call]
) -> ReplayResult:
    """Begin with a snapshot, repeat the calls, and compare each outcome to the last bit.

    Args:
        contract: As the controller's core had it.
        settings: See `CoreSettings`.
        snapshot: The core's state before the first call.
        calls: In their order.

    Raises:
        CapsuleError: state or calls do not fit this version of the core.
    """
    try:
        core = MotionCore(
            contract if settings.tracked else untracked(contract), settings.period_s, splice=settings.splice
        )
        if snapshot.kinematics is not None:
            core.set_kinematics(snapshot.kinematics)
        restore(core, snapshot.state)
        return _repeat(core, calls)
    except VlaAdapterError as error:
        raise CapsuleError(f"replay: {error}") from None
    except Exception as error:  # a stranger's file can bring the core into any state
        raise CapsuleError(
            f"replay: state and calls do not fit this version of the controller: "
            f"{type(error).__name__}: {short(str(error), 200)}"
        ) from None


def _repeat(core: MotionCore, calls: Iterable[Call]) -> ReplayResult:
    ticks = identical = 0
    now, text, at = 0.0, "", None
    for call in calls:
        if call.name == "tick":
            now, ticks = float(call.arguments[0]), ticks + 1
        if text:
            continue  # what follows from the first difference says nothing more
        text = _differs(core, call)
        if text:
            at = now
        identical += call.name == "tick" and not text
    return ReplayResult(ticks, identical, at, text)


def _differs(core: MotionCore, call: Call) -> str:
    """Repeat a call; says where its outcome differs, or nothing."""
    outcome: Any
    try:
        outcome = _CALLS[call.name](core, *call.arguments)
    except KeyError:
        raise CapsuleError(f"call {short(call.name, 60)}: allowed is one of {sorted(_CALLS)}") from None
    except VlaAdapterError as error:
        outcome = Refusal(type(error).__name__, str(error))
    return difference(call.outcome, outcome, call.name)


def _follow_chunk(core: MotionCore, chunk: Any, start: Any, now: float) -> None:
    core.follow_chunk(chunk, core.chunk_rows(chunk, start, core.kinematics), now)


def _refuse_chunk(core: MotionCore, error: Any) -> None:
    core.refuse_chunk(_REFUSALS[error.kind](error.text))


_CALLS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(MotionCore, name) for name in _PLAIN},
    "follow_chunk": _follow_chunk,
    "refuse_chunk": _refuse_chunk,
}
