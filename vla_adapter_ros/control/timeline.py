"""The reference that chunks describe, as a function of time.

Rows are joined by quintics with the least jerk, so position, velocity and
acceleration are continuous; the gripper is never interpolated. A new chunk
takes over from the state that the motion has: the difference fades out as fast
as a fraction of the limits allows. After the last row the reference stands still;
the controller brakes there, so that starvation is a soft stop. Rows are due in
path time: see `PathTime`.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.path_time import PathTime
from vla_adapter_ros.control.quintic import control_points, sampled_peaks, smooth_states, state_at
from vla_adapter_ros.control.splice import ENSEMBLE_DECAY, SPLICES, crossfaded_rows, ensembled_rows
from vla_adapter_ros.errors import ChunkError

_FADE_SHARE = 0.5  # of each limit that a fading difference may take; the rest is for the motion itself
_LONGEST_FADE = 6.0  # times the shortest
_MOST_CHUNKS = 16  # live at a time


class SmoothRows:
    """One chunk of joint rows, joined smoothly.

    Args:
        chunk: At least one row; the first columns are the joints, the others the grippers.
        joints: Number J of joints.
        rows: Rows of the joints to use instead of the chunk's (H, J); None: its own.
    """

    def __init__(self, chunk: Chunk, joints: int, rows: np.ndarray | None = None) -> None:
        self.chunk = chunk
        self._period = 1.0 / chunk.rate_hz
        self._states = smooth_states(chunk.rows[:, :joints] if rows is None else rows, chunk.rate_hz)
        self._points = control_points(self._states[:-1], self._states[1:], self._period)

    def moved_to(self, stamp: float) -> SmoothRows:
        """The same rows, the first of which is due at `stamp` [s]."""
        if stamp == self.chunk.stamp:
            return self
        moved = copy.copy(self)
        moved.chunk = dataclasses.replace(self.chunk, stamp=stamp)
        return moved

    def at(self, time: float) -> np.ndarray:
        """State (3, J): before the first row as if always accelerated so, after the last at rest."""
        since = time - self.chunk.stamp
        if since < 0:
            position, velocity, push = self._states[0]
            return np.stack(
                [position + since * velocity + since**2 / 2 * push, velocity + since * push, push]
            )
        k = int(since / self._period + 1e-9)
        if time > self.chunk.end + 1e-9:
            state = np.zeros_like(self._states[-1])
            state[0] = self._states[-1, 0]
            return state
        if k >= len(self._points):
            return self._states[-1]
        return state_at(self._points[k], self._period, since - k * self._period)


@dataclass(frozen=True)
class ChunkTransition:
    """The step between the motion before a hand-over and the new reference, before it is faded out."""

    position: float
    velocity: float


class ChunkTimeline:
    """The chunks being followed, and how the reference passes over to a new one.

    All times of its methods are the clock's [s]. Chunks are kept in path time; a difference fades out by
    the clock, since it is none of the policy's motion.

    Args:
        limits: Of the joints; decide how long a difference takes to fade.
        splice: How overlapping chunks are combined: `replace` follows the newest, `ensemble` averages all
            that are live with exponential weights, `crossfade` goes over to the next in `crossfade_s`.
        handover_s: Shortest time in which a difference fades out [s].
        crossfade_s: Length of a cross-fade [s].
        decay: Of the ensemble's weights.
        path_time: Of the rows; None: the clock's.

    Raises:
        ChunkError: an unknown splice.
    """

    horizon_s = 0.0

    def __init__(
        self,
        limits: Limits,
        splice: str = "replace",
        handover_s: float = 0.1,
        crossfade_s: float = 0.3,
        decay: float = ENSEMBLE_DECAY,
        path_time: PathTime | None = None,
    ) -> None:
        if splice not in SPLICES:
            raise ChunkError(f"splice '{splice}': allowed is one of {list(SPLICES)}")
        self.limits = limits
        self.splice = splice
        self.path_time = PathTime() if path_time is None else path_time
        self.version = 0
        self.chunk: Chunk | None = None
        """Newest chunk, stamped in path time; None: nothing to follow."""
        self._handover_s, self._crossfade_s, self._decay = handover_s, crossfade_s, decay
        self._live: list[SmoothRows] = []
        self._rows: SmoothRows | None = None
        self._switch, self._fade_s = 0.0, handover_s
        self._fade: np.ndarray | None = None

    def clear(self) -> None:
        """Forget every chunk."""
        self.chunk, self._rows, self._fade = None, None, None
        self._live.clear()

    def set_speed(self, speed: float, now: float) -> None:
        """Go over to another speed of the path from `now` [s] on.

        Raises:
            CommandError: see `PathTime.set_speed`.
        """
        self.path_time.set_speed(speed, now)
        self.version += 1

    def take_over(
        self, smooth: SmoothRows, now: float, state: np.ndarray, fade: bool = True
    ) -> ChunkTransition:
        """Follow a chunk from now on; one of another session or instruction is never mixed with those before.

        Args:
            smooth: The chunk, joined smoothly: at least one row, in the order of the limits.
            now: Time of the hand-over [s].
            state: The motion at `now`, float64 (3, J).
            fade: Whether the difference fades out; else the reference jumps, and who follows it catches up.
        """
        smooth = smooth.moved_to(self.path_time.at(smooth.chunk.stamp))
        chunk, merged, joints = smooth.chunk, smooth, len(self.limits.low)
        rows, begin = chunk.rows[:, :joints], self.path_time.at(now)
        same = self.chunk is not None and (self.chunk.session_id, self.chunk.instruction_id) == (
            chunk.session_id,
            chunk.instruction_id,
        )
        if not same:
            self._live.clear()
        self._live = [old for old in self._live if old.chunk.end >= begin][-_MOST_CHUNKS:]
        if self.splice == "ensemble" and self._live:
            merged = SmoothRows(chunk, joints, ensembled_rows(chunk, rows, self._live, self._decay))
        elif self.splice == "crossfade" and self._live and self._rows is not None:
            until = self._rows.chunk.end
            faded = crossfaded_rows(chunk, rows, self._before, until, begin, self._crossfade_s)
            merged = SmoothRows(chunk, joints, faded)
        self._live.append(smooth)
        step = state - self.path_time.in_time(merged.at(begin), now)
        self.chunk, self._rows, self._switch = chunk, merged, now
        self._fade_s = self._fading_time(step)
        self._fade = control_points(step, np.zeros_like(step), self._fade_s) if fade else None
        self.version += 1
        return ChunkTransition(float(np.abs(step[0]).max()), float(np.abs(step[1]).max()))

    def starved(self, now: float) -> bool:
        """True once the last row is past."""
        return self.chunk is None or self.path_time.at(now) > self.chunk.end + 1e-9

    @property
    def _followed(self) -> Chunk:
        assert self.chunk is not None, "no chunk is followed"
        return self.chunk

    def row(self, now: float) -> int:
        """Index of the newest row that is due: for values that must not be interpolated."""
        chunk = self._followed
        index = int(np.floor((self.path_time.at(now) - chunk.stamp) * chunk.rate_hz + 1e-6))
        return min(max(index, 0), len(chunk.rows) - 1)

    def grippers(self, now: float) -> np.ndarray:
        """Gripper values (G,) of the newest row that is due."""
        return self._followed.rows[self.row(now), len(self.limits.low) :]

    def at(self, time: float) -> np.ndarray:
        """Reference state (3, J) at `time` [s]."""
        assert self._rows is not None, "no chunk is followed"
        state = self.path_time.in_time(self._rows.at(self.path_time.at(time)), time)
        since = time - self._switch
        if self._fade is not None and 0 <= since < self._fade_s:
            state = state + state_at(self._fade, self._fade_s, since)
        return state

    def _before(self, path: float) -> np.ndarray:
        """Reference state (3, J) at a path time [s]; its position alone is of use there."""
        return self.at(self.path_time.time_of(path))

    def _fading_time(self, step: np.ndarray) -> float:
        """Shortest time in which a difference (3, J) may fade out."""
        for length in self._handover_s * np.geomspace(1.0, _LONGEST_FADE, 10):
            points = control_points(step, np.zeros_like(step), length)
            velocity, acceleration, jerk = sampled_peaks(points, length)
            if (
                (velocity <= _FADE_SHARE * self.limits.velocity).all()
                and (acceleration <= _FADE_SHARE * self.limits.acceleration).all()
                and (jerk <= _FADE_SHARE * self.limits.jerk).all()
            ):
                break
        return float(length)
