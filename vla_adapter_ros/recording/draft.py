"""Drafts a contract from a data set by others, so that nobody begins with an empty page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from vla_adapter_ros.contract import parse_contract
from vla_adapter_ros.contract.schema import ACTION_SPACES, TOOL_COLUMNS
from vla_adapter_ros.errors import ContractError, DatasetError
from vla_adapter_ros.recording import layout
from vla_adapter_ros.recording.mapped import image_size
from vla_adapter_ros.recording.mapping import dimension_names
from vla_adapter_ros.recording.opening import Dataset

PLACEHOLDER = "FILL_IN"
POSITION_MARGIN, RATE_MARGIN = 0.1, 1.5  # share of the range on each side; factor on the fastest motion
_LEAST_MARGIN, _LEAST_VELOCITY, _LEAST_ACCELERATION = 0.05, 0.5, 1.0
_GRIPPER = re.compile(r"grip|finger|claw|hand", re.IGNORECASE)
_SPEED = re.compile(r"(vel|velocity|delta|speed)$", re.IGNORECASE)
_SUFFIX = re.compile(r"[._](pos|position|vel|velocity|delta|speed|cmd|target)$", re.IGNORECASE)
_HEAD = """\
# DRAFT of a contract, made from the data set {root}
# ({episodes} episodes, {frames} frames, format {version}).
#
# {mark}: not in the data, such as topics. Replace it before a robot is driven.
# CHECK: guessed from names and values. Limits are the data's extremes with a margin, not those of the arm.
# Units: rad, m, s. {units}
"""


@dataclass(frozen=True)
class _Values:
    """State and action of a whole data set, (N, S) and (N, A), their names, and steps within episodes."""

    state: np.ndarray
    action: np.ndarray
    state_names: list[str]
    action_names: list[str]
    velocity: np.ndarray
    acceleration: np.ndarray


def draft_contract(dataset: Dataset, name: str, space: str = "") -> str:
    """Draft a contract.

    Values keep the order of the data set, so that it can be opened with the contract and without a mapping.

    Args:
        dataset: Opened without a mapping.
        name: Of the contract.
        space: Action space; empty: guessed from the names of the action's values.

    Returns:
        YAML with comments; `read_contract` takes it.

    Raises:
        DatasetError: no state, action or camera, or a shape that no contract can have.
    """
    if space and space not in ACTION_SPACES:
        raise DatasetError(f"space {space!r}: allowed is one of {list(ACTION_SPACES)}")
    if not dataset.cameras:
        raise DatasetError(f"{dataset.root} has no camera: a contract needs at least one")
    values = _load(dataset)
    grippers = _grippers_of(values)
    space = space or _guess_space(values, grippers)
    joints = [name for name in values.state_names if not _GRIPPER.search(name) and name not in grippers]
    columns = _name_action(values, grippers, joints, space)
    lines = [*_head(dataset, values, joints), *_top(dataset, name), *_cameras(dataset)]
    lines += _state(values, joints) + _action(values, columns, grippers, space, dataset.fps)
    lines += _grippers(values, grippers, columns)
    limited = joints if space.startswith("ee_") else [c for c in columns if c in joints]
    lines += _rest(values, limited, space)
    text = "\n".join(lines) + "\n"
    try:
        parse_contract(yaml.safe_load(text))
    except ContractError as error:
        raise DatasetError(f"{dataset.root}: no contract can be drafted in space {space}: {error}") from error
    return text


def _load(dataset: Dataset) -> _Values:
    for name in (layout.STATE, layout.ACTION):
        if name not in dataset.features:
            raise DatasetError(f"{dataset.root}: no feature {name}; it has {list(dataset.features)}")
    parts = [dataset.rows(episode.index) for episode in dataset.episodes]
    state, action = (
        [rows[name].reshape(len(rows["index"]), -1).astype(np.float64) for rows in parts]
        for name in (layout.STATE, layout.ACTION)
    )
    width = state[0].shape[1]

    def fastest(order: int) -> np.ndarray:
        steps = [np.abs(np.diff(s, order, axis=0)) * dataset.fps**order for s in state if len(s) > order]
        return np.quantile(np.concatenate(steps), 0.999, axis=0) if steps else np.zeros(width)

    return _Values(
        np.concatenate(state),
        np.concatenate(action),
        _unique(dimension_names(dataset.features[layout.STATE]), width, "state"),
        _unique(dimension_names(dataset.features[layout.ACTION]), action[0].shape[1], "action"),
        fastest(1),
        fastest(2),
    )


def _unique(names: tuple[str, ...] | None, width: int, prefix: str) -> list[str]:
    """Names of values; numbered ones where there are none or some occur twice."""
    if names is None or len(set(names)) != width:
        return [f"{prefix}_{i}" for i in range(width)]
    return list(names)


def _grippers_of(values: _Values) -> list[str]:
    """Action values that look like grippers: by their names, else the last."""
    return [name for name in values.action_names if _GRIPPER.search(name)] or values.action_names[-1:]


def _guess_space(values: _Values, grippers: list[str]) -> str:
    names = [name.lower() for name in values.action_names if name not in grippers]
    if {"x", "y", "z"} <= {_SUFFIX.sub("", n).rpartition("_")[2].rpartition(".")[2] for n in names}:
        return "ee_delta"
    return "joint_delta" if names and all(_SPEED.search(name) for name in names) else "joint_position"


def _name_action(values: _Values, grippers: list[str], joints: list[str], space: str) -> list[str]:
    """Names of the action's values in a contract: joints that they move, where that can be told."""
    arm = [name for name in values.action_names if name not in grippers]
    if space.startswith("ee_"):
        if len(arm) != len(TOOL_COLUMNS):
            raise DatasetError(
                f"{len(arm)} action values besides the grippers: {space} has {list(TOOL_COLUMNS)}"
            )
        ours = dict(zip(arm, TOOL_COLUMNS, strict=True))
    else:
        known = {_SUFFIX.sub("", joint): joint for joint in joints}
        ours = {name: known.get(_SUFFIX.sub("", name), "") for name in arm}
        if "" in ours.values() or len(set(ours.values())) != len(arm):
            if len(arm) > len(joints):
                raise DatasetError(
                    f"{len(arm)} action values besides the grippers but {len(joints)} joints in state: say "
                    "which action space it is"
                )
            ours = dict(zip(arm, joints, strict=False))
    taken = set(ours.values())
    return [
        ours.get(name) or (_numbered("gripper", grippers.index(name)) if name in taken else name)
        for name in values.action_names
    ]


