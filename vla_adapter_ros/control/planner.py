"""Jerk-limited plans by ruckig: full stops, and motions to a state.

Ruckig (free version) knows no position limits; who calls checks the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ruckig import ControlInterface, InputParameter, Ruckig, RuckigError, Synchronization, Trajectory

from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.quintic import control_points, sampled_peaks, state_at

_OVER_S = 1e-9  # rounding of a stop's end
_PLAIN_STOPS_S = np.geomspace(0.02, 5.0, 40)


def reachable_end(
    velocity: np.ndarray,
    acceleration: np.ndarray,
    max_velocity: np.ndarray,
    max_acceleration: np.ndarray,
    jerk: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest velocity and acceleration that an arm can reach, and leave, within `max_velocity`.

    Taking an acceleration a away, or building it up, changes the velocity by a^2 / (2 jerk).
    """
    velocity = np.clip(velocity, -max_velocity, max_velocity)
    limit = np.minimum(max_acceleration, np.sqrt(2 * jerk * (max_velocity - np.abs(velocity))))
    return velocity, np.clip(acceleration, -limit, limit)


@dataclass(frozen=True)
class Question:
    """What a plan answers; the same question has the same answer, so that a plan can be made again.

    Attributes:
        limits: Of the planner.
        state: Where the plan begins, float64 (3, J), or (3,) of one joint.
        target: Where it ends, of the same shape; None: a full stop.
        min_duration_s, speed: See `Planner.move`.
        joint: Of a plan for one joint, its number; None: for all.
    """

    limits: Limits
    state: np.ndarray
    target: np.ndarray | None = None
    min_duration_s: float = 0.0
    speed: float = 1.0
    joint: int | None = None

    def answer(self) -> Plan | FullStop | None:
        """The plan, made anew."""
        planner = Planner(self.limits)
        if self.target is None:
            return planner.stop(self.state)
        if self.joint is None:
            return planner.move(self.state, self.target, self.min_duration_s, self.speed)
        return planner.move_joint(self.joint, self.state, self.target, self.min_duration_s, self.speed)


class Plan:
    """A motion to a state."""

    def __init__(self, trajectory: Trajectory, question: Question) -> None:
        self._trajectory, self.question = trajectory, question
        self.duration: float = trajectory.duration
        """[s]"""

    def at(self, time: float) -> np.ndarray:
        """State (3, J) at `time` [s] from the start, up to the duration."""
        return np.array(self._trajectory.at_time(min(time, self.duration)))


class Stop:
    """A full stop, as ruckig found it."""

    def __init__(self, trajectory: Trajectory, question: Question) -> None:
        self._trajectory, self._start, self.question = trajectory, question.state[0], question
        self.duration: float = trajectory.duration
        """[s]"""

    def at(self, time: float) -> np.ndarray:
        """State (3, J) at `time` [s] from the start; exactly at rest once it is over."""
        state = np.array(self._trajectory.at_time(min(time, self.duration)))
        state[0] += self._start
        if time >= self.duration - _OVER_S:
            state[1:] = 0.0
        return state

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest positions of the whole stop, (J,) each."""
        bounds = self._trajectory.position_extrema
        low, high = np.array([b.min for b in bounds]), np.array([b.max for b in bounds])
        return self._start + np.minimum(low, 0.0), self._start + np.maximum(high, 0.0)


class PlainStop:
    """A full stop that exists from every state: the velocity falls to 0 as a cubic in time.

    It takes the shortest of a few times in which it keeps the limits, or the longest of them.

    Args:
        state: Where it begins, float64 (3, J), finite.
        limits: Of acceleration and jerk.
    """

    def __init__(self, state: np.ndarray, limits: Limits) -> None:
        position, velocity, acceleration = state
        end = np.zeros_like(state)
        for duration in _PLAIN_STOPS_S:
            end[0] = position + velocity * duration / 2 + acceleration * duration**2 / 12
            points = control_points(state, end, duration)
            _, acceleration, jerk = sampled_peaks(points, duration)
            if (acceleration <= limits.acceleration).all() and (jerk <= limits.jerk).all():
                break
        self._state, self._points = state, points
        self.question = Question(limits, state)
        self.duration = float(duration)
        """[s]"""

    def at(self, time: float) -> np.ndarray:
        """State (3, J) at `time` [s] from the start; without rounding at the start and once it is over."""
        if time <= 0:
            return self._state.copy()
        state = state_at(self._points, self.duration, min(time, self.duration))
        if time >= self.duration - _OVER_S:
            state[1:] = 0.0
        return state

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of all positions of the stop, (J,) each: those of its control points."""
        return self._points.min(0), self._points.max(0)


