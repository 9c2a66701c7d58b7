"""Checks of the state and the action of an episode."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.dataset.quality.findings import Finding, listed, skip
from vla_adapter_ros.dataset.quality.samples import CONTROL_SOURCES, Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade

_EQUAL = 1e-5  # an action this close to a state is a copy of it: float32 rounding of radians
_LARGEST_ANGLE = 4 * np.pi  # a joint beyond it is not in radians, where no contract says what it is
IDLE_FRACTION = 0.01  # part of a column's range that is no motion, whatever its unit


def check_missing_values(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Rows in which a state or an action is not finite."""
    if not (s.state.shape[1] or s.action.shape[1]):
        return skip("missing_values", "no state and no action")
    columns = (*s.state_names, *s.action_names)
    bad = ~np.isfinite(np.hstack([s.state, s.action]))
    names = [columns[n] for n in np.flatnonzero(bad.any(axis=0))]
    fraction = float(bad.any(axis=1).mean())
    return grade("missing_values", fraction, settings, f"{fraction:.1%} of rows{listed(names)}")


def check_constant_joints(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Joints of the arm (without a contract: all state columns) that stay where they are."""
    columns = arm_columns(s, contract)
    if len(s.state) < 2 or not columns:
        return skip("constant_joints", "no state" if not columns else "one row only")
    values = s.state[:, columns]
    in_radians = contract is not None or not np.abs(values).max(initial=0.0) > _LARGEST_ANGLE
    still = np.ptp(values, axis=0) <= (settings.still_range if in_radians else 0.0)
    names = [s.state_names[c] for c, is_still in zip(columns, still, strict=True) if is_still]
    fraction = float(still.mean())
    what = f"{cause(s) if names else ''}{len(names)} of {len(columns)}{listed(names)}"
    return grade("constant_joints", fraction, settings, what)


def check_action_is_next_state(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Actions that were made from states afterwards: no command was recorded.

    Where the contract says that they are next states, those that are not.
    """
    if contract is not None and contract.hand_guided and contract.action.space != "joint_position":
        return skip("action_is_next_state", "it shall be, and is no position of a joint")
    twins = driven_state(s, contract)
    pairs = [(n, s.state_names.index(twin)) for n, twin in enumerate(twins) if twin in s.state_names]
    if not pairs and s.action.shape == s.state.shape:
        pairs = [(n, n) for n in range(s.state.shape[1])]
    if not pairs or len(s.state) < 2:
        return skip("action_is_next_state", "action and state have no names in common")
    action, state = s.action[:, [a for a, _ in pairs]], s.state[:, [b for _, b in pairs]]
    moving = (np.abs(np.diff(state, axis=0)) > _EQUAL).any(axis=1)
    if not moving.any():
        return skip("action_is_next_state", "nothing moves")
    fractions = [
        float((np.abs(action[:-1] - other) <= _EQUAL).all(axis=1)[moving].mean())
        for other in (state[:-1], state[1:])
    ]
    if contract is not None and contract.hand_guided:
        text = f"{fractions[1]:.1%} of moving rows, as action.source says"
        return grade("action_is_next_state", 1.0 - fractions[1], settings, text)
    which = "the next" if fractions[1] >= fractions[0] else "the same"
    fraction = max(fractions)
    return grade(
        "action_is_next_state", fraction, settings, f"{fraction:.1%} of moving rows ({which} row's state)"
    )


def check_idle_head(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Rows at the start that are like the first one."""
    if not (s.state.shape[1] or s.action.shape[1]):
        return skip("idle_head", "no state and no action")
    seconds = idle_rows(np.hstack([s.state, s.action]), settings) / s.fps
    return grade("idle_head", seconds, settings, f"{seconds:.1f} s")


def check_idle_tail(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Rows at the end that are like the last one."""
    if not (s.state.shape[1] or s.action.shape[1]):
        return skip("idle_tail", "no state and no action")
    seconds = idle_rows(np.hstack([s.state, s.action])[::-1], settings) / s.fps
    return grade("idle_tail", seconds, settings, f"{seconds:.1f} s")


def check_state_limits(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Measured joints out of their range, or faster than allowed."""
    if contract is None:
        return skip("state_limits", "no contract")
    bad = np.zeros(len(s.state), dtype=bool)
    worst = ""
    steps = np.full(max(len(s.state) - 1, 0), 1 / s.fps) if s.stamps is None else np.diff(s.stamps)
    for column, (dimension, joint) in enumerate(zip(contract.state, contract.state_joints, strict=True)):
        if dimension.field != "position" or joint not in contract.limits:
            continue
        limits, values = contract.limits[joint], s.state[:, column]
        low, high = limits.position
        out = (values < low - settings.position_slack) | (values > high + settings.position_slack)
        speed = np.abs(np.diff(values)) / np.maximum(steps, 1e-3)
        fast = speed > limits.velocity * settings.velocity_slack
        if out.any() and not worst:
            extreme = values[out][0]
            worst = f", {dimension.name} at {extreme:.3f}, range {low:g} to {high:g}"
        if fast.any() and not worst:
            worst = f", {dimension.name} at {speed.max():.2f}/s, limit {limits.velocity:g}/s"
        bad |= out
        bad[1:] |= fast
    fraction = float(bad.mean())
    return grade("state_limits", fraction, settings, f"{fraction:.1%} of rows{worst}")


def check_action_limits(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Commanded positions out of range (they are recorded before the controller limits them)."""
    if contract is None:
        return skip("action_limits", "no contract")
    if contract.action.space != "joint_position":
        return skip("action_limits", f"{contract.action.space} commands no positions")
    bad = np.zeros(len(s.action), dtype=bool)
    worst = ""
    for column, joint in enumerate(contract.action_joints):
        if joint not in contract.limits:
            continue
        dimension, (low, high) = contract.action.dimensions[column], contract.limits[joint].position
        values = s.action[:, column] * dimension.scale
        out = (values < low - settings.position_slack) | (values > high + settings.position_slack)
        if out.any() and not worst:
            worst = f", {dimension.name} to {values[out][0]:.3f}, range {low:g} to {high:g}"
        bad |= out
    fraction = float(bad.mean())
    return grade("action_limits", fraction, settings, f"{fraction:.1%} of rows{worst}")


def check_gripper_motion(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Whether a gripper is told to open or close at all: of several, one may rest."""
    grippers = [g for g in contract.grippers if g.dimension in s.action_names] if contract else []
    if not grippers:
        return skip("gripper_motion", "no contract" if contract is None else "no gripper in the action")
    ranges = {
        g.dimension: float(np.ptp(s.action[:, s.action_names.index(g.dimension)]) / abs(g.open - g.closed))
        for g in grippers
    }
    name = max(ranges, key=ranges.__getitem__)
    which = f" ({name})" if len(ranges) > 1 else ""
    text = f"{ranges[name]:.0%} of the way from open to closed{which}"
    return grade("gripper_motion", ranges[name], settings, text)


def check_unled_rows(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Whether anybody led. Where nobody does, the action is the command that holds the arm."""
    if s.sources is None:
        return skip("unled_rows", "nothing says who was in control")
    count = {name: int((s.sources == number).sum()) for number, name in CONTROL_SOURCES.items()}
    what = f"{count['none']} rows led by nobody, {count['human']} by a human, {count['policy']} by the policy"
    if s.obstacle and count["none"]:
        what = cause(s) + what
    return grade("unled_rows", count["none"] / len(s.sources), settings, what)


def check_short_episode(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Whether the episode is shorter than a chunk, whose end would be made up."""
    rows = len(s.state)
    return grade(
        "short_episode",
        settings.chunk_rows / rows,
        settings,
        f"{rows} rows, a chunk has {settings.chunk_rows:g}",
    )


def cause(s: Samples) -> str:
    """Why the arm stood still, ahead of what was seen of that; empty where nothing says so."""
    if s.obstacle:
        return f"the controller let nothing move ({s.obstacle}); "
    unled = s.sources is not None and not np.any(s.sources)
    return "nobody led the arm; " if unled else ""


def driven_state(s: Samples, contract: Contract | None) -> tuple[str, ...]:
    """Name of the state value that measures what each action value drives; its own name where unknown."""
    if contract is None or s.action_names != contract.action_names:
        return s.action_names
    twins = zip(s.action_names, contract.driven_state, strict=True)
    return tuple(name if name in s.state_names else twin or name for name, twin in twins)


def arm_columns(s: Samples, contract: Contract | None) -> list[int]:
    """State columns that move with the arm, without the gripper; all if none can be told apart."""
    if contract is not None:
        columns = [
            n
            for n, (d, joint) in enumerate(zip(contract.state, contract.state_joints, strict=True))
            if d.field == "position" and joint in contract.arm_joints
        ]
    else:
        columns = [n for n, name in enumerate(s.state_names) if not is_gripper(name)]
    return columns or list(range(s.state.shape[1]))


def idle_rows(values: np.ndarray, settings: QualitySettings) -> int:
    """Number of rows at the start of (T, D) during which nothing leaves the first row."""
    if len(values) < 2:
        return 0
    allowed = np.maximum(settings.idle_range, IDLE_FRACTION * np.ptp(values, axis=0))
    moved = (np.abs(values - values[0]) > allowed).any(axis=1)
    return int(np.argmax(moved)) - 1 if moved.any() else len(values) - 1
