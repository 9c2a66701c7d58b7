"""Checks of all rows of one or several data sets together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.schema import Gripper
from vla_adapter_ros.dataset.quality.findings import Finding, Level, listed, skip
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade

HARDLY_MOVES = 1e-4  # rad, m or 1: what stays within this all the time is as good as constant
_FARTHEST = {"rad": 4 * math.pi, "m": 10.0}  # no joint is so far from its zero, whatever its limits say
_DEGREES = 180 / math.pi
_OFF_PERIOD = 0.25  # of the period: a gap is regular within it
_WRONG_RATE = 0.25  # the true rate may differ from the nominal one by this share
_OTHER_EPISODES = 6.0  # spreads: a joint this far from where it is in other episodes is out of place
_LIKE_ANOTHER = 3.0  # spreads: a joint this near to another one's place has been taken for it
_SPREAD_FLOOR = 0.05  # smallest spread between episodes [rad or m]
_FEWEST_EPISODES = 4
_DEFAULTS = QualitySettings()


class AllRows(Protocol):
    """N rows of several episodes, one episode after the other, in the contract's names, order and units."""

    @property
    def state(self) -> np.ndarray:
        """States, float64 (N, S)."""

    @property
    def action(self) -> np.ndarray:
        """Actions, float64 (N, A)."""

    @property
    def episode(self) -> np.ndarray:
        """Episode of each row, int64 (N,)."""

    @property
    def first(self) -> np.ndarray:
        """First row of the episode of each row, int64 (N,)."""

    @property
    def contract(self) -> Contract:
        """Of the robot."""


@dataclass(frozen=True)
class JoinedRows:
    """Rows as `AllRows` describes them."""

    state: np.ndarray
    action: np.ndarray
    episode: np.ndarray
    first: np.ndarray
    contract: Contract


def judge_all_rows(rows: AllRows, settings: QualitySettings = _DEFAULTS) -> list[Finding]:
    """Everything that the rows of all episodes tell together."""
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


def check_still_values(
    names: Sequence[str], spans: np.ndarray, settings: QualitySettings = _DEFAULTS
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


def check_constant(rows: AllRows, settings: QualitySettings = _DEFAULTS) -> Finding:
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
    name: str, names: Sequence[str], values: np.ndarray, settings: QualitySettings = _DEFAULTS
) -> Finding:
    """Values far beyond q01 and q99, which normalization stretches; binary ones are to be left out."""
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    moving = 2 * half >= HARDLY_MOVES
    if not moving.any():
        return skip(name, "nothing moves")
    far = np.abs(values[:, moving] - middle[moving]) / half[moving]
    share = float((far > 1).any(axis=1).mean())
    row, column = np.unravel_index(int(far.argmax()), far.shape)
    worst = float(far[row, column])
    at = np.flatnonzero(moving)[column]
    text = (
        f"{share:.1%} of rows lie beyond q01 or q99; farthest {names[at]} = {values[row, at]:.4g} "
        f"({worst:.1f} half widths, q01 {low[at]:.4g}, q99 {high[at]:.4g})"
    )
    return grade(name, worst, settings, text)


