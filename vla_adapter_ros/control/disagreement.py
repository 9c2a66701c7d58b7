"""How far neighboring chunks differ where they speak of the same times."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract


def disagreement(
    times_before: np.ndarray, before: np.ndarray, times: np.ndarray, rows: np.ndarray, scale: Sequence[float]
) -> float:
    """How far two chunks differ where they speak of the same times.

    Args:
        times_before, before: Of the older one, rising (G,) [s], and its rows (G, A).
        times, rows: Of the newer one, (H,) [s] and (H, A).
        scale: Per column, how far it moves in one row at its largest speed (A,); infinite: it does not count.

    Returns:
        Root mean square of the difference over common times and columns, 1 being one row at full speed;
        NaN where they have no time in common.
    """
    counted = np.isfinite(scale)
    if not len(times_before) or before.shape[1:] != rows.shape[1:] or not counted.any():
        return math.nan
    common = (times >= times_before[0] - 1e-9) & (times <= times_before[-1] + 1e-9)
    if not common.any():
        return math.nan
    columns = before[:, counted].T
    earlier = np.stack([np.interp(times[common], times_before, column) for column in columns], axis=1)
    differences = (rows[common][:, counted] - earlier) / np.asarray(scale, float)[counted]
    return float(np.sqrt(np.mean(differences**2)))


def full_speed_rows(contract: Contract) -> list[float]:
    """How far each action dimension moves in one row at its largest speed (A,); infinite for grippers."""
    grippers = {gripper.dimension for gripper in contract.grippers}
    rows = []
    for dimension, joint in zip(contract.action.dimensions, contract.action_joints, strict=True):
        if dimension.name in grippers:
            rows.append(math.inf)
        elif joint in contract.limits and not contract.action.space.is_delta:
            rows.append(contract.limits[joint].velocity / contract.rate_hz / dimension.scale)
        else:  # displacements: what the data calls 1
            rows.append(1.0 if dimension.scale != 1.0 else 0.01)
    return rows
