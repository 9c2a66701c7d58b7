"""What ros2_controllers' joint trajectory controller does with a trajectory, in numpy.

Same rules as the real one, so that what works on the simulated arm works on a
real driver (with `open_loop_control`/`interpolate_from_desired_state`, full
joint lists and a zero last velocity):

- Points with positions only are joined by lines, with velocities by cubics,
  with accelerations as well by quintics.
- A header stamp of 0 means now; otherwise points are due at stamp + time_from_start.
- A new trajectory replaces the old one at once, whole: nothing of the old one is
  kept, even if the new one starts later. Until its first point is due, the arm
  goes from the desired state at replacement to that point; with
  `from_desired=False` from the measured state (the default of older releases:
  every replacement then pulls the set-point back by the tracking error). If
  points are past already, the arm is on the segment that covers now: nothing
  is played late, and what jumps is the sender's fault.
- The last point is held.
- Tolerances, where given: an arm that leaves the path by more than
  `path_tolerance`, or is not within `goal_tolerance` at the latest
  `goal_time_s` after the last point, makes the controller drop the trajectory
  and hold where the arm is measured. A new trajectory moves again.

Source: the documentation and behavior of joint_trajectory_controller; the
code is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vla_adapter_ros.errors import CommandError

Rows = Sequence[Sequence[float] | np.ndarray] | np.ndarray
"""Numbers per point of a trajectory, (K, J)."""


class TrajectoryError(CommandError):
    """A joint trajectory was refused; the one before goes on."""


@dataclass(frozen=True)
class _Points:
    """Knots in time: times (K,), positions (K, J), velocities and accelerations (K, J) or None."""

    times: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray | None
    accelerations: np.ndarray | None


@dataclass(frozen=True)
class _State:
    """A desired state: time [s], and position, velocity, acceleration (J,)."""

    time: float
    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray


class TrajectoryController:
    """Follows one trajectory at a time.

    Args:
        names: The joints, in the order of every array here.
        positions: Where they stand; held until a trajectory comes. (J,) [rad or m]
        path_tolerance: Largest distance of a joint from the path while it moves [rad or m]; 0: any.
        goal_tolerance: Largest distance from the last point [rad or m]; 0: any.
        goal_time_s: Time after the last point to get there [s].
        from_desired: Whether a new trajectory starts from the desired state (else the measured one).
    """

    def __init__(
        self,
        names: Sequence[str],
        positions: np.ndarray,
        *,
        path_tolerance: float = 0.0,
        goal_tolerance: float = 0.0,
        goal_time_s: float = 0.0,
        from_desired: bool = True,
    ) -> None:
        self.names = tuple(names)
        self._path_tolerance, self._goal_tolerance = path_tolerance, goal_tolerance
        self._goal_time_s, self._from_desired = goal_time_s, from_desired
        self._points: _Points | None = None
        self._before = self._still(0.0, positions)

    def hold(self, positions: np.ndarray) -> None:
        """Drop the trajectory and hold `positions` (J,)."""
        self._points = None
        self._before = self._still(0.0, positions)

    def accept_trajectory(
        self,
        names: Sequence[str],
        start: float,
        times: ArrayLike,
        positions: Rows,
        velocities: Rows | None = None,
        accelerations: Rows | None = None,
        *,
        now: float,
        measured: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Follow a trajectory from now on.

        Args:
            names: Joint of each column; the controller's joints in any order.
            start: Header stamp [s]; 0 means now.
            times: time_from_start of each point (K,) [s], rising.
            positions: (K, J) [rad or m].
            velocities: (K, J) [per s]; None or empty: not given. The last row must be 0.
            accelerations: (K, J) [per s^2]; only together with velocities.
            now: Time [s].
            measured: Positions and velocities of the arm, (J,) each; needed unless `from_desired`.

        Raises:
            TrajectoryError: anything else than described; the old trajectory goes on.
        """
        order = self._order(names)
        knots = _checked_times(start if start != 0.0 else now, times)
        if start != 0.0 and knots[-1] < now:
            raise TrajectoryError(f"the trajectory ends at {knots[-1]:.3f} s, in the past of {now:.3f} s")
        shape = (len(knots), len(self.names))
        position = _checked_rows("positions", positions, shape)
        if position is None:
            raise TrajectoryError("positions are missing: each point needs one per joint")
        velocity = _checked_rows("velocities", velocities, shape)
        acceleration = _checked_rows("accelerations", accelerations, shape)
        if acceleration is not None and velocity is None:
            raise TrajectoryError(
                "accelerations without velocities: allowed are both, velocities, or neither"
            )
        if velocity is not None and np.any(np.abs(velocity[-1]) > 1e-9):
            raise TrajectoryError(f"last velocities {velocity[-1].tolist()}: allowed is 0 for every joint")
        self._before = self._state(now) if self._from_desired else self._measured_state(now, measured)
        self._points = _Points(
            knots,
            position[:, order],
            None if velocity is None else velocity[:, order],
            None if acceleration is None else acceleration[:, order],
        )

    def sample(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Desired positions (J,) and velocities (J,) at `t` [s], not before the last `accept_trajectory`."""
        state = self._state(t)
        return state.position, state.velocity

    def check_tolerances(self, t: float, measured: np.ndarray) -> str:
        """Compare the arm with the trajectory, and hold where it is if a tolerance is broken.

        Args:
            t: Time [s].
            measured: Positions of the arm (J,).

        Returns:
            What was broken, in words; empty while all is well.
        """
        points = self._points
        if points is None:
            return ""
        moving = t < points.times[-1]
        allowed = self._path_tolerance if moving else self._goal_tolerance
        if allowed <= 0:
            return ""
        away = np.abs(measured - self._state(t).position)
        if away.max() <= allowed:
            return ""
        if not moving and t <= points.times[-1] + self._goal_time_s:
            return ""
        self.hold(measured)
        joint = self.names[int(away.argmax())]
        what = "path" if moving else "goal"
        return f"{joint} is {away.max():.3f} from the {what}: allowed is {allowed}; holding where the arm is"

    def _measured_state(self, t: float, measured: tuple[np.ndarray, np.ndarray] | None) -> _State:
        if measured is None:
            raise TrajectoryError("a controller that starts from the measured state needs that state")
        position, velocity = (np.array(part, dtype=float) for part in measured)
        return _State(t, position, velocity, np.zeros_like(position))

    def _state(self, t: float) -> _State:
        points = self._points
        if points is None:
            return _State(t, self._before.position, self._before.velocity, self._before.acceleration)
        index = int(np.searchsorted(points.times, t, side="right"))
        if index == len(points.times):
            return self._still(t, points.positions[-1])
        first = self._before if index == 0 else _knot(points, index - 1)
        return _between(first, _knot(points, index), t, points)

    def _order(self, names: Sequence[str]) -> list[int]:
        if sorted(names) != sorted(self.names):
            raise TrajectoryError(
                f"joints {list(names)}: allowed are exactly {list(self.names)}, in any order"
            )
        return [list(names).index(name) for name in self.names]

    def _still(self, time: float, positions: np.ndarray) -> _State:
        positions = np.array(positions, dtype=float)
        if positions.shape != (len(self.names),) or not np.isfinite(positions).all():
            raise TrajectoryError(
                f"positions {positions.tolist()}: allowed are {len(self.names)} finite numbers"
            )
        return _State(time, positions, np.zeros_like(positions), np.zeros_like(positions))


def _checked_times(start: float, times: ArrayLike) -> np.ndarray:
    knots = np.asarray(times, dtype=float)
    if knots.ndim != 1 or len(knots) == 0:
        raise TrajectoryError("the trajectory has no points: allowed is at least one")
    if not (np.isfinite(knots).all() and np.isfinite(start)):
        raise TrajectoryError(f"times {knots.tolist()} after {start}: allowed are finite numbers")
    if knots[0] < 0.0 or np.any(np.diff(knots) <= 0.0):
        raise TrajectoryError(f"time_from_start {knots.tolist()}: allowed are rising times from 0")
    return start + knots


def _checked_rows(what: str, rows: Rows | None, shape: tuple[int, int]) -> np.ndarray | None:
    if rows is None or len(rows) == 0 or all(len(row) == 0 for row in rows):
        return None
    if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
        sizes = [len(row) for row in rows]
        raise TrajectoryError(f"{what} of sizes {sizes}: allowed are {shape[0]} points of {shape[1]} joints")
    values = np.array(rows, dtype=float)
    if not np.isfinite(values).all():
        raise TrajectoryError(f"{what} hold a value that is not finite: {values.tolist()}")
    return values


def _knot(points: _Points, index: int) -> _State:
    zero = np.zeros_like(points.positions[index])
    return _State(
        float(points.times[index]),
        points.positions[index],
        zero if points.velocities is None else points.velocities[index],
        zero if points.accelerations is None else points.accelerations[index],
    )


def _between(a: _State, b: _State, t: float, points: _Points) -> _State:
    """The polynomial through two states, sampled at `t` between them."""
    span = max(b.time - a.time, 1e-9)
    s = min(max(t - a.time, 0.0), span)
    displacement = b.position - a.position
    if points.velocities is None:
        slope = displacement / span
        return _State(t, a.position + slope * s, slope, np.zeros_like(slope))
    if points.accelerations is None:
        c1, c2 = a.velocity, (3 * displacement / span - 2 * a.velocity - b.velocity) / span
        c3 = (-2 * displacement / span + a.velocity + b.velocity) / span**2
        c4 = c5 = np.zeros_like(displacement)
    else:
        c1, c2 = a.velocity, a.acceleration / 2
        # What is left for the three highest terms to bring to the end state.
        position = displacement - c1 * span - c2 * span**2
        velocity = b.velocity - a.velocity - a.acceleration * span
        acceleration = b.acceleration - a.acceleration
        c3 = (10 * position - 4 * velocity * span + acceleration * span**2 / 2) / span**3
        c4 = (-15 * position + 7 * velocity * span - acceleration * span**2) / span**4
        c5 = (6 * position - 3 * velocity * span + acceleration * span**2 / 2) / span**5
    return _State(
        t,
        a.position + s * (c1 + s * (c2 + s * (c3 + s * (c4 + s * c5)))),
        c1 + s * (2 * c2 + s * (3 * c3 + s * (4 * c4 + s * 5 * c5))),
        2 * c2 + s * (6 * c3 + s * (12 * c4 + s * 20 * c5)),
    )
