"""An action chunk as plain data, and the check whether it may be followed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace
from vla_adapter_ros.contract.schema import Gripper
from vla_adapter_ros.control.lateness import LONGEST_DELAY_S, SLOWEST_PACE
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.errors import ChunkError, ChunkValueError, VlaAdapterError

FUTURE_TOLERANCE_S = 0.1
ABSURD_BEYOND = 3.2  # rows this far beyond a joint's limit [rad or m] are refused; nearer ones are clamped
ABSURD_GRIPPER = (
    10.0  # gripper values this many times the stroke from closed to open beyond either are refused
)
HUGE = 1000.0  # no value of any action space, scaled or not, is larger than this
MOST_ROWS = 1000  # of a chunk, and its length [s]: what a controller works on between two ticks is bounded
LONGEST_S = 60.0


@dataclass(frozen=True)
class Chunk:
    """Set-points in time: row k is due at stamp + k / rate_hz.

    Attributes:
        stamp: Time of row 0 [s].
        rows: float64 (H, A), columns and units of the contract's action; H = 0 means stop and hold. In
            delta spaces row k is the displacement from its time to that of row k + 1.
        names: A column names.
        rate_hz: Rows per second: the contract's, or less where a policy that decides for later has its rows
            carried out slower.
        session_id, instruction_id, sequence: Who made it, for which instruction, as which number.
        space: Action space of the rows.
        input_stamp: Stamp t of the reference image behind the chunk [s]; None: `stamp`.
        instructed_at: When the instruction was given [s]; None: unknown.
        most_delay_s: How much later than its image a chunk of this policy may begin [s]; 0: never later, and
            nobody needs to know where the arm will be.
        uncertainty: How unsure the policy is, in its own measure; 0 where unknown.
        reason: Of a chunk without rows, why the instruction ended; else empty.
        checkpoint: Checkpoint that predicted the rows, name@fingerprint; empty: unknown.
    """

    stamp: float
    rows: np.ndarray
    names: tuple[str, ...]
    rate_hz: float
    session_id: str = ""
    instruction_id: int = 0
    sequence: int = 0
    space: ActionSpace = ActionSpace.JOINT_POSITION
    input_stamp: float | None = None
    instructed_at: float | None = None
    most_delay_s: float = 0.0
    uncertainty: float = 0.0
    reason: str = ""
    checkpoint: str = ""

    @property
    def seen_at(self) -> float:
        """Stamp of the reference image behind the chunk [s]; `stamp` where it is not known."""
        return self.stamp if self.input_stamp is None else self.input_stamp

    @property
    def delay_s(self) -> float:
        """How much later than its image the chunk begins [s]: it was decided for the state of that time."""
        return max(self.stamp - self.seen_at, 0.0)

    @property
    def end(self) -> float:
        """Time at which the last row is due [s]."""
        return self.stamp + max(len(self.rows) - 1, 0) / self.rate_hz


def check_chunk(chunk: Chunk, contract: Contract, now: float, passed_s: float) -> None:
    """Refuse a chunk that does not fit the robot or the moment.

    Args:
        chunk: As it came.
        contract: The robot's contract.
        now: The moment [s].
        passed_s: Path time from its stamp to now [s]: see `PathTime`.

    Raises:
        ChunkValueError: a value that is not finite.
        ChunkError: another action space, names, rate or shape, a stamp that is not finite or from the
            future (but for absolute rows that begin as much later than their image), or every row already
            past.
    """
    if chunk.space != contract.action.space:
        raise ChunkError(f"action space '{chunk.space}', the robot takes '{contract.action.space}'")
    if chunk.names != contract.action_names:
        raise ChunkError(f"columns {chunk.names}, the robot takes {contract.action_names}")
    if chunk.rows.ndim != 2 or (len(chunk.rows) and chunk.rows.shape[1] != len(chunk.names)):
        raise ChunkError(f"shape {chunk.rows.shape}, expected (H, {len(chunk.names)})")
    check_size(len(chunk.rows), chunk.rate_hz)
    slowest = SLOWEST_PACE if chunk.most_delay_s and not contract.action.space.is_delta else 1.0
    if not slowest * contract.rate_hz - 1e-6 <= chunk.rate_hz <= contract.rate_hz + 1e-6:
        raise ChunkError(f"rate {chunk.rate_hz} Hz, the robot's is {contract.rate_hz} Hz")
    if not np.isfinite(chunk.stamp):
        raise ChunkError(f"stamp {chunk.stamp}: must be finite")
    if not np.isfinite(chunk.rows).all():
        row, column = np.argwhere(~np.isfinite(chunk.rows))[0]
        raise ChunkValueError(f"row {row}, {chunk.names[column]} = {chunk.rows[row, column]}: must be finite")
    huge = np.argwhere(np.abs(chunk.rows) > HUGE)
    if len(huge):
        row, column = huge[0]
        raise ChunkValueError(
            f"row {row}, {chunk.names[column]} = {chunk.rows[row, column]:g}: beyond {HUGE:g}"
        )
    if not max(chunk.delay_s, chunk.most_delay_s) <= LONGEST_DELAY_S:
        raise ChunkError(
            f"begins {max(chunk.delay_s, chunk.most_delay_s):.3f} s after its image: allowed are at most "
            f"{LONGEST_DELAY_S:g} s"
        )
    later = 0.0 if contract.action.space.is_delta else chunk.delay_s
    if chunk.stamp > now + later + FUTURE_TOLERANCE_S:
        raise ChunkError(f"stamped {chunk.stamp - now:.3f} s in the future")
    lasts_s = chunk.end - chunk.stamp
    if contract.action.space.is_delta:
        lasts_s += 1.0 / chunk.rate_hz  # the last displacement takes a row's time
    if len(chunk.rows) and lasts_s < passed_s:
        raise ChunkError(f"too late: its last row was due {passed_s - lasts_s:.3f} s ago")


def check_size(rows: int, rate_hz: float) -> None:
    """Refuse a chunk that would take too long to work on.

    Raises:
        ChunkError: more than `MOST_ROWS` rows, or more than `LONGEST_S`.
    """
    if rows > MOST_ROWS:
        raise ChunkError(f"{rows} rows: allowed are at most {MOST_ROWS}")
    if rate_hz > 0 and (rows - 1) / rate_hz > LONGEST_S:
        raise ChunkError(f"{rows} rows at {rate_hz:g} Hz: allowed are at most {LONGEST_S:g} s")


def within_limits(chunk: Chunk, limits: Limits, grippers: Sequence[Gripper]) -> Chunk:
    """Absolute joint rows (grippers last), clamped to the position limits.

    Raises:
        ChunkValueError: a joint more than `ABSURD_BEYOND` beyond its limit, or a gripper value far outside
            of what opens and closes it: nothing that a policy means.
    """
    width = len(limits.low)
    joints = chunk.rows[:, :width]
    clamped = np.clip(joints, limits.low, limits.high)
    beyond = np.abs(joints - clamped)
    if not beyond.max() <= ABSURD_BEYOND:
        worst = int(np.nan_to_num(beyond, nan=np.inf).argmax())
        row, column = divmod(worst, beyond.shape[1])
        raise ChunkValueError(
            f"row {row}, {chunk.names[column]} = {joints[row, column]:.2f}: allowed is "
            f"{limits.low[column]} to {limits.high[column]}, or at most {ABSURD_BEYOND} beyond"
        )
    for column, gripper in enumerate(grippers, width):
        for row, value in enumerate(chunk.rows[:, column]):
            check_gripper(float(value), gripper, f"row {row}, ", ChunkValueError)
    return dataclasses.replace(chunk, rows=np.column_stack([clamped, chunk.rows[:, width:]]))


def check_gripper(value: float, gripper: Gripper, where: str, error: type[VlaAdapterError]) -> None:
    """Refuse a gripper value that nobody means.

    Args:
        value: Of the gripper's dimension.
        gripper: What opens and closes it.
        where: Begins the sentence.
        error: What to raise.

    Raises:
        error: the value is not finite, or more than `ABSURD_GRIPPER` times the stroke beyond open and closed.
    """
    low, high = sorted((gripper.closed, gripper.open))
    room = ABSURD_GRIPPER * (high - low)
    if not low - room <= value <= high + room:
        raise error(
            f"{where}{gripper.dimension} = {value:g}: {gripper.open:g} opens, {gripper.closed:g} closes"
        )
