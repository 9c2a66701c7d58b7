"""What a drafted contract says, worked out from the values of a whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.contract.enums import ActionSpace
from vla_adapter_ros.contract.schema import TOOL_COLUMNS
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.dataset.tools.drafting.columns import Columns, Source
from vla_adapter_ros.dataset.tools.drafting.guesses import find_grippers, guess_space
from vla_adapter_ros.dataset.tools.drafting.names import (
    bare,
    is_of_no_joint,
    quantity,
    says_delta,
    stem,
)
from vla_adapter_ros.dataset.tools.drafting.pairing import CLEAR_FIT, Pair, Pairing, pair_values
from vla_adapter_ros.dataset.tools.drafting.units import Unit, gripper_unit, joint_unit
from vla_adapter_ros.errors import DatasetError

SPEED_TOLERANCE = 0.3
_ALIKE = 0.5, 2.0  # state over action, where both are in one unit
_BY_SIZE = ("rad", "m", "deg", "percent", "mm", "counts", "1")  # "1" may be anything

_NO_ANGLE = "m, N, Nm or a part of a rotation: by its name it is no joint"


@dataclass
class Value:
    """A value of state or action as the contract will have it.

    Attributes:
        source: Where it stands in the data.
        name: In the contract.
        unit: Its unit there, and how it becomes the contract's.
        values: Mapped, (N,).
        gripper: Whether it belongs to a gripper or a hand.
        kind: Of states: position, velocity or effort.
        joint: Of states: the joint; of actions: the joint that it moves, empty for grippers and tools.
        measured: Of actions: the state value that measures it, if there is one.
        scale: Of actions.
        slope, fit: Of actions: state over action, and their correlation.
        notes: For the line's comment.
    """

    source: Source
    name: str
    unit: Unit
    values: np.ndarray
    gripper: bool = False
    kind: str = "position"
    joint: str = ""
    measured: Value | None = None
    scale: float = 1.0
    slope: float = 0.0
    fit: float = 0.0
    notes: list[str] = field(default_factory=list)


@dataclass
class Plan:
    """State, action and space of a contract.

    Attributes:
        left_out: Action values that no state measures, and that are no grippers.
        remarks: For the head of the file.
        fastest: Name of a joint -> (velocity, acceleration), in mapped units.
    """

    state: list[Value]
    action: list[Value]
    space: str
    left_out: list[Source]
    remarks: list[str]
    fastest: dict[str, tuple[float, float]]

    @property
    def grippers(self) -> list[Value]:
        """Action values of grippers and hands."""
        return [value for value in self.action if value.gripper]


def make_plan(
    columns: Columns, fps: float, space: str = "", grippers: Sequence[str] = (), *, keep_names: bool = False
) -> Plan:
    """Work out what a contract says about state and action.

    Args:
        columns: The data.
        fps: Rows per second [Hz].
        space: Action space; empty: told by the data and the names.
        grippers: Names of the action values that move grippers; empty: told by names and values; "none".
        keep_names: Whether action values keep their names, which are looked for in messages.

    Raises:
        DatasetError: an unknown space or gripper, or a shape that no contract has.
    """
    if space and space not in ActionSpace.words():
        raise DatasetError(f"space {space!r}: allowed is one of {ActionSpace.words()}")
    state_names, action_names = ([s.name for s in part] for part in (columns.state, columns.action))
    named = all(s.known for s in (*columns.state, *columns.action))
    positions = [n for n, s in enumerate(columns.state) if not s.known or quantity(s.name) == "position"]
    states = [part[:, positions] for part in columns.states]
    measured = [state_names[n] for n in positions]

    def pair(differences: bool) -> Pairing:
        return pair_values(
            columns.actions, states, action_names, measured, fps, named=named, differences=differences
        )

    absolute, displacements = pair(False), pair(True)
    is_hand = find_grippers(columns, absolute, measured, grippers)
    arm = [name for n, name in enumerate(action_names) if n not in is_hand]
    remarks = list(columns.remarks)
    if not space:
        space, why = guess_space(arm, absolute, displacements)
        remarks += [why] if why else []
    if not named and len(arm) == len(TOOL_COLUMNS) and space.startswith("joint"):
        remarks.append(
            "CHECK: no names: six values beside the grippers may be a tool's pose or its displacement as "
            "well: --space ee_pose or ee_delta"
        )
    pairing = displacements if space == "joint_delta" else absolute
    state = _state_values(columns, is_hand, pairing, positions, named)
    action, left_out = _action_values(columns, is_hand, pairing, [state[n] for n in positions], space, fps)
    if not keep_names:
        _name_after_joints(action)
    for value in left_out:
        remarks.append(
            f"action {value.name} is left out: no state measures it. "
            f"If it moves a gripper: --gripper {value.name}"
        )
    _agree_on_units(state, action, space)
    return Plan(state, action, space, left_out, remarks, _fastest(columns, state, fps))


def _state_values(
    columns: Columns, is_hand: dict[int, str], pairing: Pairing, positions: list[int], named: bool
) -> list[Value]:
    values = np.concatenate(columns.states)
    hands = {positions[pair.state] for n, pair in pairing.pairs.items() if n in is_hand}
    arms = {positions[pair.state] for n, pair in pairing.pairs.items() if n not in is_hand}
    hand = [n in hands or (n not in arms and is_gripper(s.name)) for n, s in enumerate(columns.state)]
    apart = {n for n in positions if n not in hands | arms and is_of_no_joint(columns.state[n].name)}
    joints = [n for n in positions if not hand[n] and n not in apart]
    unit = joint_unit(values[:, joints], [columns.state[n].name for n in joints])
    hand_units = _hand_units(values, {n for n in positions if hand[n]}, columns.state, unit)
    found = []
    names = {bare(s.name): s.name for n, s in enumerate(columns.state) if n in positions}
    for n, source in enumerate(columns.state):
        kind = quantity(source.name) if source.known else "position"
        if kind == "position":
            its = Unit("1", doubtful=_NO_ANGLE) if n in apart else hand_units.get(n, unit)
        elif kind == "velocity":
            its = Unit({"deg": "deg/s"}.get(unit.source, "rad/s" if unit.contract == "rad" else "1"))
        else:
            its = Unit("Nm", doubtful="another unit")
        joint = names.get(bare(source.name), source.name)
        found.append(Value(source, source.name, its, its.convert(values[:, n]), hand[n], kind, joint))
    return found


def _action_values(
    columns: Columns, is_hand: dict[int, str], pairing: Pairing, measured: list[Value], space: str, fps: float
) -> tuple[list[Value], list[Source]]:
    values = np.concatenate(columns.actions)
    arm = [n for n in range(len(columns.action)) if n not in is_hand]
    unit = joint_unit(values[:, arm], [columns.action[n].name for n in arm])
    tool = space.startswith("ee_")
    if tool and len(arm) != len(TOOL_COLUMNS):
        raise DatasetError(
            f"{len(arm)} action values besides the grippers: {space} has {list(TOOL_COLUMNS)}, of one tool. "
            "Say which values move grippers with --gripper NAME, or name another --space"
        )
    hand_units = _hand_units(values, set(is_hand), columns.action, unit)
    found, left_out = [], []
    for n, source in enumerate(columns.action):
        hand, pair = n in is_hand, pairing.pairs.get(n)
        if not hand and not tool and (pair is None or measured[pair.state].gripper):
            left_out.append(source)
            continue
        its = hand_units[n] if hand else Unit("rad") if tool else unit
        value = Value(source, source.name, its, its.convert(values[:, n]), hand)
        if tool and not hand:
            value.name = TOOL_COLUMNS[arm.index(n)]
            value.unit = Unit("m" if value.name in TOOL_COLUMNS[:3] else "rad")
            value.values = values[:, n]
        elif pair is not None and (not hand or measured[pair.state].gripper):
            value.measured, value.slope, value.fit = measured[pair.state], pair.slope, pair.fit
            value.notes.append(_evidence(pair, [state.name for state in measured], pairing.lag, space))
            if not hand:
                value.joint = value.measured.name
        if is_hand.get(n):
            value.notes.append(is_hand[n])
        found.append(value)
    if space == "joint_delta":
        _scale_as_speeds([value for value in found if not value.gripper], fps)
    return found, left_out


def _hand_units(
    values: np.ndarray, places: set[int], sources: tuple[Source, ...], joints: Unit
) -> dict[int, Unit]:
    """Place -> unit of each gripper; values whose names differ in numbers only are of one hand."""
    groups: dict[str, list[int]] = {}
    for n in sorted(places):
        groups.setdefault(stem(sources[n].name), []).append(n)
    return {n: gripper_unit(values[:, its], joints) for its in groups.values() for n in its}


def _name_after_joints(action: list[Value]) -> None:
    """Call action values as the joints that they drive, and a gripper that is called like one gripper."""
    for value in action:
        value.name = value.joint or value.name
    taken = {value.name for value in action if not value.gripper}
    for value in action:
        if value.gripper and value.name in taken:
            number, name = 1, "gripper"
            while name in taken:
                number, name = number + 1, f"gripper_{number + 1}"
            value.name = name
        taken.add(value.name)
        if value.name != value.source.name:
            value.notes.insert(0, f"the data's {value.source.name}")


def _evidence(pair: Pair, names: list[str], lag: int, space: str) -> str:
    """Why an action value is paired with a state value, for the comment of its line."""
    of = "the steps of " if space == "joint_delta" else ""
    if pair.fit == 0.0:
        text = f"paired with {names[pair.state]} by its name or place: one of the two does not move"
    else:
        later = f" {lag} row{'s' if lag > 1 else ''} later" if lag else ""
        text = f"correlates {pair.fit:.2f} with {of}{names[pair.state]}{later}"
        text += f", next {pair.other_fit:.2f} with {names[pair.other]}" if pair.other >= 0 else ""
    return text + (f"; CHECK: {pair.doubts}" if pair.doubts else "")


def _scale_as_speeds(action: list[Value], fps: float) -> None:
    """Give displacements the scale 1 / fps of speeds: by name, or if most of those that move are speeds."""
    slopes = [value.slope for value in action if abs(value.fit) > CLEAR_FIT]
    by_data = [abs(slope * fps - 1) < SPEED_TOLERANCE for slope in slopes]
    as_said = [abs(slope - 1) < SPEED_TOLERANCE for slope in slopes]
    for value in action:
        by_name = says_delta(value.source.name) and "delta" not in value.source.name.lower()
        if sum(by_data) > len(slopes) / 2 or (by_name and not sum(as_said) > len(slopes) / 2):
            value.scale = round(1.0 / fps, 6)
            value.notes.append("CHECK: a speed, times the period")


def _agree_on_units(state: list[Value], action: list[Value], space: str) -> None:
    """Where actions are like states in value, both have one unit: that of which more is to be seen."""
    if space != "joint_position":
        return
    joints = [value for value in action if not value.gripper and value.measured is not None]
    alike = [value.slope for value in joints if value.slope > 0]
    if alike and _ALIKE[0] < float(np.median(alike)) < _ALIKE[1]:
        arm = [
            value
            for value in state
            if not value.gripper and value.kind == "position" and value.unit.doubtful != _NO_ANGLE
        ]
        _give_one_unit([*arm, *joints])
    for value in action:
        if value.gripper and value.measured is not None and _ALIKE[0] < value.slope < _ALIKE[1]:
            _give_one_unit([value.measured, value])


def _give_one_unit(values: list[Value]) -> None:
    unit = max((value.unit for value in values), key=lambda unit: _BY_SIZE.index(unit.source))
    for value in values:
        if value.unit.source != unit.source:
            value.values = unit.convert(raw_values(value))
        value.unit = unit


def raw_values(value: Value) -> np.ndarray:
    """Values (N,) as the data has them."""
    zero, one = value.unit.convert(np.array([0.0, 1.0]))
    return (value.values - zero) / (one - zero)


def _fastest(columns: Columns, state: list[Value], fps: float) -> dict[str, tuple[float, float]]:
    """Fastest motion of each state value in its mapped unit: velocity [/s] and acceleration [/s^2]."""
    found: list[np.ndarray] = []
    for order in (1, 2):
        steps = [np.abs(np.diff(s, order, axis=0)) * fps**order for s in columns.states if len(s) > order]
        every = np.concatenate(steps) if steps else np.zeros((1, len(state)))
        every = every[np.isfinite(every).all(axis=1)]
        found.append(np.quantile(every, 0.999, axis=0) if len(every) else np.zeros(len(state)))
    factors = [abs(float(np.diff(value.unit.convert(np.array([0.0, 1.0])))[0])) for value in state]
    return {
        value.name: (float(found[0][n] * factors[n]), float(found[1][n] * factors[n]))
        for n, value in enumerate(state)
    }
