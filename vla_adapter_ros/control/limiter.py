"""Motion that follows a reference and never leaves its limits, tick by tick.

Three ways to the next tick are tried in turn: onto the reference exactly; along
the smoothest or the fastest motion to where the reference will be (each joint by
itself: none waits for a slower one); and the next state of the full stop that
was verified before. A state counts only when the
quintic up to it keeps every limit, and a full stop from it stays inside the
position limits and the workspace box. So, by induction, there always is a way
to stop, and whatever cannot be trusted (a plan that fails, a reference that is
not finite) ends in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from vla_adapter_ros.control.limits import Limits, stoppable_velocity
from vla_adapter_ros.control.planner import FullStop, Plan, Planner
from vla_adapter_ros.control.quintic import control_points, peaks, state_at
from vla_adapter_ros.control.workspace import Box

_EXACT = 1e-9  # relative rounding allowed where a value may equal its limit
_MEETINGS = 6  # tries to find the time at which the reference can be met


Exceeded = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Which joints would exceed their velocity, acceleration and jerk limits, bool (J,) each."""


class Reference(Protocol):
    """Where the arm should be, as a function of time."""

    version: int
    """Changes whenever the function changes."""
    horizon_s: float
    """0: `at` is known ahead and smooth. Else it is a guess, to be met smoothly this far ahead [s]."""

    def at(self, time: float) -> np.ndarray:
        """State (3, J): position, velocity, acceleration."""
        ...


@dataclass(frozen=True)
class Step:
    """One tick of limited motion: the state (3, J) it ends in, and which limits were active.

    `target` (J,) is the reference's position brought inside position limits and box.
    """

    state: np.ndarray
    target: np.ndarray
    on_reference: bool = False
    position_limited: bool = False
    velocity_limited: bool = False
    acceleration_limited: bool = False
    jerk_limited: bool = False
    workspace_limited: bool = False


class _Pursuit(NamedTuple):
    """How one joint meets the reference: its version (None: the plan misses it), the plan, its start [s]."""

    version: int | None
    plan: Plan
    start: float


