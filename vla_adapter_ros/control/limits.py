"""Motion that never leaves the position, velocity and acceleration limits.

Within a tick the acceleration is constant, so the motion between two ticks is
a parabola: sent as positions and velocities it is exactly what a joint
trajectory controller's cubic spline reproduces, and a velocity between two
ticks never exceeds the larger of both ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract


@dataclass(frozen=True)
class Limits:
    """Limits of J joints, float64 (J,) each, in rad or m, per s, per s^2."""

    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @staticmethod
    def of(contract: Contract) -> Limits:
        """The limits of the contract's arm joints, in their order."""
        limits = [contract.limits[joint] for joint in contract.arm_joints]
        return Limits(
            low=np.array([limit.position[0] for limit in limits]),
            high=np.array([limit.position[1] for limit in limits]),
            velocity=np.array([limit.velocity for limit in limits]),
            acceleration=np.array([limit.acceleration for limit in limits]),
        )


@dataclass(frozen=True)
class Step:
    """One tick of limited motion: where it ends, and which limits were active."""

    position: np.ndarray
    velocity: np.ndarray
    position_limited: bool
    velocity_limited: bool
    acceleration_limited: bool


def limited_step(
    position: np.ndarray,
    velocity: np.ndarray,
    target: np.ndarray,
    target_velocity: np.ndarray,
    limits: Limits,
    dt: float,
) -> Step:
    """Move from (position, velocity) towards a moving target for one tick.

    Args:
        position, velocity: State before the tick, float64 (J,) each.
        target, target_velocity: Reference at the end of the tick, float64 (J,) each, finite.
        limits: Limits of the joints.
        dt: Length of the tick [s], > 0.

    Returns:
        The state after the tick. If `position` was within the limits with room
        to brake, so is the result; a position outside only moves inwards.
    """
    inside = np.clip(target, limits.low, limits.high)
    error = inside - position
    # Close the gap within two ticks, but no faster than braking in time allows.
    catch_up = np.minimum(np.abs(error) / (2 * dt), 0.9 * np.sqrt(2 * limits.acceleration * np.abs(error)))
    wanted = target_velocity + np.sign(error) * catch_up

    # Fastest velocities from which both position limits can still be kept.
    up = _braking_velocity(limits.high - position, velocity, limits.acceleration, dt)
    down = -_braking_velocity(position - limits.low, -velocity, limits.acceleration, dt)
    fast = np.clip(wanted, -limits.velocity, limits.velocity)
    safe = np.clip(fast, down, up)
    reach = limits.acceleration * dt
    after = np.clip(safe, velocity - reach, velocity + reach)
    return Step(
        position=position + (velocity + after) / 2 * dt,
        velocity=after,
        position_limited=bool((inside != target).any() or (safe != fast).any()),
        velocity_limited=bool((fast != wanted).any()),
        acceleration_limited=bool((after != safe).any()),
    )


def _braking_velocity(
    room: np.ndarray, velocity: np.ndarray, acceleration: np.ndarray, dt: float
) -> np.ndarray:
    """Largest velocity at the end of a tick that leaves room to brake.

    Solves (v + v') dt / 2 + v'^2 / (2 a) + v' dt / 2 <= room for v'. The last
    term keeps the promise for the next tick: braking by a dt is then possible.
    """
    left = np.maximum(room - velocity * dt / 2, 0.0)
    return acceleration * (np.sqrt(dt**2 + 2 * left / acceleration) - dt)


def stopping_path(
    position: np.ndarray, velocity: np.ndarray, limits: Limits, dt: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """States of a full stop at the acceleration limit, one per tick; the last velocity is exactly 0."""
    path = []
    while velocity.any():
        after = np.sign(velocity) * np.maximum(np.abs(velocity) - limits.acceleration * dt, 0.0)
        position = position + (velocity + after) / 2 * dt
        velocity = after
        path.append((position, velocity))
    return path
