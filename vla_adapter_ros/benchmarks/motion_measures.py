"""How smooth a motion is, how far it is from a reference, and how late."""

from __future__ import annotations

import numpy as np

LONGEST_DELAY_S = 0.6


def jerk(positions: np.ndarray, dt: float) -> np.ndarray:
    """Third derivative by central differences of the positions alone; nothing is filtered.

    (q[i+2] - 2 q[i+1] + 2 q[i-1] - q[i-2]) / (2 dt^3), exact for cubics.

    Args:
        positions: float64 (N, J), N >= 5, `dt` [s] apart.

    Returns:
        float64 (N - 4, J), per s^3.
    """
    q = positions
    return (q[4:] - 2 * q[3:-1] + 2 * q[1:-3] - q[:-4]) / (2 * dt**3)


def velocity_steps(velocities: np.ndarray, at: list[int], span: int) -> np.ndarray:
    """Largest change of velocity between two neighboring samples after each hand-over.

    Args:
        velocities: float64 (N, J), per s.
        at: Samples at which the hand-overs happened.
        span: Samples that are looked at after each.

    Returns:
        float64 (len(at),): over all joints.
    """
    steps = np.abs(np.diff(velocities, axis=0)).max(axis=1)
    return np.array([steps[max(i - 1, 0) : i + span].max() for i in at if i < len(steps)])


def shifted_errors(
    driven: np.ndarray, dt: float, reference: np.ndarray, stamps: np.ndarray
) -> tuple[np.ndarray, int]:
    """Squared distances from a reference, for every delay from 0 to `LONGEST_DELAY_S`.

    The reference counts at its own stamps only, so it is never interpolated.

    Args:
        driven: Motion from time 0 on, float64 (N, J), `dt` [s] apart.
        reference: float64 (K, J).
        stamps: Times of the reference [s] (K,).

    Returns:
        float64 (D,): sum over the stamps of |driven(stamp + i dt) - reference|^2, i = 0 ... D - 1; and
        the number of stamps that were summed: those for which every delay was driven.
    """
    delays = np.arange(round(LONGEST_DELAY_S / dt) + 1)
    index = np.round(stamps / dt).astype(int)
    used = index + delays[-1] < len(driven)
    index, reference = index[used], reference[used]
    sums = [float(((driven[index + delay] - reference) ** 2).sum()) for delay in delays]
    return np.array(sums), len(index)


def path_distances(driven: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Distance of every reference point from the driven curve, whenever it was there: (K,)."""
    return np.array([np.linalg.norm(driven - point, axis=1).min() for point in reference])
