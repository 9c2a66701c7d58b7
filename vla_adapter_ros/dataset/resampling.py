"""Rows at another rate: which rows of an episode stand for those of a slower grid."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract

SAME_RATE = 0.01  # rates that differ by less are one rate whose times are stretched: 29.97 and 30


def picked_rows(length: int, fps: float, rate_hz: float) -> np.ndarray:
    """Rows, in order, that are shown at another rate.

    Row k is the newest one at k / rate_hz. Rates that differ by less than 1 % have the same rows.

    Args:
        length: Rows of the episode, > 0.
        fps, rate_hz: Their rate and the wanted one [Hz].
    """
    if abs(rate_hz / fps - 1) <= SAME_RATE:
        return np.arange(length)
    count = int((length - 1) / fps * rate_hz + 1e-6) + 1
    return np.minimum((np.arange(count) * fps / rate_hz + 1e-6).astype(int), length - 1)


def merged_actions(actions: np.ndarray, picks: np.ndarray, contract: Contract | None) -> np.ndarray:
    """Actions of the picked rows: set-points as they are, sums of displacements, means of speeds.

    Sums and means go from each picked row to the next.

    Args:
        actions: float (T, A), in the contract's order.
        picks: Rows, (K,), rising.
        contract: Says what the actions are; None: set-points.
    """
    if contract is None or not contract.action.space.endswith("_delta") or len(picks) == len(actions):
        return actions[picks]
    found = actions[picks].copy()
    lengths = np.diff([*picks, len(actions)])
    for place in contract.arm_places:
        dimension = contract.action.dimensions[place]
        speed = dimension.unit.si.endswith("/s") or abs(dimension.scale * contract.rate_hz - 1) < SAME_RATE
        total = np.add.reduceat(actions[:, place], picks)
        found[:, place] = total / lengths if speed else total
    return found
