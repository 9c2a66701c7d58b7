"""What the tests compare with: composed poses, deltas between poses, and the longest full stop."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract.enums import Frame
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.rotation import Pose, rotation_vector


def compose(a: Pose, b: Pose) -> Pose:
    """`b`, given in the frame of `a`, in the frame that `a` is given in."""
    return Pose(a.position + a.rotation @ b.position, a.rotation @ b.rotation)


def inverse(pose: Pose) -> Pose:
    """The pose that composed with `pose` gives the identity, from either side."""
    return Pose(-pose.rotation.T @ pose.position, pose.rotation.T)


def delta_between(a: Pose, b: Pose, frame: Frame) -> np.ndarray:
    """The delta (6,) with `moved(a, delta, frame)` equal to `b`; it rotates along the shorter arc."""
    if frame is Frame.TOOL:
        rotation, displacement = a.rotation.T @ b.rotation, a.rotation.T @ (b.position - a.position)
    else:
        rotation, displacement = b.rotation @ a.rotation.T, b.position - a.position
    return np.concatenate([displacement, rotation_vector(rotation)])


def stopping_time(limits: Limits, dt: float) -> float:
    """Longest time that a full stop can take [s], sampled every `dt` [s]: from any state inside the limits.

    First the acceleration goes to zero, at worst raising the velocity to its limit, then a ramp of
    acceleration takes the velocity away.
    """
    plan = limits.planned(dt)
    peak = np.minimum(plan.acceleration, np.sqrt(plan.velocity * plan.jerk))
    ramp = plan.velocity / peak + peak / plan.jerk
    return float((plan.acceleration / plan.jerk + ramp).max() + dt)
