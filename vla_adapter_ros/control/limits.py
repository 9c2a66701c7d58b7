"""The limits of the arm's joints, and the fraction of them that a plan may use.

Motion is decided tick by tick and sent as positions, velocities and
accelerations, which a joint trajectory controller joins by quintics. Such a
quintic has the least jerk among all motions with its ends; its jerk is the
projection of a plan's own jerk on quadratics. Where the plan switches its jerk
within a tick, the projection overshoots it by at most `_JERK_OVERSHOOT`, and
acceleration, velocity and position stray by at most the constants below
(suprema of the projection's kernel, computed numerically). Plans get limits
reduced by just that, so that what is interpolated keeps the full ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.schema import JERK_PER_ACCELERATION

TOLERANCE = 1e-3
"""Relative excess over a limit that counts as kept: finite differences of samples are no more exact."""

_JERK_OVERSHOOT = 2.18  # largest jerk of the quintic over the largest jerk of the plan
_STRAY_ACCELERATION = 0.209  # times jerk dt
_STRAY_VELOCITY = 0.0222  # times jerk dt^2
_STRAY_POSITION = 0.0063  # times jerk dt^3
_INSET = 1e-5  # rad or m: more than all rounding on the way to a set-point, so that none lies outside
_MOST_RESERVE = 0.25  # of the acceleration limit: at long ticks the jerk is reduced instead


class JointRanges(Protocol):
    """What limits a robot description brings: float64 (J,) each, rad (m) and per s."""

    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray


@dataclass(frozen=True)
class Limits:
    """Limits of J joints, float64 (J,) each, in rad or m, per s, per s^2, per s^3."""

    low: np.ndarray
    high: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray

    @staticmethod
    def of(contract: Contract) -> Limits:
        """The limits of the contract's arm joints, in their order."""
        limits = [contract.limits[joint] for joint in contract.arm_joints]
        return Limits(
            low=np.array([limit.position[0] for limit in limits]),
            high=np.array([limit.position[1] for limit in limits]),
            velocity=np.array([limit.velocity for limit in limits]),
            acceleration=np.array([limit.acceleration for limit in limits]),
            jerk=np.array([limit.jerk or JERK_PER_ACCELERATION * limit.acceleration for limit in limits]),
        )

    def tightened(self, ranges: JointRanges) -> Limits:
        """These limits, or those of the robot description where they are tighter."""
        return Limits(
            low=np.maximum(self.low, ranges.low),
            high=np.minimum(self.high, ranges.high),
            velocity=np.minimum(self.velocity, ranges.velocity),
            acceleration=self.acceleration,
            jerk=self.jerk,
        )

    def planned(self, dt: float) -> Limits:
        """Limits for plans that are sampled every `dt` [s] and joined by quintics."""
        jerk = np.minimum(
            self.jerk / _JERK_OVERSHOOT, _MOST_RESERVE * self.acceleration / (_STRAY_ACCELERATION * dt)
        )
        stray = np.minimum(_STRAY_POSITION * jerk * dt**3 + _INSET, (self.high - self.low) / 4)
        return Limits(
            low=self.low + stray,
            high=self.high - stray,
            velocity=np.maximum(self.velocity - _STRAY_VELOCITY * jerk * dt**2, self.velocity / 2),
            acceleration=self.acceleration - _STRAY_ACCELERATION * jerk * dt,
            jerk=jerk,
        )


def stoppable_velocity(room: np.ndarray, limits: Limits) -> np.ndarray:
    """Largest velocity from which a stop needs no more than `room`, starting with no acceleration.

    Args:
        room: Way left, float64 (J,), >= 0.
        limits: Acceleration a and jerk j of the stop.

    Returns:
        float64 (J,), from v^2 / (2 a) + v a / (2 j) = room: exact for stops that reach a, else too low.
    """
    a, b = limits.acceleration, limits.acceleration**2 / limits.jerk
    return (np.sqrt(b**2 + 8 * a * room) - b) / 2
