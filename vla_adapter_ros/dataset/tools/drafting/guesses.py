"""Which action values move grippers, and in which space the others are: by names, values and pairs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract.schema import TOOL_COLUMNS
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.dataset.tools.drafting.columns import Columns
from vla_adapter_ros.dataset.tools.drafting.names import is_generic, says_delta, tool_axes
from vla_adapter_ros.dataset.tools.drafting.pairing import Pairing
from vla_adapter_ros.errors import DatasetError

NO_GRIPPER = "none"
DELTA_LEAD = 0.3  # how much better than positions displacements must fit before they are believed
_LEAST_RANGE = 0.01  # rad, m or 1; less is noise of a joint that rests
_FEWEST = 5  # values of an arm with its gripper, at least
# A gripper rests at the ends of its range: within this fraction of it, this often.
_END_FRACTION, _AT_ENDS = 0.1, 0.8


def find_grippers(
    columns: Columns, pairing: Pairing, measured: list[str], given: Sequence[str]
) -> dict[int, str]:
    """Place of each action value that moves a gripper or a hand -> what is to be said about that guess."""
    names = [source.name for source in columns.action]
    if given:
        wanted = [name for name in given if name != NO_GRIPPER]
        if unknown := [name for name in wanted if name not in names]:
            raise DatasetError(
                f"--gripper {unknown}: allowed are the action's values {names}, or {NO_GRIPPER}"
            )
        return {names.index(name): "" for name in wanted}
    by_name = [
        n for n, name in enumerate(names)
        if is_gripper(name) or (n in pairing.pairs and is_generic(name) and not pairing.pairs[n].doubts
                                and is_gripper(measured[pairing.pairs[n].state]))
    ]  # fmt: skip
    if by_name:
        return dict.fromkeys(by_name, "")
    values = np.concatenate(columns.actions)
    places = [n for n in range(len(names)) if _rests_at_ends(values[:, n])]
    why = "CHECK: no name says so, but it rests at the ends of its range; --gripper NAME says otherwise"
    if not places and len(names) >= _FEWEST and all(is_generic(name) for name in names):
        places = [its[-1] for its in _arms(names)]
        why = "CHECK: no name says so, the last value is taken; --gripper NAME (or none) says otherwise"
    return dict.fromkeys(places[: len(names) - 1], why)


def _arms(names: list[str]) -> list[list[int]]:
    """Places of the values of each arm: by what stands before the last number of their names."""
    groups: dict[str, list[int]] = {}
    for n, name in enumerate(names):
        groups.setdefault(re.sub(r"\d+\D*$", "", name), []).append(n)
    if len(groups) == 2 and all(len(its) >= _FEWEST for its in groups.values()):
        return list(groups.values())
    half = len(names) // 2
    two = len(names) >= 2 * (_FEWEST + 2) and len(names) % 2 == 0
    return [list(range(half)), list(range(half, len(names)))] if two else [list(range(len(names)))]


def _rests_at_ends(values: np.ndarray) -> bool:
    """Whether values (N,) are mostly at the two ends of their range, and often at either."""
    values = values[np.isfinite(values)]
    if len(values) < 10 or np.ptp(values) < _LEAST_RANGE:
        return False
    fraction = (values - values.min()) / np.ptp(values)
    low, high = float((fraction < _END_FRACTION).mean()), float((fraction > 1 - _END_FRACTION).mean())
    return low + high > _AT_ENDS and min(low, high) > 0.05


def guess_space(arm: list[str], absolute: Pairing, displacements: Pairing) -> tuple[str, str]:
    """Action space by names and data, and what is to be said about it."""
    fits = f"like positions {absolute.strength:.2f}, like displacements per row {displacements.strength:.2f}"
    better = displacements.strength > absolute.strength + DELTA_LEAD
    if tool_axes(arm) and len(arm) != len(TOOL_COLUMNS):
        return "joint_position", (
            f"CHECK: the action's names are those of tool poses, but {len(arm)} values are not one tool's "
            f"{list(TOOL_COLUMNS)}: they are treated as joints, which is enough to train, not to drive"
        )
    if tool_axes(arm):
        if any(says_delta(name) for name in arm) or absolute.strength < 0.9 or better:
            return "ee_delta", f"the action's names are those of a tool; its values are {fits}"
        return "ee_pose", f"the action's names are those of a tool; its values are {fits}"
    if arm and all(says_delta(name) for name in arm):
        return "joint_delta", ""
    return ("joint_delta", f"actions are {fits}") if better else ("joint_position", "")
