"""The reference that chunks describe, as a function of time.

Rows are joined by cubic Hermite segments. After the last row the controller
brakes at the acceleration limit, so that starvation is a soft stop. A new chunk
takes over with position and velocity continuous: the difference to the old
reference fades out.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.control.chunk import Chunk


class ChunkTimeline:
    """The newest chunk, and how the reference passes over to it.

    Args:
        handover_s: Time over which a difference between old and new reference fades out [s].
    """

    def __init__(self, handover_s: float = 0.1) -> None:
        self._handover_s = handover_s
        self.chunk: Chunk | None = None
        self._velocities = np.zeros((0, 0))
        self._switch = 0.0
        self._offset = np.zeros(0)
        self._offset_velocity = np.zeros(0)

    def clear(self) -> None:
        """Forget every chunk."""
        self.chunk = None

    def take_over(self, chunk: Chunk, now: float, position: np.ndarray, velocity: np.ndarray) -> float:
        """Follow `chunk` from now on.

        Args:
            chunk: At least one row.
            now: Time of the hand-over [s].
            position, velocity: Reference so far, float64 (A,) each.

        Returns:
            Largest jump between the old and the new reference at `now`, before it is faded out.
        """
        self.chunk = chunk
        self._velocities = row_velocities(chunk.rows, chunk.rate_hz)
        new_position, new_velocity = self._follow(now)
        self._switch = now
        self._offset = position - new_position
        self._offset_velocity = velocity - new_velocity
        return float(np.abs(self._offset).max())

    def starved(self, now: float) -> bool:
        """True once the last row is past."""
        return self.chunk is None or now > self.chunk.end + 1e-9

    def row(self, now: float) -> np.ndarray:
        """Newest row that is due, float64 (A,): for values that must not be interpolated."""
        index = int(np.floor((now - self.chunk.stamp) * self.chunk.rate_hz + 1e-6))
        return self.chunk.rows[min(max(index, 0), len(self.chunk.rows) - 1)]

    def sample(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Reference position and velocity at `now`, float64 (A,) each; at rest outside the rows."""
        position, velocity = self._follow(now)
        s = (now - self._switch) / self._handover_s if self._handover_s > 0 else 1.0
        if s >= 1.0:
            return position, velocity
        # Hermite basis of the difference (value and slope) fading to zero at s = 1.
        h, g = self._handover_s, 1.0 - s
        position = position + (1 + 2 * s) * g**2 * self._offset + s * g**2 * h * self._offset_velocity
        velocity = velocity - 6 * s * g / h * self._offset + g * (1 - 3 * s) * self._offset_velocity
        return position, velocity

    def _follow(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        rows, rate = self.chunk.rows, self.chunk.rate_hz
        x = (now - self.chunk.stamp) * rate
        if x <= 0 or x >= len(rows) - 1:
            edge = rows[0] if x <= 0 else rows[-1]
            return edge.copy(), np.zeros_like(edge)
        k = int(x)
        s = x - k
        p0, p1 = rows[k], rows[k + 1]
        m0, m1 = self._velocities[k] / rate, self._velocities[k + 1] / rate
        position = (
            (2 * s**3 - 3 * s**2 + 1) * p0
            + (s**3 - 2 * s**2 + s) * m0
            + (3 * s**2 - 2 * s**3) * p1
            + (s**3 - s**2) * m1
        )
        velocity = (6 * (s**2 - s) * (p0 - p1) + (3 * s**2 - 4 * s + 1) * m0 + (3 * s**2 - 2 * s) * m1) * rate
        return position, velocity


def row_velocities(rows: np.ndarray, rate_hz: float) -> np.ndarray:
    """Velocities at the rows: central differences inside, one-sided at both ends.

    Args:
        rows: float64 (H, A), H >= 1.
        rate_hz: Rows per second.

    Returns:
        float64 (H, A), per second.
    """
    velocities = np.zeros_like(rows)
    if len(rows) > 1:
        velocities[0] = (rows[1] - rows[0]) * rate_hz
        velocities[-1] = (rows[-1] - rows[-2]) * rate_hz
        velocities[1:-1] = (rows[2:] - rows[:-2]) * rate_hz / 2
    return velocities
