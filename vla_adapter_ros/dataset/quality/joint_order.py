"""Whether joints stand in the same columns in all episodes."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.findings import Finding, Level, skip
from vla_adapter_ros.dataset.quality.samples import AllRows
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, QualitySettings, grade

_OTHER_EPISODES = 6.0  # stds: a joint this far from where it is in other episodes is out of place
_LIKE_ANOTHER = 3.0  # stds: a joint this near to another one's place has been taken for it
_MIN_STD = 0.05  # smallest std between episodes [rad or m]
_MIN_EPISODES = 4


def check_joint_order(rows: AllRows, settings: QualitySettings = DEFAULTS) -> Finding:
    """Whether, in some episode, joints stand where others stand in the rest of the data."""
    contract = rows.contract
    for what, names, values in (
        ("state", _state_joints(contract), rows.state),
        ("action", _action_joints(contract), rows.action),
    ):
        finding = _find_permutation(rows, what, names, values, settings)
        if finding is not None:
            return finding
    episodes = len(np.unique(rows.episode))
    if episodes < _MIN_EPISODES:
        return skip("joint_order", f"{episodes} episodes; {_MIN_EPISODES} are needed to tell")
    text = "each joint is about where it is in the other episodes"
    return Finding("joint_order", Level.PASS, 0.0, text)


def _state_joints(contract: Contract) -> dict[str, int]:
    return {
        d.name: n
        for n, (d, joint) in enumerate(zip(contract.state, contract.state_joints, strict=True))
        if d.field == "position" and joint in contract.arm_joints and d.unit.si == "rad"
    }


def _action_joints(contract: Contract) -> dict[str, int]:
    if contract.action.space != "joint_position":
        return {}
    return {contract.action_names[n]: n for n in contract.arm_places}


def _find_permutation(
    rows: AllRows, what: str, names: dict[str, int], values: np.ndarray, settings: QualitySettings
) -> Finding | None:
    numbers = np.unique(rows.episode)
    columns = list(names.values())
    if len(numbers) < _MIN_EPISODES or len(columns) < 2:
        return None
    # Where each joint is, as its 5 %, 50 % and 95 % points: (episodes, joints, 3).
    points = np.stack(
        [np.quantile(values[rows.episode == n][:, columns], [0.05, 0.5, 0.95], axis=0).T for n in numbers]
    )
    usual = np.median(points, axis=0)
    std = 1.4826 * np.median(np.abs(points - usual), axis=0).max(axis=-1, keepdims=True)  # (joints, 1)
    std = np.maximum(std, _MIN_STD)
    for number, here in zip(numbers, points, strict=True):
        distance = (np.abs(here[:, None] - usual[None]) / std[None]).max(axis=-1)  # joint here, place
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
