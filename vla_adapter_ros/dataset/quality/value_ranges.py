"""How far the values of all rows reach: what never moves, and what lies far out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.dataset.quality.findings import Finding, Level, listed, skip
from vla_adapter_ros.dataset.quality.samples import AllRows
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, QualitySettings, grade

HARDLY_MOVES = 1e-4  # rad, m or 1: what stays within this all the time is as good as constant


def check_still_values(
    names: Sequence[str], spans: np.ndarray, settings: QualitySettings = DEFAULTS
) -> Finding:
    """State values that are the same in all episodes: they have no range to normalize by.

    Args:
        names: Of the S values.
        spans: Their largest value less their smallest, (S,).
        settings: Thresholds.
    """
    still = [n for n, span in zip(names, spans, strict=True) if span <= settings.still_range]
    text = f"{len(still)} of {len(names)} state values are the same in all episodes{listed(still)}"
    return grade("still_values", len(still) / max(len(names), 1), settings, text)


def check_constant(rows: AllRows, settings: QualitySettings = DEFAULTS) -> Finding:
    """State and action values that never change, or so little that normalization would stretch noise."""
    contract = rows.contract
    arm = contract.arm_places
    if (np.ptp(rows.action[:, arm], axis=0) == 0).all():
        text = "the arm's actions never change; allowed is a motion"
        return Finding("constant_values", Level.FAIL, len(arm), text)
    constant, noisy = [], []
    for prefix, names, values in (
        ("", contract.state_names, rows.state),
        ("action ", contract.action_names, rows.action),
    ):
        binary = [g.dimension for g in contract.grippers if prefix and g.mode == "binary"]
        low, high = np.quantile(values, [0.01, 0.99], axis=0)
        for name, whole, width in zip(names, np.ptp(values, axis=0), high - low, strict=True):
            if whole == 0:
                constant.append(prefix + name)
            elif width < HARDLY_MOVES and name not in binary:
                noisy.append(prefix + name)
    text = f"{len(constant)} values never change{listed(constant)}"
    if noisy:
        text += f"; {len(noisy)} hardly do, less than {HARDLY_MOVES:g} from q01 to q99{listed(noisy)}"
    return grade("constant_values", len(constant) + len(noisy), settings, text)


def check_outliers(
    name: str, names: Sequence[str], values: np.ndarray, settings: QualitySettings = DEFAULTS
) -> Finding:
    """Values far beyond q01 and q99, which normalization stretches; binary ones are to be left out."""
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    moving = 2 * half >= HARDLY_MOVES
    if not moving.any():
        return skip(name, "nothing moves")
    far = np.abs(values[:, moving] - middle[moving]) / half[moving]
    fraction = float((far > 1).any(axis=1).mean())
    row, column = np.unravel_index(int(far.argmax()), far.shape)
    worst = float(far[row, column])
    at = np.flatnonzero(moving)[column]
    text = (
        f"{fraction:.1%} of rows lie beyond q01 or q99; farthest {names[at]} = {values[row, at]:.4g} "
        f"({worst:.1f} half widths, q01 {low[at]:.4g}, q99 {high[at]:.4g})"
    )
    return grade(name, worst, settings, text)