class Limiter:
    """The limited motion of J joints.

    Args:
        limits: What the motion keeps, between ticks too.
        dt: Length of a tick [s].
        box: Where the tool point may be; None: anywhere.
    """

    def __init__(self, limits: Limits, dt: float, box: Box | None = None) -> None:
        self._dt = dt
        self.state = np.zeros((3, len(limits.low)))
        """Newest state (3, J)."""
        self.constrain(limits, box)

    def constrain(self, limits: Limits, box: Box | None) -> None:
        """Change the limits. A stop that has begun is finished under the old ones."""
        self._limits, self._planned, self._box = limits, limits.planned(self._dt), box
        self._planner = Planner(self._planned)
        self._drop_pursuits()
        self._stop: FullStop | None = None  # from an earlier state, `_stopping` seconds ago
        self._stopping = 0.0
        self._smoothly = True  # no limit decided the newest tick

    def restart(self, state: np.ndarray) -> None:
        """Continue from `state` (3, J), from which a stop is known to be safe: one at rest, or an old one."""
        self.state = state
        self._drop_pursuits()
        self._stop, self._stopping, self._smoothly = None, 0.0, True

    @property
    def planned(self) -> Limits:
        """The fraction of the limits that plans use."""
        return self._planned

    @property
    def box(self) -> Box | None:
        """Where the tool point may be; None: anywhere."""
        return self._box

    @property
    def resting(self) -> bool:
        """Whether velocity and acceleration are exactly 0."""
        return not self.state[1:].any()

    def step(self, reference: Reference, time: float, speed: float = 1.0) -> Step:
        """Move for one tick, to be where the reference is at `time` [s], or on the way there.

        Args:
            reference: Need not be inside any limit, nor finite.
            time: Time of the reference at the end of the tick [s].
            speed: Share of the velocity limits that may be used, 0 to 1.
        """
        wanted, position_limited, workspace_limited = self._allowed(reference.at(time))
        if wanted is None:
            state = self.brake()
            return Step(state, state[0], position_limited=True)
        if reference.horizon_s > self._dt:
            first, over = self._smooth(reference, time, speed)
        else:
            first, over = wanted, self._exceeded(wanted, speed)
        late = np.logical_or.reduce(over)
        if not late.any() and self._reachable(first):
            on_reference = reference.horizon_s == 0.0
            self._drop_pursuits()
            self._smoothly = True
        else:
            on_reference = self._smoothly = False
            if reference.horizon_s > 0.0:
                candidate = self._toward_guess(reference, time, speed)
            else:
                # Where only the stop from there would leave the limits, every joint takes the longer motion.
                candidate = self._catching_up(reference, time, speed, wanted, late | ~late.any())
            # A plan's states need no check of their own: see limits.py.
            if candidate is None or not np.isfinite(candidate).all() or not self._reachable(candidate):
                self.brake()
        velocity, acceleration, jerk = (bool(part.any()) for part in over)
        return Step(
            state=self.state,
            target=wanted[0],
            on_reference=on_reference,
            position_limited=position_limited,
            velocity_limited=velocity,
            acceleration_limited=acceleration,
            jerk_limited=jerk,
            workspace_limited=workspace_limited,
        )

    def brake(self) -> np.ndarray:
        """Move for one tick along the verified stop; returns the new state (3, J)."""
        self._drop_pursuits()
        if self.resting:
            return self.state
        if self._stop is None:
            self._stop, self._stopping = self._planner.stop(self.state), 0.0
        self._stopping += self._dt
        self.state = self._stop.at(self._stopping)
        return self.state

    def stop_path(self) -> list[np.ndarray]:
        """States (3, J) of the verified stop, one per tick after the newest state; the last is at rest."""
        if self.resting:
            return []
        stop, since = self._stop, self._stopping
        if stop is None:
            stop, since = self._planner.stop(self.state), 0.0
        ticks = max(1, math.ceil((stop.duration - since) / self._dt - 1e-9))
        return [stop.at(since + (i + 1) * self._dt) for i in range(ticks)]

    def _allowed(self, wanted: np.ndarray) -> tuple[np.ndarray | None, bool, bool]:
        """The part of a reference state that limits and box permit; None if it is not finite."""
        if not np.isfinite(wanted).all():
            return None, True, False
        low, high = self._planned.low, self._planned.high
        position, velocity, acceleration = wanted
        inside = np.clip(position, low, high)
        fastest = stoppable_velocity(high - inside, self._planned)
        slowest = -stoppable_velocity(inside - low, self._planned)
        slow = np.clip(velocity, slowest, fastest)
        kept = (inside == position) & (slow == velocity)
        state = np.stack([inside, slow, np.where(kept, acceleration, 0.0)])
        blocked = False
        if self._box is not None:
            state, blocked = self._box.project(state)
            state[0] = np.clip(state[0], low, high)
        return state, not kept.all(), blocked

    def _smooth(self, reference: Reference, time: float, speed: float) -> tuple[np.ndarray, Exceeded]:
        """The first tick of the smoothest motion to the guessed reference, and what it exceeds.

        After a tick that limits had decided the whole motion must keep the limits
        of plans: else what begins too fast would be caught later, and swing.
        """
        horizon, planned = reference.horizon_s, self._planned
        ahead, _, _ = self._allowed(reference.at(time - self._dt + horizon))
        if ahead is None:
            return self.state, (np.ones(len(planned.low), dtype=bool),) * 3
        points = control_points(self.state, ahead, horizon)
        over: Exceeded | None = None
        if not self._smoothly:
            velocity, acceleration, jerk = peaks(points, horizon)
            over = (
                velocity > planned.velocity * speed,
                acceleration > planned.acceleration,
                jerk > planned.jerk,
            )
        after = state_at(points, horizon, self._dt)[2]
        # Only the first tick of each such plan is gone: constant jerk spares the arm its inner variation.
        position, velocity, acceleration = self.state
        dt, jerk = self._dt, (after - acceleration) / self._dt
        state = np.stack(
            [
                position + velocity * dt + acceleration * dt**2 / 2 + jerk * dt**3 / 6,
                velocity + acceleration * dt + jerk * dt**2 / 2,
                after,
            ]
        )
        if over is None or not np.any(over):
            over = self._exceeded(state, speed)
        return state, over

    def _exceeded(self, state: np.ndarray, speed: float) -> Exceeded:
        """Where velocity, acceleration or jerk would be too large on the way to a state, or right after."""
        points = control_points(self.state, state, self._dt)
        velocity, acceleration, jerk = peaks(points, self._dt)
        planned, limits = self._planned, self._limits
        # Taking the acceleration away still changes the velocity.
        later = np.abs(state[1] + state[2] * np.abs(state[2]) / (2 * planned.jerk))
        rounding = 1 + _EXACT
        return (
            (velocity > limits.velocity * speed * rounding)
            | (np.maximum(np.abs(state[1]), later) > planned.velocity * speed * rounding),
            (acceleration > limits.acceleration * rounding)
            | (np.abs(state[2]) > planned.acceleration * rounding),
            jerk > limits.jerk * rounding,
        )

    def _reachable(self, state: np.ndarray) -> bool:
        """Go to a state if a full stop from it stays inside; False leaves everything as it was."""
        stop = None
        if state[1:].any():
            stop = self._planner.stop(state)
            lowest, highest = stop.extent()
        else:
            lowest = highest = state[0]
        here, planned = self.state[0], self._planned
        # Who stands outside may come back, but not go farther.
        if (lowest < np.minimum(planned.low, here) - _EXACT).any():
            return False
        if (highest > np.maximum(planned.high, here) + _EXACT).any():
            return False
        if self._box is not None and not self._box.contains(here, state, stop):
            return False
        self.state, self._stop, self._stopping = state, stop, 0.0
        return True

    def _catching_up(
        self, reference: Reference, time: float, speed: float, wanted: np.ndarray, late: np.ndarray
    ) -> np.ndarray | None:
        """The next state: on the reference where a joint can be, else on its fastest motion to meet it."""
        before, state = time - self._dt, wanted.copy()
        for joint in range(len(late)):
            if not late[joint]:
                self._pursuits[joint] = None
                continue
            pursuit = self._pursuits[joint]
            if (
                pursuit is None
                or pursuit.version != reference.version
                or time > pursuit.start + pursuit.plan.duration + 1e-9
            ):
                pursuit = self._pursuits[joint] = self._meeting(reference, joint, before, speed)
                if pursuit is None:
                    return None
            state[:, joint] = pursuit.plan.at(time - pursuit.start)[:, 0]
        return state

    def _meeting(self, reference: Reference, joint: int, before: float, speed: float) -> _Pursuit | None:
        """A joint's motion from its state at `before` to where the reference will be when it arrives."""
        duration, pursuit = self._dt, None
        for _ in range(_MEETINGS):
            target, _, _ = self._allowed(reference.at(before + duration))
            if target is None:
                return None
            plan = self._planner.move_joint(joint, self.state[:, joint], target[:, joint], duration, speed)
            if plan is None:
                return None
            met = plan.duration <= duration + 1e-9
            pursuit = _Pursuit(reference.version if met else None, plan, before)
            if met:
                break
            duration = math.ceil(plan.duration / self._dt - 1e-6) * self._dt
        return pursuit  # one that misses serves for a tick

    def _toward_guess(self, reference: Reference, time: float, speed: float) -> np.ndarray | None:
        """The first state of a motion to where a guessed reference will be, all joints arriving together."""
        duration = max(reference.horizon_s, self._dt)
        target, _, _ = self._allowed(reference.at(time - self._dt + duration))
        plan = None if target is None else self._planner.move(self.state, target, duration, speed)
        return None if plan is None else plan.at(self._dt)

    def _drop_pursuits(self) -> None:
        self._pursuits: list[_Pursuit | None] = [None] * len(self.state[0])
