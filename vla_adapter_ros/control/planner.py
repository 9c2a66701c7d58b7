"""Jerk-limited plans by ruckig: full stops, and the way to a state.

Ruckig (free version) knows no position limits; who calls checks the result.
"""

from __future__ import annotations

import numpy as np
from ruckig import ControlInterface, InputParameter, Ruckig, RuckigError, Synchronization, Trajectory

from vla_adapter_ros.control.limits import Limits

_OVER_S = 1e-9  # rounding of a stop's end
_PLAIN_STOPS_S = np.geomspace(0.02, 5.0, 40)


def arrival(
    velocity: np.ndarray, acceleration: np.ndarray, top: np.ndarray, push: np.ndarray, jerk: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest velocity and acceleration that can be come to, and left, without passing `top`.

    Taking an acceleration a away, or building it up, changes the velocity by a^2 / (2 jerk).
    """
    velocity = np.clip(velocity, -top, top)
    most = np.minimum(push, np.sqrt(2 * jerk * (top - np.abs(velocity))))
    return velocity, np.clip(acceleration, -most, most)


class Plan:
    """A way to a state."""

    def __init__(self, trajectory: Trajectory) -> None:
        self._trajectory = trajectory
        self.duration: float = trajectory.duration
        """[s]"""

    def at(self, time: float) -> np.ndarray:
        """State (3, J) at `time` [s] from the start, up to the duration."""
        return np.array(self._trajectory.at_time(min(time, self.duration)))


class Stop:
    """A full stop, as ruckig found it."""

    def __init__(self, trajectory: Trajectory, start: np.ndarray) -> None:
        self._trajectory, self._start = trajectory, start
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
        self._state = state
        for self.duration in _PLAIN_STOPS_S:
            acceleration, jerk = self._peaks()
            if (acceleration <= limits.acceleration).all() and (jerk <= limits.jerk).all():
                break

    def at(self, time: float) -> np.ndarray:
        """State (3, J) at `time` [s] from the start; exactly at rest once it is over."""
        position, velocity, acceleration = self._state
        t, end = min(time, self.duration), self.duration
        c2, c3 = self._powers()
        state = np.stack(
            [
                position + velocity * t + acceleration * t**2 / 2 + c2 * t**3 / 3 + c3 * t**4 / 4,
                velocity + acceleration * t + c2 * t**2 + c3 * t**3,
                acceleration + 2 * c2 * t + 3 * c3 * t**2,
            ]
        )
        if time >= end - _OVER_S:
            state[1:] = 0.0
        return state

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest positions of the whole stop, (J,) each, from samples."""
        positions = np.array([self.at(t)[0] for t in np.linspace(0, self.duration, 65)])
        return positions.min(0), positions.max(0)

    def _powers(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of t^2 and t^3 in the velocity, (J,) each: both it and its slope end at 0."""
        _, velocity, acceleration = self._state
        end = self.duration
        return (
            -(3 * velocity + 2 * acceleration * end) / end**2,
            (2 * velocity + acceleration * end) / end**3,
        )

    def _peaks(self) -> tuple[np.ndarray, np.ndarray]:
        times = np.linspace(0, self.duration, 33)
        c2, c3 = self._powers()
        jerk = np.maximum(np.abs(2 * c2), np.abs(2 * c2 + 6 * c3 * self.duration))
        return np.abs([self.at(t)[2] for t in times]).max(0), jerk


class Planner:
    """Plans within the limits of J joints.

    Args:
        limits: Velocity, acceleration and jerk are obeyed; a start beyond them is brought inside.
    """

    def __init__(self, limits: Limits) -> None:
        joints = len(limits.low)
        self._limits = limits
        self._ruckig = Ruckig(joints)
        self._stop, self._way = InputParameter(joints), InputParameter(joints)
        zeros = [0.0] * joints
        for inputs in (self._stop, self._way):
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

    def stop(self, state: np.ndarray) -> Stop | PlainStop:
        """The fastest full stop from a state (3, J); a plain one where ruckig finds none.

        It is planned from position 0: in velocity control ruckig's extreme positions include 0 for
        every joint, wherever it starts.
        """
        trajectory = self._solve(self._ruckig, self._stop, np.stack([np.zeros_like(state[0]), *state[1:]]))
        return PlainStop(state, self._limits) if trajectory is None else Stop(trajectory, state[0])

    def way(self, state: np.ndarray, target: np.ndarray, least_s: float, speed: float = 1.0) -> Plan | None:
        """A way from one state (3, J) to another, all joints arriving together.

        Args:
            state, target: float64 (3, J). The target is clipped to velocities and accelerations allowed.
            least_s: The way takes at least this long [s], > 0.
            speed: Share of the velocity limits to use, 0 to 1.

        Returns:
            The plan; its duration is `least_s` where that is long enough. None if ruckig finds none.
        """
        top, push = self._limits.velocity * speed, self._limits.acceleration
        inputs = self._way
        inputs.max_velocity = top.tolist()
        inputs.minimum_duration = least_s
        inputs.target_position = target[0].tolist()
        velocity, acceleration = arrival(target[1], target[2], top, push, self._limits.jerk)
        inputs.target_velocity, inputs.target_acceleration = velocity.tolist(), acceleration.tolist()
        trajectory = self._solve(self._ruckig, inputs, state)
        if trajectory is None:  # a target that could only be reached, or left, beyond the velocity limit
            inputs.target_acceleration = [0.0] * len(top)
            trajectory = self._solve(self._ruckig, inputs, state)
        return None if trajectory is None else Plan(trajectory)

    def way_of(
        self, joint: int, state: np.ndarray, target: np.ndarray, least_s: float, speed: float
    ) -> Plan | None:
        """As `way`, for one joint: state and target are float64 (3,), and so are the plan's states."""
        solver, inputs = self._single[joint]
        top, push = self._limits.velocity[joint] * speed, self._limits.acceleration[joint]
        inputs.max_velocity = [float(top)]
        inputs.minimum_duration = least_s
        inputs.target_position = [float(target[0])]
        velocity, push = arrival(target[1], target[2], top, push, self._limits.jerk[joint])
        inputs.target_velocity = [float(velocity)]
        for acceleration in (float(push), 0.0):
            inputs.target_acceleration = [acceleration]
            trajectory = self._solve(solver, inputs, state[:, None])
            if trajectory is not None:
                return Plan(trajectory)
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