def check_units(rows: AllRows, settings: QualitySettings = _DEFAULTS) -> Finding:
    """Joint positions against the limits of the contract: degrees or millimeters are told by their size."""
    contract, found = rows.contract, []
    columns = [
        (d.name, contract.limits[joint].position, d.unit, rows.state[:, n])
        for n, (d, joint) in enumerate(zip(contract.state, contract.state_joints, strict=True))
        if d.field == "position" and joint in contract.limits
    ]
    if contract.action.space == "joint_position":
        columns += [
            (f"action {d.name}", contract.limits[joint].position, d.unit, rows.action[:, n] * d.scale)
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
        most = float(np.abs(values).max())
        if most > _FARTHEST.get(unit, math.inf):
            text = (
                f"{name} is {values.min():.4g} to {values.max():.4g} and the contract says {unit}: "
                f"{'degrees or counts of a servo' if unit == 'rad' else 'millimetres'}? Allowed is up to "
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
    outside, name, low, high, least, most = max(found)
    text = (
        f"{outside:.1%} of {name} out of its range ({least:.4g} to {most:.4g}, contract {low:g} to {high:g})"
    )
    return grade("units", outside, settings, text)


def check_speeds(rows: AllRows, settings: QualitySettings = _DEFAULTS) -> Finding:
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


def check_grippers(rows: AllRows, settings: QualitySettings = _DEFAULTS) -> list[Finding]:
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
    least, most = float(values.min()), float(values.max())
    if gripper.mode == "binary":
        off = float(((np.abs(values - low) > near) & (np.abs(values - high) > near)).mean())
    else:
        off = float(((values < low - near) | (values > high + near)).mean())
    span = f"{least:g} to {most:g}; the contract says {convention}"
    if off > settings.limits_of("gripper")[1]:
        return grade("gripper", off, settings, f"{which}{off:.1%} of commands do not fit: they are {span}")
    if most - least < 0.2 * (high - low):
        text = f"{which}it neither opens nor closes: commands are {span}"
        return grade("gripper", off, settings, text, least=Level.WARN)
    starts = values[np.unique(rows.first)]
    closed = float((np.abs(starts - gripper.closed) < np.abs(starts - gripper.open)).mean())
    text = f"{which}{off:.1%} of commands do not fit ({span})"
    if closed > 0.9:
        text += f"; {closed:.0%} of episodes begin closed: are open and closed swapped?"
    return grade("gripper", off, settings, text, least=Level.WARN if closed > 0.9 else Level.PASS)


def check_joint_order(rows: AllRows, settings: QualitySettings = _DEFAULTS) -> Finding:
    """Whether, in some episode, joints stand where others stand in the rest of the data."""
    contract = rows.contract
    for what, names, values in (
        ("state", _state_joints(contract), rows.state),
        ("action", _action_joints(contract), rows.action),
    ):
        check = _permuted(rows, what, names, values, settings)
        if check is not None:
            return check
    episodes = len(np.unique(rows.episode))
    if episodes < _FEWEST_EPISODES:
        return skip("joint_order", f"{episodes} episodes; {_FEWEST_EPISODES} are needed to tell")
    text = "each joint is about where it is in the other episodes"
    return Finding("joint_order", Level.PASS, 0.0, text)


def check_timing(stamps: Sequence[np.ndarray], fps: float, settings: QualitySettings = _DEFAULTS) -> Finding:
    """True times of rows against the rate.

    Args:
        stamps: Times of each episode's rows [s]; empty where there are none but computed ones.
        fps: Nominal rate [Hz].
    """
    gaps = np.concatenate([np.diff(times) for times in stamps]) * fps if stamps else np.empty(0)
    if not len(gaps):
        return skip("timing", "no true times were recorded, only row / rate")
    least, low, middle, high, most = np.quantile(gaps, [0, 0.01, 0.5, 0.99, 1.0]) / fps * 1e3
    off = float((np.abs(gaps - 1) > _OFF_PERIOD).mean())
    mean = 1.0 / float(gaps.mean())
    text = (
        f"{off:.1%} of gaps are off by more than {_OFF_PERIOD:.0%} of {1e3 / fps:.0f} ms (1 % below "
        f"{low:.0f}, median {middle:.0f}, 1 % above {high:.0f} ms, shortest {least:.0f}, longest {most:.0f}; "
        f"mean rate {fps * mean:.2f} Hz)"
    )
    wrong = abs(1e3 / (middle * fps) - 1) if middle > 0 else math.inf
    if wrong > _WRONG_RATE:
        rate = 1e3 / max(middle, 1e-9)
        text = f"rows come at {rate:.2f} Hz, the data set says {fps:g} Hz; allowed is the true rate"
        return Finding("timing", Level.FAIL, wrong, text)
    return grade("timing", off, settings, text)


def _state_joints(contract: Contract) -> dict[str, int]:
    return {
        d.name: n
        for n, (d, joint) in enumerate(zip(contract.state, contract.state_joints, strict=True))
        if d.field == "position" and joint in contract.arm_joints and d.unit == "rad"
    }


def _action_joints(contract: Contract) -> dict[str, int]:
    if contract.action.space != "joint_position":
        return {}
    return {contract.action_names[n]: n for n in contract.arm_places}


def _permuted(
    rows: AllRows, what: str, names: dict[str, int], values: np.ndarray, settings: QualitySettings
) -> Finding | None:
    numbers = np.unique(rows.episode)
    columns = list(names.values())
    if len(numbers) < _FEWEST_EPISODES or len(columns) < 2:
        return None
    # Where each joint is, as its 5 %, 50 % and 95 % points: (episodes, joints, 3).
    points = np.stack(
        [np.quantile(values[rows.episode == n][:, columns], [0.05, 0.5, 0.95], axis=0).T for n in numbers]
    )
    usual = np.median(points, axis=0)
    spread = 1.4826 * np.median(np.abs(points - usual), axis=0).max(axis=-1, keepdims=True)  # (joints, 1)
    spread = np.maximum(spread, _SPREAD_FLOOR)
    for number, here in zip(numbers, points, strict=True):
        distance = (np.abs(here[:, None] - usual[None]) / spread[None]).max(axis=-1)  # joint here, place
        moved = np.flatnonzero(np.diag(distance) > _OTHER_EPISODES)
        if len(moved) < 2:
            continue
        among = distance[np.ix_(moved, moved)]
        best = among.argmin(axis=1)
        if len(set(best.tolist())) == len(moved) and (among.min(axis=1) < _LIKE_ANOTHER).all():
            known = list(names)
            pairs = [
                f"{known[moved[b]]} at the place of {known[m]}" for m, b in zip(moved, best, strict=True)
            ]
            text = f"{what} of episode {number}: {', '.join(pairs[:6])}"
            return grade("joint_order", len(moved), settings, text, episodes=(int(number),))
    return None
