"""Checks of all rows of one or several data sets together: units, speeds, grippers, and those beside."""

from __future__ import annotations

import math

import numpy as np

from vla_adapter_ros.contract.schema import Gripper
from vla_adapter_ros.dataset.quality.findings import Finding, Level, skip
from vla_adapter_ros.dataset.quality.joint_order import check_joint_order
from vla_adapter_ros.dataset.quality.samples import AllRows
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, QualitySettings, grade
from vla_adapter_ros.dataset.quality.value_ranges import check_constant, check_outliers

_FARTHEST = {"rad": 4 * math.pi, "m": 10.0}  # no joint is so far from its zero, whatever its limits say
_DEGREES = 180 / math.pi


def validate_rows(rows: AllRows, settings: QualitySettings = DEFAULTS) -> list[Finding]:
    """Make all checks of the rows of all episodes together."""
    contract = rows.contract
    binary = [gripper.dimension for gripper in contract.grippers if gripper.mode == "binary"]
    columns = [n for n, name in enumerate(contract.action_names) if name not in binary]
    names = [contract.action_names[n] for n in columns]
    return [
        check_units(rows, settings),
        check_speeds(rows, settings),
        *check_grippers(rows, settings),
        check_joint_order(rows, settings),
        check_constant(rows, settings),
        check_outliers("outliers_state", contract.state_names, rows.state, settings),
        check_outliers("outliers_action", names, rows.action[:, columns], settings),
    ]


def check_units(rows: AllRows, settings: QualitySettings = DEFAULTS) -> Finding:
    """Joint positions against the limits of the contract: degrees or millimeters are told by their size."""
    contract, found = rows.contract, []
    columns = [
        (d.name, contract.limits[joint].position, d.unit.si, rows.state[:, n])
        for n, (d, joint) in enumerate(zip(contract.state, contract.state_joints, strict=True))
        if d.field == "position" and joint in contract.limits
    ]
    if contract.action.space == "joint_position":
        columns += [
            (f"action {d.name}", contract.limits[joint].position, d.unit.si, rows.action[:, n] * d.scale)
            for n, (d, joint) in enumerate(
                zip(contract.action.dimensions, contract.action_joints, strict=True)
            )
            if joint in contract.limits
        ]
    if not columns:
        return skip("units", "no joint positions with limits in the contract")
    for name, (low, high), unit, values in columns:
        outside = float(((values < low) | (values > high)).mean())
        found.append((outside, name, low, high, float(values.min()), float(values.max())))
        farthest = float(np.abs(values).max())
        if farthest > _FARTHEST.get(unit, math.inf):
            text = (
                f"{name} is {values.min():.4g} to {values.max():.4g} and the contract says {unit}: "
                f"{'degrees or counts of a servo' if unit == 'rad' else 'millimeters'}? Allowed is up to "
                f"{_FARTHEST[unit]:.3g} {unit}, converted with a mapping"
            )
            return Finding("units", Level.FAIL, outside, text)
        factor, other = (_DEGREES, "degrees") if unit == "rad" else (1000.0, "millimeters")
        slack = 0.1 * (high - low)
        fits = (values / factor >= low - slack).all() and (values / factor <= high + slack).all()
        large = np.abs(values).max() > 1.5 * max(abs(low), abs(high))
        if outside > 0.5 and large and fits:
            text = (
                f"{name} is {values.min():.4g} to {values.max():.4g}: {other}? "
                f"Allowed is {unit}, {low:g} to {high:g}"
            )
            return Finding("units", Level.FAIL, outside, text)
    outside, name, low, high, lowest, highest = max(found)
    span = f"{lowest:.4g} to {highest:.4g}, contract {low:g} to {high:g}"
    text = f"{outside:.1%} of {name} out of its range ({span})"
    return grade("units", outside, settings, text)


def check_speeds(rows: AllRows, settings: QualitySettings = DEFAULTS) -> Finding:
    """Joint deltas as speeds against the velocity limits of the contract."""
    contract = rows.contract
    space = contract.action.space
    if space != "joint_delta" or contract.action.delta_reference == "chunk_start":
        return skip("speeds", f"{space} commands no steps of joints")
    ratios = [
        (float(np.quantile(np.abs(rows.action[:, n]), 0.99) * d.scale * contract.rate_hz)
         / contract.limits[joint].velocity, d.name)
        for n, (d, joint) in enumerate(zip(contract.action.dimensions, contract.action_joints, strict=True))
        if joint in contract.limits
    ]  # fmt: skip
    if not ratios:
        return skip("speeds", "no limits in the contract")
    worst, name = max(ratios)
    text = f"{name} is commanded at {worst:.0%} of its velocity limit (99 % of rows are slower)"
    wrong = worst > settings.limits_of("speeds")[1]
    return grade("speeds", worst, settings, text + ("; is `scale` right?" if wrong else ""))


def check_grippers(rows: AllRows, settings: QualitySettings = DEFAULTS) -> list[Finding]:
    """Each gripper's commands against the contract's open, closed and mode."""
    if not rows.contract.grippers:
        return [skip("gripper", "no gripper in the contract")]
    alone = len(rows.contract.grippers) == 1
    return [
        _check_gripper("" if alone else f"{gripper.dimension}: ", gripper, values, rows, settings)
        for gripper, values in zip(
            rows.contract.grippers, rows.action[:, rows.contract.gripper_places].T, strict=True
        )
    ]


def _check_gripper(
    which: str, gripper: Gripper, values: np.ndarray, rows: AllRows, settings: QualitySettings
) -> Finding:
    low, high = sorted((gripper.open, gripper.closed))
    near = 0.02 * (high - low)
    convention = f"open {gripper.open:g}, closed {gripper.closed:g}, {gripper.mode}"
    lowest, highest = float(values.min()), float(values.max())
    if gripper.mode == "binary":
        off = float(((np.abs(values - low) > near) & (np.abs(values - high) > near)).mean())
    else:
        off = float(((values < low - near) | (values > high + near)).mean())
    span = f"{lowest:g} to {highest:g}; the contract says {convention}"
    if off > settings.limits_of("gripper")[1]:
        return grade("gripper", off, settings, f"{which}{off:.1%} of commands do not fit: they are {span}")
    if highest - lowest < 0.2 * (high - low):
        text = f"{which}it neither opens nor closes: commands are {span}"
        return grade("gripper", off, settings, text, at_least=Level.WARN)
    starts = values[np.unique(rows.first)]
    closed = float((np.abs(starts - gripper.closed) < np.abs(starts - gripper.open)).mean())
    text = f"{which}{off:.1%} of commands do not fit ({span})"
    if closed > 0.9:
        text += f"; {closed:.0%} of episodes begin closed: are open and closed swapped?"
    return grade("gripper", off, settings, text, at_least=Level.WARN if closed > 0.9 else Level.PASS)
