"""An action chunk as plain data, and the check whether it may be followed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ChunkError

FUTURE_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class Chunk:
    """Set-points in time: row k is due at stamp + k / rate_hz.

    Attributes:
        stamp: Stamp t of the reference image behind the chunk [s].
        rows: float64 (H, A), columns and units of the contract's action; H = 0 means stop and hold.
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
        ChunkError: another action space, names, rate or shape, a value that is
            not finite, a stamp from the future, or every row already past.
    """
    if chunk.space != contract.action.space:
        raise ChunkError(f"action space '{chunk.space}', the robot takes '{contract.action.space}'")
    if chunk.names != contract.action_names:
        raise ChunkError(f"columns {chunk.names}, the robot takes {contract.action_names}")
    if chunk.rows.ndim != 2 or chunk.rows.shape[1] != len(chunk.names):
        raise ChunkError(f"shape {chunk.rows.shape}, expected (H, {len(chunk.names)})")
    if not abs(chunk.rate_hz - contract.rate_hz) < 1e-6:
        raise ChunkError(f"rate {chunk.rate_hz} Hz, the robot's is {contract.rate_hz} Hz")
    if not np.isfinite(chunk.rows).all():
        row, column = np.argwhere(~np.isfinite(chunk.rows))[0]
        raise ChunkError(f"row {row}, {chunk.names[column]} = {chunk.rows[row, column]}: must be finite")
    if chunk.stamp > now + FUTURE_TOLERANCE_S:
        raise ChunkError(f"stamped {chunk.stamp - now:.3f} s in the future")
    if len(chunk.rows) and chunk.end < now:
        raise ChunkError(f"too late: its last row was due {now - chunk.end:.3f} s ago")
