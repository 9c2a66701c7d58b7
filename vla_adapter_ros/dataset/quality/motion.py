"""Checks of how state and action of an episode move: jumps, a state that is stuck, grippers."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.dataset.quality.findings import Finding, listed, skip
from vla_adapter_ros.dataset.quality.rows import driven_state
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade

_MIN_RANGE = 0.05  # rad, m: a column that moves less is as good as still
_FOLLOWS = 0.5  # part of its range by which a command may differ from the state that it drives (median)
_DELAY_S = 0.3  # a state may follow its command so much later
_CHATTER_S = 0.3  # a gripper that turns back sooner chatters
_CLOSED, _OPEN = 0.35, 0.65  # parts of the range: in between a gripper keeps its side
_MAX_DELAY_S = 1.0
_MIN_ROWS = 20


def check_action_jumps(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """A command that leaves its path for one or two rows, as a fraction of its range."""
    pairs = position_pairs(s, contract)
    if not pairs or len(s.action) < 5:
        return skip("action_jumps", "no commanded positions" if not pairs else "fewer than 5 rows")
    columns = [a for a, _ in pairs]
    values = s.action[:, columns]
    around = np.stack([values[n : len(values) - 4 + n] for n in (0, 1, 3, 4)])
    off = np.abs(values[2:-2] - np.median(around, axis=0))
    # Rows on a slope differ from their neighbors' median by less than these differ among themselves.
    off = np.maximum(off - np.ptp(around, axis=0), 0.0)
    ranges = np.maximum(np.ptp(np.quantile(values, [0.02, 0.98], axis=0), axis=0), _MIN_RANGE)
    row, column = np.unravel_index(int((off / ranges).argmax()), off.shape)
    fraction = float(off[row, column] / ranges[column])
    where = f"{s.action_names[columns[column]]}, {off[row, column]:.3g}"
    what = f"{fraction:.2f} of its range in row {row + 2} ({where})"
    return grade("action_jumps", fraction, settings, what if fraction > 0 else "none")


def check_stuck_state(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """A joint that stays exactly where it is although its command moves on."""
    pairs = position_pairs(s, contract)
    if not pairs or len(s.state) < 2:
        return skip("stuck_state", "no commanded positions" if not pairs else "one row only")
    worst, which = 0.0, ""
    delay = int(np.ceil(_DELAY_S * s.fps))
    for a, b in pairs:
        if a >= s.action.shape[1] or b >= s.state.shape[1]:  # the data has fewer values than their names
            continue
        command, state = s.action[:, a], s.state[:, b]
        moves = max(_MIN_RANGE, 0.1 * np.ptp(command), 0.1 * np.ptp(state))
        edges = np.diff(np.concatenate([[0], (np.diff(state) == 0).astype(np.int8), [0]]))
        for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            told = command[first : max(end - delay, first + 1)]
            moved = np.flatnonzero(np.abs(told - told[0]) > moves)
            seconds = (end - first - moved[0]) / s.fps if len(moved) else 0.0
            if seconds > worst:
                worst, which = seconds, f" ({s.state_names[b]} from row {first})"
    return grade("stuck_state", worst, settings, f"{worst:.2f} s{which}")


def check_gripper_chatter(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """A gripper's command that turns back at once."""
    grippers = gripper_columns(s, contract)
    if not grippers:
        return skip("gripper_chatter", "no gripper in the action")
    counts = {}
    for name, column in grippers.items():
        turns = side_changes(s.action[:, column])
        counts[name] = int((np.diff(turns) < _CHATTER_S * s.fps).sum())
    worst = max(counts, key=counts.__getitem__)
    what = f"{counts[worst]} times back within {_CHATTER_S:g} s ({worst})"
    return grade("gripper_chatter", counts[worst], settings, what)


def check_unknown_ages(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Rows without the age of a stream whose age other rows have."""
    if s.ages is None:
        return skip("unknown_ages", "no ages recorded")
    bad = ~np.isfinite(s.ages)
    fraction = float(bad.any(axis=1).mean())
    names = [s.streams[n] for n in np.flatnonzero(bad.any(axis=0))]
    return grade("unknown_ages", fraction, settings, f"{fraction:.1%} of rows{listed(names)}")


def position_pairs(s: Samples, contract: Contract | None) -> list[tuple[int, int]]:
    """Columns (action, state) of joints whose command is a position, without grippers."""
    if contract is not None and contract.action.space not in ("joint_position", "ee_pose"):
        return []
    twins = driven_state(s, contract)
    pairs = [(n, s.state_names.index(twin)) for n, twin in enumerate(twins) if twin in s.state_names]
    if not pairs and contract is None and s.action.shape == s.state.shape:
        pairs = [(n, n) for n in range(s.state.shape[1])]
    grippers = set(gripper_columns(s, contract).values())
    kept = []
    for a, b in pairs:
        command, state = s.action[:, a], s.state[:, b]
        known = np.isfinite(command).all() and np.isfinite(state).all()
        if a in grippers or not known:
            continue
        span = max(float(np.ptp(state)), float(np.ptp(command)), _MIN_RANGE)
        if contract is not None or np.median(np.abs(command - state)) <= _FOLLOWS * span:
            kept.append((a, b))
    return kept


def gripper_columns(s: Samples, contract: Contract | None) -> dict[str, int]:
    """Name and action column of each gripper; by its name where there is no contract."""
    names = [g.dimension for g in contract.grippers] if contract else filter(is_gripper, s.action_names)
    return {name: s.action_names.index(name) for name in names if name in s.action_names}


def side_changes(values: np.ndarray) -> np.ndarray:
    """Rows (K,) at which a gripper's command (T,) changes its side, of the lower and the upper end."""
    low, high = float(np.min(values)), float(np.max(values))
    if not high - low > 1e-6:
        return np.empty(0, dtype=np.int64)
    place = (values - low) / (high - low)
    side, changes = place[0] > 0.5, []
    for row, at in enumerate(place):
        if (side and at < _CLOSED) or (not side and at > _OPEN):
            side = not side
            changes.append(row)
    return np.array(changes, dtype=np.int64)


def command_delay(s: Samples, contract: Contract | None) -> float:
    """How much later than the command the state moves [s], from which shift fits best; NaN if unknown.

    Below 0 where the actions come too late.
    """
    pairs = position_pairs(s, contract)
    longest = round(_MAX_DELAY_S * s.fps)
    if not pairs or len(s.state) < max(_MIN_ROWS, 4 * longest):
        return float("nan")
    total = np.zeros(2 * longest + 1)
    for a, b in pairs:
        command, state = np.diff(s.action[:, a]), np.diff(s.state[:, b])
        if np.ptp(s.action[:, a]) < _MIN_RANGE or np.ptp(s.state[:, b]) < _MIN_RANGE:
            continue
        middle = command[longest : len(command) - longest]
        for n, shift in enumerate(range(-longest, longest + 1)):
            moved = state[longest + shift : len(state) - longest + shift]
            scale = np.linalg.norm(middle) * np.linalg.norm(moved)
            total[n] += float(middle @ moved) / scale if scale > 0 else 0.0
    used = total.max()
    return float((int(total.argmax()) - longest) / s.fps) if used > _FOLLOWS else float("nan")