def _head(dataset: Dataset, values: _Values, joints: list[str]) -> list[str]:
    places = [values.state_names.index(joint) for joint in joints]
    wide = bool(places) and np.abs(values.state[:, places]).max() > 2.5 * np.pi
    units = (
        "CHECK: values up to "
        f"{np.abs(values.state[:, places]).max():.0f} look like degrees; convert them with a mapping."
        if wide
        else "CHECK that the data has them; if not, convert with a mapping."
    )
    facts = {"root": dataset.root.name, "episodes": dataset.num_episodes, "frames": dataset.num_frames}
    version = dataset.info.get("codebase_version")
    return _HEAD.format(mark=PLACEHOLDER, units=units, version=version, **facts).splitlines()


def _top(dataset: Dataset, name: str) -> list[str]:
    fps = dataset.fps
    return [
        "schema: 1",
        f"name: {_flow(name)}",
        f"robot_type: {_flow(str(dataset.info.get('robot_type') or PLACEHOLDER))}",
        f"rate_hz: {int(fps) if fps == int(fps) else fps}",
        f"reference_camera: {_flow(dataset.cameras[0])}        # CHECK: the one whose images set the time",
    ]


def _cameras(dataset: Dataset) -> list[str]:
    lines = ["", "cameras:"]
    for camera in dataset.cameras:
        height, width = image_size(dataset.features[dataset.camera_feature(camera)])
        entry = {
            "topic": f"/{PLACEHOLDER}/{camera}/image_raw",
            "transport": "raw",
            "width": width,
            "height": height,
        }
        lines.append(f"  {_flow(camera)}: {_flow(entry)}")
    return lines


def _state(values: _Values, joints: list[str]) -> list[str]:
    topic = f"/{PLACEHOLDER}/joint_states"
    lines = ["", "topics:", f"  {topic}: {{type: joint_state}}", "", "state:"]
    for name in values.state_names:
        unit = "rad" if name in joints else "1"
        lines.append(
            "  - " + _flow({"name": name, "topic": topic, "field": "position", "joint": name, "unit": unit})
        )
    return lines


