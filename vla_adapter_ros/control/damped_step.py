"""One step of inverse kinematics: damped least squares within joint limits.

Everywhere here the rows for turning, and angles left to turn, are weighted by
`METERS_PER_RAD`, so that lengths and angles can be added.
"""

from __future__ import annotations

import math

import numpy as np

METERS_PER_RAD = 0.3
"""How turning is weighed against moving where both cannot be had [m/rad]: about the reach of a hand."""
POSITION_TOLERANCE_M = 1e-6
ROTATION_TOLERANCE_RAD = 1e-6
MAX_STEP_RAD = 0.2  # per joint and iteration: the Jacobian holds near by only
SINGULAR_BELOW = 0.03  # singular value of the weighted Jacobian [m/rad] below which damping begins
MAX_DAMPING = 0.01  # its root at a singular value of 0 [m/rad]


def norm(vector: np.ndarray) -> float:
    """Length of a vector."""
    return math.sqrt(vector @ vector)


def converged(error: np.ndarray) -> bool:
    """Whether a weighted error (6,) is within both tolerances."""
    near = norm(error[:3]) < POSITION_TOLERANCE_M
    return near and norm(error[3:]) < ROTATION_TOLERANCE_RAD * METERS_PER_RAD


def damped_step(
    jacobian: np.ndarray,
    error: np.ndarray,
    joints: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    extra: float,
) -> np.ndarray:
    """A step towards the target, inside the limits.

    Args:
        jacobian: Weighted Jacobian (6, J).
        error: Weighted error to the target (6,) [m].
        joints: Where the arm is, float64 (J,).
        low, high: Limits, float64 (J,) each.
        extra: Damping beside that near singular postures [m^2/rad^2].

    Returns:
        float64 (J,), none larger than `MAX_STEP_RAD`. Joints that it takes to a
        limit go there and are dropped; the others make up for them.
    """
    step = np.zeros(len(joints))
    free = np.ones(len(joints), dtype=bool)
    while free.any():
        part = _pseudo_inverse(jacobian[:, free], error - jacobian @ np.where(free, 0.0, step), extra)
        part = part * min(1.0, MAX_STEP_RAD / max(float(np.abs(part).max()), 1e-12))
        step[free] = part
        beyond = free & ((joints + step > high) | (joints + step < low))
        if not beyond.any():
            break
        step[beyond] = np.clip(joints + step, low, high)[beyond] - joints[beyond]
        free &= ~beyond
    return step


def _pseudo_inverse(jacobian: np.ndarray, error: np.ndarray, extra: float) -> np.ndarray:
    left, values, right = np.linalg.svd(jacobian, full_matrices=False)
    lack = np.clip(1.0 - (values / SINGULAR_BELOW) ** 2, 0.0, 1.0)
    damping = MAX_DAMPING**2 * lack + extra
    return right.T @ (values / (values**2 + damping + 1e-18) * (left.T @ error))
