"""What the published trainings make of well-known RLDS data sets before they learn from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.camera import Turn
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.mapping import CameraSource, DatasetMapping, ValueSource
from vla_adapter_ros.errors import DatasetError

STATE = "observation.state"
_STILL = 1e-4  # largest norm of an action that moves nothing
_OPEN, _CLOSED = 0.95, 0.05  # of a gripper; in between it keeps the value that it goes to

Columns = dict[str, np.ndarray]
Standardize = Callable[[Columns], tuple[np.ndarray, Columns]]
"""Columns of an episode to the rows that stay, int64 (K,), and columns that are replaced, (K, ...) each."""


class Form(Choice):
    """Families of RLDS data sets."""

    NONE = "none"
    LIBERO = "libero"
    BRIDGE = "bridge"


@dataclass(frozen=True)
class FormRules:
    """How data of a form becomes that of a contract.

    Attributes:
        standardize: What is done with the rows of an episode.
        rate_hz: Steps per second, which RLDS does not store; None: not known.
        cameras: Names of its cameras, the reference camera first.
        rotation: Turn by which its images become those of the camera [degrees].
        gripper: Stored values of an open and a closed gripper, in the last value of the action.
    """

    standardize: Standardize
    rate_hz: float | None = None
    cameras: tuple[str, ...] = ()
    rotation: Turn = 0
    gripper: tuple[float, float] = field(default=(1.0, 0.0))


def rules_of(form: Form) -> FormRules:
    """The rules of a form."""
    return _RULES[form]


def form_mapping(form: Form, contract: Contract, cameras: tuple[str, ...]) -> DatasetMapping:
    """The mapping of a form's names onto a contract, by position.

    Args:
        form: Not `none`.
        contract: Of the robot.
        cameras: Those of the data set.

    Raises:
        DatasetError: the contract has more cameras than the data set, or another number of action values.
    """
    rules = rules_of(form)
    known = [name for name in rules.cameras if name in cameras]
    if len(contract.camera_names) > len(known):
        raise DatasetError(
            f"contract '{contract.name}' has {len(contract.camera_names)} cameras, the data of form {form} "
            f"{known}: allowed are at most as many, or a mapping"
        )
    names, grippers = contract.action_names, set(contract.gripper_places)
    if grippers - {len(names) - 1}:
        raise DatasetError(
            f"contract '{contract.name}' has its grippers in the columns {sorted(grippers)}, data of form "
            f"{form} in the last one: give a mapping"
        )
    opened, closed = rules.gripper
    action = {
        name: ValueSource(f"{layout.ACTION}[{at}]", open=opened, closed=closed)
        if at in grippers
        else ValueSource(f"{layout.ACTION}[{at}]")
        for at, name in enumerate(names)
    }
    return DatasetMapping(
        cameras={
            name: CameraSource(source, rules.rotation)
            for name, source in zip(contract.camera_names, known, strict=False)
        },
        action=action,
        resample=True,
    )


def _keep_all(columns: Columns) -> tuple[np.ndarray, Columns]:
    return np.arange(len(next(iter(columns.values())))), {}


def _drop_no_ops(columns: Columns) -> tuple[np.ndarray, Columns]:
    """LIBERO: steps that move nothing are left out, but for those in which the gripper changes."""
    action = _required(columns, layout.ACTION, 7)
    kept: list[int] = []
    for row in range(len(action)):
        still = bool(np.linalg.norm(action[row, :-1]) < _STILL)
        if not (still and (not kept or action[row, -1] == action[kept[-1], -1])):
            kept.append(row)
    return np.array(kept, dtype=np.int64), {}


def _relabel(columns: Columns) -> tuple[np.ndarray, Columns]:
    """Bridge: actions are the ways between the states that were reached; the first and last step go."""
    action, state = _required(columns, layout.ACTION, 7), _required(columns, STATE, 7)
    rows = np.arange(1, max(1, len(action) - 1))
    gripper = binarize(action[1:, -1])[: len(rows)]
    ways = (state[rows + 1, :6] - state[rows, :6]).astype(np.float32)
    return rows, {layout.ACTION: np.column_stack([ways, gripper.astype(np.float32)])}


def binarize(gripper: np.ndarray) -> np.ndarray:
    """Commands (T,) from 0 to 1 as 0 or 1; what is half open takes the value that comes after it."""
    out = np.array(gripper, dtype=np.float64)
    after = out[-1] if len(out) else 0.0
    for row in range(len(out) - 1, -1, -1):
        if out[row] > _OPEN or out[row] < _CLOSED:
            after = float(out[row] > _OPEN)
        out[row] = after
    return out


def _required(columns: Mapping[str, np.ndarray], name: str, width: int) -> np.ndarray:
    values = columns.get(name)
    if values is None or values.ndim != 2 or values.shape[1] != width:
        has = "none" if values is None else f"shape {values.shape[1:]}"
        raise DatasetError(f"column {name} of {width} values is needed by this form, there is {has}")
    return values


_RULES = {
    Form.NONE: FormRules(_keep_all),
    Form.LIBERO: FormRules(_drop_no_ops, 20.0, ("image", "wrist_image"), 180, (-1.0, 1.0)),
    Form.BRIDGE: FormRules(_relabel, 5.0, ("image_0", "image_1", "image_2", "image_3")),
}