def _action(values: _Values, columns: list[str], grippers: list[str], space: str, fps: float) -> list[str]:
    lines = ["", "action:", f"  space: {space}        # CHECK: one of {', '.join(ACTION_SPACES)}"]
    if space.endswith("_delta"):
        lines.append("  delta_reference: measured        # CHECK: measured, commanded or chunk_start")
    if space == "ee_delta":
        lines.append("  frame: base        # CHECK: base or tool")
    lines += [f"  topic: /{PLACEHOLDER}/command", "  dimensions:"]
    for theirs, name in zip(values.action_names, columns, strict=True):
        unit = "1" if theirs in grippers else "m" if name in TOOL_COLUMNS[:3] else "rad"
        speed = space == "joint_delta" and _SPEED.search(theirs) and "delta" not in theirs.lower()
        note = f"        # the data's {theirs}" if theirs != name else ""
        entry: dict[str, Any] = {"name": name, "unit": unit}
        if speed and theirs not in grippers:
            entry["scale"] = round(1.0 / fps, 6)
            note += "; CHECK: a speed, times the period"
        lines.append("    - " + _flow(entry) + note)
    return lines


def _grippers(values: _Values, grippers: list[str], columns: list[str]) -> list[str]:
    """An entry per gripper; measured ones are taken in their order, as far as there are any."""
    measured = [n for n, name in enumerate(values.state_names) if _GRIPPER.search(name)]
    lines = ["", "grippers:"]
    for number, gripper in enumerate(grippers):
        place = values.action_names.index(gripper)
        column = values.action[:, place]
        low, high = float(column.min()), float(column.max())
        if high - low < 1e-6:
            low, high = 0.0, 1.0
        binary = len(np.unique(column.round(4))) <= 2
        known = number < len(measured)
        joint = values.state_names[measured[number]] if known else _numbered(PLACEHOLDER, number)
        at = values.state[:, measured[number]] if known else np.array([0.0, 1.0])
        lines += [
            f"  - dimension: {_flow(columns[place])}",
            f"    mode: {'binary' if binary else 'continuous'}",
            f"    open: {high:.6g}        # CHECK: which of the two opens",
            f"    closed: {low:.6g}",
            f"    joint: {_flow(joint)}",
            f"    open_position: {at.max():.6g}        # CHECK",
            f"    closed_position: {at.min():.6g}",
            f"    topic: /{PLACEHOLDER}/{_numbered('gripper_commands', number)}",
        ]
    return lines


def _numbered(text: str, number: int) -> str:
    """The text, with a number from the second on."""
    return f"{text}_{number + 1}" if number else text


def _rest(values: _Values, joints: list[str], space: str) -> list[str]:
    lines = [
        "",
        "teleop:",
        f"  topic: /{PLACEHOLDER}/teleop_command",
        "",
        "command:",
        "  type: joint_trajectory        # CHECK: what the arm's driver takes",
        f"  topic: /{PLACEHOLDER}/joint_trajectory",
        "  lead_s: 0.1        # CHECK: a command given at time s is reached at s + lead_s",
        "",
        "limits:        # CHECK: extremes of the data with a margin",
    ]
    for joint in joints:
        place = values.state_names.index(joint)
        low, high = float(values.state[:, place].min()), float(values.state[:, place].max())
        margin = max(POSITION_MARGIN * (high - low), _LEAST_MARGIN)
        entry = {
            "position": [round(low - margin, 3), round(high + margin, 3)],
            "velocity": round(max(RATE_MARGIN * float(values.velocity[place]), _LEAST_VELOCITY), 2),
            "acceleration": round(
                max(RATE_MARGIN * float(values.acceleration[place]), _LEAST_ACCELERATION), 1
            ),
        }
        lines.append(f"  {_flow(joint)}: {_flow(entry)}")
    if space.startswith("ee_"):
        lines += ["", "kinematics:", "  urdf: robot_description"]
        lines += [f"  base_link: {PLACEHOLDER}", f"  tool_link: {PLACEHOLDER}"]
    return lines


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
        .removesuffix("...\n")
        .strip()
    )