FullStop = Stop | PlainStop
"""Either of them: both have `duration`, `at` and `extent`."""


class Planner:
    """Plans within the limits of J joints.

    Args:
        limits: Velocity, acceleration and jerk are obeyed; a start beyond them is brought inside.
    """

    def __init__(self, limits: Limits) -> None:
        joints = len(limits.low)
        self._limits = limits
        self._ruckig = Ruckig(joints)
        self._stop, self._move = InputParameter(joints), InputParameter(joints)
        zeros = [0.0] * joints
        for inputs in (self._stop, self._move):
            inputs.max_velocity = limits.velocity.tolist()
            inputs.max_acceleration = limits.acceleration.tolist()
            inputs.max_jerk = limits.jerk.tolist()
        self._single = [(Ruckig(1), InputParameter(1)) for _ in range(joints)]
        for joint, (_, inputs) in enumerate(self._single):
            inputs.max_acceleration = [float(limits.acceleration[joint])]
            inputs.max_jerk = [float(limits.jerk[joint])]
        self._stop.control_interface = ControlInterface.Velocity
        self._stop.synchronization = Synchronization.No
        self._stop.target_velocity = self._stop.target_acceleration = zeros

    def stop(self, state: np.ndarray) -> FullStop:
        """The fastest full stop from a state (3, J); a plain one where ruckig finds none.

        It is planned from position 0: in velocity control ruckig's extreme positions include 0 for
        every joint, wherever it starts.
        """
        trajectory = self._solve(self._ruckig, self._stop, np.stack([np.zeros_like(state[0]), *state[1:]]))
        if trajectory is None:
            return PlainStop(state, self._limits)
        return Stop(trajectory, Question(self._limits, state))

    def move(
        self, state: np.ndarray, target: np.ndarray, min_duration_s: float, speed: float = 1.0
    ) -> Plan | None:
        """A motion from one state (3, J) to another, all joints arriving together.

        Args:
            state, target: float64 (3, J). The target is clipped to velocities and accelerations allowed.
            min_duration_s: The motion takes at least this long [s], > 0.
            speed: Fraction of the velocity limits to use, 0 to 1.

        Returns:
            The plan; its duration is `min_duration_s` where that is long enough. None if ruckig finds none.
        """
        max_velocity, max_acceleration = self._limits.velocity * speed, self._limits.acceleration
        inputs = self._move
        inputs.max_velocity = max_velocity.tolist()
        inputs.minimum_duration = min_duration_s
        inputs.target_position = target[0].tolist()
        velocity, acceleration = reachable_end(
            target[1], target[2], max_velocity, max_acceleration, self._limits.jerk
        )
        inputs.target_velocity, inputs.target_acceleration = velocity.tolist(), acceleration.tolist()
        trajectory = self._solve(self._ruckig, inputs, state)
        if trajectory is None:  # a target that could only be reached, or left, beyond the velocity limit
            inputs.target_acceleration = [0.0] * len(max_velocity)
            trajectory = self._solve(self._ruckig, inputs, state)
        question = Question(self._limits, state, target, min_duration_s, speed)
        return None if trajectory is None else Plan(trajectory, question)

    def move_joint(
        self, joint: int, state: np.ndarray, target: np.ndarray, min_duration_s: float, speed: float
    ) -> Plan | None:
        """As `move`, for one joint: state and target are float64 (3,), and so are the plan's states."""
        solver, inputs = self._single[joint]
        max_velocity, max_acceleration = (
            self._limits.velocity[joint] * speed,
            self._limits.acceleration[joint],
        )
        inputs.max_velocity = [float(max_velocity)]
        inputs.minimum_duration = min_duration_s
        inputs.target_position = [float(target[0])]
        velocity, acceleration = reachable_end(
            target[1], target[2], max_velocity, max_acceleration, self._limits.jerk[joint]
        )
        inputs.target_velocity = [float(velocity)]
        for value in (float(acceleration), 0.0):
            inputs.target_acceleration = [value]
            trajectory = self._solve(solver, inputs, state[:, None])
            if trajectory is not None:
                return Plan(trajectory, Question(self._limits, state, target, min_duration_s, speed, joint))
        return None

    def _solve(self, solver: Ruckig, inputs: InputParameter, state: np.ndarray) -> Trajectory | None:
        inputs.current_position, inputs.current_velocity, inputs.current_acceleration = state.tolist()
        trajectory = Trajectory(len(state[0]))
        try:
            result = solver.calculate(inputs, trajectory)
        except (RuckigError, RuntimeError):  # what it cannot do is told by an exception
            return None
        if int(result) < 0 or not np.isfinite(trajectory.duration):
            return None
        return trajectory
