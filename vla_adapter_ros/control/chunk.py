"""An action chunk as plain data, and the check whether it may be followed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.errors import ChunkError, ChunkValueError

FUTURE_TOLERANCE_S = 0.1
ABSURD_BEYOND = 3.2  # rows this far beyond a joint's limit [rad or m] are refused; nearer ones are clamped
MOST_ROWS = 1000  # of a chunk, and its length [s]: what a controller can work on between two ticks is bounded
LONGEST_S = 60.0


@dataclass(frozen=True)
class Chunk:
    """Set-points in time: row k is due at stamp + k / rate_hz.

    Attributes:
        stamp: Stamp t of the reference image behind the chunk [s].
        rows: float64 (H, A), columns and units of the contract's action; H = 0 means stop and hold. In
            delta spaces row k is the way from its time to that of row k + 1.
        names: A column names.
        rate_hz: Rows per second.
        session_id, instruction_id, sequence: Who made it, for which instruction, as which number.
        space: Action space of the rows.
    """

    stamp: float
    rows: np.ndarray
    names: tuple[str, ...]
    rate_hz: float
    session_id: str = ""
    instruction_id: int = 0
    sequence: int = 0
    space: str = "joint_position"

    @property
    def end(self) -> float:
        """Time at which the last row is due [s]."""
        return self.stamp + max(len(self.rows) - 1, 0) / self.rate_hz


def check_chunk(chunk: Chunk, contract: Contract, now: float) -> None:
    """Refuse a chunk that does not fit the robot or the moment.

    Raises:
        ChunkValueError: a value that is not finite.
        ChunkError: another action space, names, rate or shape, a stamp that is
            not finite or from the future, or every row already past.
    """
    if chunk.space != contract.action.space:
        raise ChunkError(f"action space '{chunk.space}', the robot takes '{contract.action.space}'")
    if chunk.names != contract.action_names:
        raise ChunkError(f"columns {chunk.names}, the robot takes {contract.action_names}")
    if chunk.rows.ndim != 2 or (len(chunk.rows) and chunk.rows.shape[1] != len(chunk.names)):
        raise ChunkError(f"shape {chunk.rows.shape}, expected (H, {len(chunk.names)})")
    if len(chunk.rows) > MOST_ROWS:
        raise ChunkError(f"{len(chunk.rows)} rows: allowed are at most {MOST_ROWS}")
    if not abs(chunk.rate_hz - contract.rate_hz) < 1e-6:
        raise ChunkError(f"rate {chunk.rate_hz} Hz, the robot's is {contract.rate_hz} Hz")
    if not np.isfinite(chunk.stamp):
        raise ChunkError(f"stamp {chunk.stamp}: must be finite")
    if not np.isfinite(chunk.rows).all():
        row, column = np.argwhere(~np.isfinite(chunk.rows))[0]
        raise ChunkValueError(f"row {row}, {chunk.names[column]} = {chunk.rows[row, column]}: must be finite")
    if chunk.end - chunk.stamp > LONGEST_S:
        raise ChunkError(
            f"{len(chunk.rows)} rows at {chunk.rate_hz:g} Hz: allowed are at most {LONGEST_S:g} s"
        )
    if chunk.stamp > now + FUTURE_TOLERANCE_S:
        raise ChunkError(f"stamped {chunk.stamp - now:.3f} s in the future")
    end = chunk.end
    if contract.action.space.endswith("_delta"):
        end += 1.0 / chunk.rate_hz  # the last displacement takes a row's time
    if len(chunk.rows) and end < now:
        raise ChunkError(f"too late: its last row was due {now - end:.3f} s ago")


def within_limits(chunk: Chunk, limits: Limits) -> Chunk:
    """Absolute joint rows (gripper last), clamped to the position limits.

    Raises:
        ChunkValueError: a joint more than `ABSURD_BEYOND` beyond its limit: nothing that a policy means.
    """
    joints = chunk.rows[:, :-1]
    clamped = np.clip(joints, limits.low, limits.high)
    beyond = np.abs(joints - clamped)
    if not beyond.max() <= ABSURD_BEYOND:
        row, column = np.unravel_index(int(np.nan_to_num(beyond, nan=np.inf).argmax()), beyond.shape)
        raise ChunkValueError(
            f"row {row}, {chunk.names[column]} = {joints[row, column]:.2f}: allowed is "
            f"{limits.low[column]} to {limits.high[column]}, or at most {ABSURD_BEYOND} beyond"
        )
    return dataclasses.replace(chunk, rows=np.column_stack([clamped, chunk.rows[:, -1]]))
