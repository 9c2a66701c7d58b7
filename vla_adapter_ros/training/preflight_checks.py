"""Checks of rows before a training: each gives one number, what is allowed, and pass, warn or fail."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.schema import Gripper
from vla_adapter_ros.model import Tokenizer
from vla_adapter_ros.recording.verdict_types import FAIL, PASS, SKIP, WARN, Check
from vla_adapter_ros.texts import visible
from vla_adapter_ros.training.data import HARDLY_MOVES, Rows

DEGREES = 180 / math.pi
OUTSIDE_SHARE = 0.01  # of values beyond a joint's range: warned of above it
FAR = 4.0  # half widths from q01 to q99: a value farther from their middle is named
OFF_GRIPPER = 0.01  # share of commands that are neither open nor closed
OFF_PERIOD = 0.25  # of the period: a gap is regular within it
OFF_SHARE = 0.01  # of gaps that may be irregular
WRONG_RATE = 0.25  # the true rate may differ from the nominal one by this share
OTHER_EPISODES = 6.0  # spreads: a joint this far from where it is in other episodes is out of place
LIKE_ANOTHER = 3.0  # spreads: a joint this near to another one's place has been taken for it
_SPREAD_FLOOR = 0.05  # smallest spread between episodes [rad or m]
_FEWEST_EPISODES = 4
WAY_OUT = (
    "what helps: other words for the tasks, a tiny model from scratch that learns these words "
    "(--preset tiny), or a published one that reads every script (--init prismatic)"
)


def check_sentences(rows: Rows, tokenizer: Tokenizer) -> Check:
    """Whether every row has a sentence, and the model can tell the sentences apart."""
    used = [rows.tasks[n] for n in np.unique(rows.task)]
    empty = int(np.isin(rows.task, [n for n, task in enumerate(rows.tasks) if not visible(task)]).sum())
    if empty:
        share = empty / len(rows.task)
        return Check("instructions", FAIL, share, f"{share:.1%} of rows have none; allowed is none")
    mute = [task for task in used if not tokenizer.has_words(task)]
    if mute:
        text = f"{_listed(mute)} has no word that the model can read; allowed are words; {WAY_OUT}"
        return Check("instructions", FAIL, len(mute), text)
    unknown = sorted({word for task in used for word in tokenizer.unknown_words(task)})
    alike: dict[tuple[int, ...], list[str]] = {}
    for task in used:
        alike.setdefault(tuple(tokenizer.ids(task)), []).append(task)
    same = [tasks for tasks in alike.values() if len({" ".join(t.lower().split()) for t in tasks}) > 1]
    words = f"; the tokenizer does not know {_listed(unknown)}" if unknown else ""
    if same:
        text = (
            f"{_listed(same[0])} look the same to the model{words}; allowed are sentences it can tell apart"
            + f"; {WAY_OUT}" * bool(unknown)
        )
        return Check("instructions", FAIL, len(same), text)
    what = f"{len(used)} sentence{'s' if len(used) > 1 else ''}"
    if len(used) == 1:
        what += ": the policy cannot learn to listen"
    what += words + f"; {WAY_OUT}" * bool(unknown)
    return Check("instructions", WARN if unknown or len(used) == 1 else PASS, len(used), what)


def check_constant(rows: Rows) -> Check:
    """State and action values that never change, or so little that normalisation would stretch noise."""
    contract = rows.contract
    arm = contract.arm_places
    if (np.ptp(rows.action[:, arm], axis=0) == 0).all():
        return Check("constant_values", FAIL, len(arm), "the arm's actions never change; allowed is a motion")
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
    text = f"{len(constant)} values never change{_named(constant)}; allowed is 0"
    if noisy:
        text += f"; {len(noisy)} hardly do, less than {HARDLY_MOVES:g} from q01 to q99{_named(noisy)}"
    found = len(constant) + len(noisy)
    return Check("constant_values", WARN if found else PASS, found, text)


def check_outliers(name: str, names: Sequence[str], values: np.ndarray) -> Check:
    """Values far beyond q01 and q99, which normalisation stretches; binary ones are to be left out."""
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    moving = 2 * half >= HARDLY_MOVES
    if not moving.any():
        return Check(name, SKIP, math.nan, "nothing moves")
    far = np.abs(values[:, moving] - middle[moving]) / half[moving]
    share = float((far > 1).any(axis=1).mean())
    row, column = np.unravel_index(int(far.argmax()), far.shape)
    worst = float(far[row, column])
    at = np.flatnonzero(moving)[column]
    text = (
        f"{share:.1%} of rows lie beyond q01 or q99; farthest {names[at]} = {values[row, at]:.4g} "
        f"({worst:.1f} half widths, q01 {low[at]:.4g}, q99 {high[at]:.4g}); allowed {FAR:g} half widths"
    )
    return Check(name, WARN if worst > FAR else PASS, worst, text)


def check_units(rows: Rows) -> Check:
    """Joint positions against the limits of the contract: degrees or millimetres are told by their size."""
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
        return Check("units", SKIP, math.nan, "no joint positions with limits in the contract")
    for name, (low, high), unit, values in columns:
        outside = float(((values < low) | (values > high)).mean())
        found.append((outside, name, low, high, float(values.min()), float(values.max())))
        factor, other = (DEGREES, "degrees") if unit == "rad" else (1000.0, "millimetres")
        slack = 0.1 * (high - low)
        fits = (values / factor >= low - slack).all() and (values / factor <= high + slack).all()
        large = np.abs(values).max() > 1.5 * max(abs(low), abs(high))
        if outside > 0.5 and large and fits:
            text = (
                f"{name} is {values.min():.4g} to {values.max():.4g}: {other}? "
                f"Allowed is {unit}, {low:g} to {high:g}"
            )
            return Check("units", FAIL, outside, text)
    outside, name, low, high, least, most = max(found)
    text = (
        f"{outside:.1%} of {name} out of its range ({least:.4g} to {most:.4g}, contract {low:g} to "
        f"{high:g}); allowed {OUTSIDE_SHARE:.0%}"
    )
    return Check("units", WARN if outside > OUTSIDE_SHARE else PASS, outside, text)


def check_speeds(rows: Rows) -> Check:
    """Joint deltas as speeds against the velocity limits of the contract."""
    contract = rows.contract
    space = contract.action.space
    if space != "joint_delta" or contract.action.delta_reference == "chunk_start":
        return Check("speeds", SKIP, math.nan, f"{space} commands no steps of joints")
    ratios = [
        (float(np.quantile(np.abs(rows.action[:, n]), 0.99) * d.scale * contract.rate_hz)
         / contract.limits[joint].velocity, d.name)
        for n, (d, joint) in enumerate(zip(contract.action.dimensions, contract.action_joints, strict=True))
        if joint in contract.limits
    ]  # fmt: skip
    if not ratios:
        return Check("speeds", SKIP, math.nan, "no limits in the contract")
    worst, name = max(ratios)
    level = FAIL if worst > 10 else WARN if worst > 1 else PASS
    text = (
        f"{name} is commanded at {worst:.0%} of its velocity limit (99 % of rows are slower); allowed 100 %"
    )
    return Check("speeds", level, worst, text + ("; is `scale` right?" if level == FAIL else ""))


def check_grippers(rows: Rows) -> list[Check]:
    """Each gripper's commands against the contract's open, closed and mode."""
    if not rows.contract.grippers:
        return [Check("gripper", SKIP, math.nan, "no gripper in the contract")]
    alone = len(rows.contract.grippers) == 1
    return [
        _check_gripper("gripper" if alone else f"gripper {gripper.dimension}", gripper, values, rows)
        for gripper, values in zip(
            rows.contract.grippers, rows.action[:, rows.contract.gripper_places].T, strict=True
        )
    ]


def _check_gripper(name: str, gripper: Gripper, values: np.ndarray, rows: Rows) -> Check:
    low, high = sorted((gripper.open, gripper.closed))
    near = 0.02 * (high - low)
    convention = f"open {gripper.open:g}, closed {gripper.closed:g}, {gripper.mode}"
    least, most = float(values.min()), float(values.max())
    if gripper.mode == "binary":
        off = float(((np.abs(values - low) > near) & (np.abs(values - high) > near)).mean())
    else:
        off = float(((values < low - near) | (values > high + near)).mean())
    span = f"{least:g} to {most:g}; the contract says {convention}"
    if off > 0.5:
        return Check(name, FAIL, off, f"{off:.1%} of commands do not fit: they are {span}")
    if most - least < 0.2 * (high - low):
        return Check(name, WARN, most - least, f"it neither opens nor closes: commands are {span}")
    starts = values[np.unique(rows.first)]
    closed = float((np.abs(starts - gripper.closed) < np.abs(starts - gripper.open)).mean())
    text = f"{off:.1%} of commands do not fit ({span}), allowed {OFF_GRIPPER:.0%}"
    if closed > 0.9:
        text += f"; {closed:.0%} of episodes begin closed: are open and closed swapped?"
    return Check(name, WARN if off > OFF_GRIPPER or closed > 0.9 else PASS, off, text)


def check_joint_order(rows: Rows) -> Check:
    """Whether, in some episode, joints stand where others stand in the rest of the data."""
    contract = rows.contract
    for what, names, values in (
        ("state", _state_joints(contract), rows.state),
        ("action", _action_joints(contract), rows.action),
    ):
        check = _permuted(rows, what, names, values)
        if check is not None:
            return check
    episodes = len(np.unique(rows.episode))
    if episodes < _FEWEST_EPISODES:
        return Check(
            "joint_order", SKIP, math.nan, f"{episodes} episodes; {_FEWEST_EPISODES} are needed to tell"
        )
    return Check("joint_order", PASS, 0.0, "each joint is about where it is in the other episodes")


def check_timing(stamps: Sequence[np.ndarray], fps: float) -> Check:
    """True times of rows against the rate.

    Args:
        stamps: Times of each episode's rows [s]; empty where there are none but computed ones.
        fps: Nominal rate [Hz].
    """
    gaps = np.concatenate([np.diff(times) for times in stamps]) * fps if stamps else np.empty(0)
    if not len(gaps):
        return Check("timing", SKIP, math.nan, "no true times were recorded, only row / rate")
    least, low, middle, high, most = np.quantile(gaps, [0, 0.01, 0.5, 0.99, 1.0]) / fps * 1e3
    off = float((np.abs(gaps - 1) > OFF_PERIOD).mean())
    mean = 1.0 / float(gaps.mean())
    text = (
        f"{off:.1%} of gaps are off by more than {OFF_PERIOD:.0%} of {1e3 / fps:.0f} ms (1 % below "
        f"{low:.0f}, median {middle:.0f}, 1 % above {high:.0f} ms, shortest {least:.0f}, longest {most:.0f}; "
        f"mean rate {fps * mean:.2f} Hz); allowed {OFF_SHARE:.0%}"
    )
    wrong = abs(1e3 / (middle * fps) - 1) if middle > 0 else math.inf
    if wrong > WRONG_RATE:
        rate = 1e3 / max(middle, 1e-9)
        text = f"rows come at {rate:.2f} Hz, the data set says {fps:g} Hz; allowed is the true rate"
        return Check("timing", FAIL, wrong, text)
    return Check("timing", WARN if off > OFF_SHARE else PASS, off, text)


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


def _permuted(rows: Rows, what: str, names: dict[str, int], values: np.ndarray) -> Check | None:
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
        moved = np.flatnonzero(np.diag(distance) > OTHER_EPISODES)
        if len(moved) < 2:
            continue
        among = distance[np.ix_(moved, moved)]
        best = among.argmin(axis=1)
        if len(set(best.tolist())) == len(moved) and (among.min(axis=1) < LIKE_ANOTHER).all():
            known = list(names)
            pairs = [
                f"{known[moved[b]]} at the place of {known[m]}" for m, b in zip(moved, best, strict=True)
            ]
            text = f"{what} of episode {number}: {_listed(pairs)}; allowed is one order in all episodes"
            return Check("joint_order", FAIL, len(moved), text)
    return None


def _listed(words: Sequence[str]) -> str:
    shown = [repr(word) if " " not in word or len(word) > 60 else word for word in words[:6]]
    return ", ".join(shown) + (", ..." if len(words) > 6 else "")


def _named(words: Sequence[str]) -> str:
    return f" ({', '.join(words[:8])}{', ...' if len(words) > 8 else ''})" if words else ""
