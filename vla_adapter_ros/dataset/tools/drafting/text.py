"""Writes drafted contracts and mappings as YAML with comments."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from vla_adapter_ros.contract import relative_name
from vla_adapter_ros.contract.enums import ActionSpace
from vla_adapter_ros.contract.migration import SCHEMA
from vla_adapter_ros.dataset.tools.drafting.plan import Plan

PLACEHOLDER = "FILL_IN"
POSITION_MARGIN, RATE_MARGIN = 0.1, 1.5  # fraction of the range on each side; factor on the fastest motion
_LEAST_MARGIN, _LEAST_VELOCITY, _LEAST_ACCELERATION = 0.05, 0.5, 1.0


@dataclass(frozen=True)
class CameraEntry:
    """A camera of the contract; `fit` says what becomes of images of another size, `note` why."""

    topic: str
    width: int
    height: int
    fit: str = ""
    note: str = ""
    transport: str = "raw"
    max_age_s: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What a contract says beside state and action.

    Attributes:
        head: Lines of the comment at the top.
        state_topics: Name of a state value -> its topic; empty: one that is to be filled in.
        topics: Topic -> its entry; empty: joint states on those of the state.
        command_topics: All on which commands are heard.
        action_topic: Where most are heard.
        action_keys: Further keys of `action`.
    """

    name: str
    robot_type: str
    rate_hz: float
    cameras: Mapping[str, CameraEntry]
    head: list[str]
    state_topics: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    command_topics: Collection[str] = ()
    action_topic: str = f"{PLACEHOLDER}/command"
    action_keys: Mapping[str, Any] = field(default_factory=dict)


def contract_text(plan: Plan, facts: Facts) -> str:
    """A contract as YAML."""
    lines = [f"# {line}".rstrip() for line in facts.head]
    lines += [
        f"schema: {SCHEMA}",
        f"name: {flow(facts.name)}",
        f"robot_type: {flow(facts.robot_type)}",
        f"rate_hz: {facts.rate_hz:g}",
        f"reference_camera: {flow(next(iter(facts.cameras)))}"
        "        # CHECK: the one whose images set the time",
        "",
        "cameras:",
    ]
    for name, camera in facts.cameras.items():
        entry = {
            "topic": relative_name(camera.topic),
            "transport": camera.transport,
            "width": camera.width,
            "height": camera.height,
        }
        entry |= {"fit": camera.fit} if camera.fit else {}
        entry |= {"max_age_s": camera.max_age_s} if camera.max_age_s else {}
        note = f"        # {camera.note}: videos need even sizes" if camera.fit else ""
        lines.append(f"  {flow(name)}: {flow(entry)}{note}")
    lines += _state(plan, facts) + _action(plan, facts) + _grippers(plan) + _rest(plan)
    return "\n".join(lines) + "\n"


def mapping_text(
    plan: Plan, cameras: Mapping[str, str], contract: str, root: str, resample: bool = False
) -> str:
    """A mapping as YAML; `cameras`: name in the contract -> in the data set; empty: all keep theirs."""
    lines = [
        f"# DRAFT of a mapping: where the contract {contract} finds its values in the data set {root}.",
        "# Use it with: vla-adapter dataset import-lerobot PATH --mapping THIS_FILE --output DIR",
        "#              vla-adapter finetune --dataset PATH,mapping=THIS_FILE ...",
        "schema: 1",
        f"contract: {flow(contract)}",
    ]
    lines += ["resample: true        # rows at the contract's rate"] if resample else []
    if cameras:
        lines += ["cameras:", *(f"  {flow(name)}: {flow(camera)}" for name, camera in cameras.items())]
    for part, values in (("state", plan.state), ("action", plan.action)):
        lines.append(f"{part}:")
        for value in values:
            entry: Any = {"from": value.source.text, "unit": value.unit.source}
            if value.unit.offset:
                entry["offset"] = round(value.unit.offset, 6)
            entry = entry if value.unit.converts else value.source.text
            note = "" if value.source.name == value.name else f"        # {value.source.name}"
            doubtful = value.unit.doubtful.partition(";")[0]
            note += f"        # CHECK: or {doubtful}" if doubtful else ""
            lines.append(f"  {flow(value.name)}: {flow(entry)}{note}")
    return "\n".join(lines) + "\n"


def _state(plan: Plan, facts: Facts) -> list[str]:
    topic = f"{PLACEHOLDER}/joint_states"
    topics = {value.name: facts.state_topics.get(value.name, topic) for value in plan.state}
    entries = facts.topics or {topic: {"type": "joint_state"} for topic in topics.values()}
    lines = [
        "",
        "topics:",
        *(f"  {flow(relative_name(name))}: {flow(entry)}" for name, entry in entries.items()),
        "",
        "state:",
    ]
    for value in plan.state:
        entry = {
            "name": value.name, "topic": relative_name(topics[value.name]), "field": value.kind,
            "joint": value.joint, "unit": value.unit.contract,
        }  # fmt: skip
        note = "        # " + "; ".join(value.notes) if value.notes else ""
        lines.append("  - " + flow(entry) + note)
    return lines


def _action(plan: Plan, facts: Facts) -> list[str]:
    lines = ["", "action:", f"  space: {plan.space}        # CHECK: one of {', '.join(ActionSpace.words())}"]
    if plan.space.endswith("_delta"):
        lines.append("  delta_reference: measured        # CHECK: measured, commanded or chunk_start")
    if plan.space == "ee_delta":
        lines.append("  frame: base        # CHECK: base or tool")
    lines += [f"  {key}: {flow(value)}" for key, value in facts.action_keys.items()]
    lines += [f"  topic: {flow(relative_name(facts.action_topic))}", "  dimensions:"]
    for value in plan.action:
        entry: dict[str, Any] = {"name": value.name, "unit": value.unit.contract}
        entry |= {"scale": value.scale} if value.scale != 1.0 else {}
        entry |= {"joint": value.joint} if value.joint not in ("", value.name) else {}
        if value.source.column in facts.command_topics and value.source.column != facts.action_topic:
            entry["topic"] = relative_name(value.source.column)
        note = "        # " + "; ".join(value.notes) if value.notes else ""
        lines.append("    - " + flow(entry) + note)
    return lines


def _grippers(plan: Plan) -> list[str]:
    """An entry per gripper, with the positions of its measured joint where the data has one."""
    lines = ["", "grippers:" if plan.grippers else "grippers: []"]
    taken: set[str] = set()
    for number, value in enumerate(plan.grippers):
        low, high = _range(value.values)
        binary = len(np.unique(value.values[np.isfinite(value.values)].round(4))) <= 2
        measured = value.measured
        ends = _range(measured.values) if measured is not None else (0.0, 1.0)
        if value.slope < 0:
            ends = ends[::-1]
        joint = measured.name if measured is not None else numbered(PLACEHOLDER, number)
        if joint in taken:  # two actions move one joint
            joint = numbered(PLACEHOLDER, number)
        taken.add(joint)
        lines += [
            f"  - dimension: {flow(value.name)}",
            f"    mode: {'binary' if binary else 'continuous'}",
            f"    open: {high:.6g}        # CHECK: which of the two opens",
            f"    closed: {low:.6g}",
            f"    joint: {flow(joint)}",
            f"    open_position: {ends[1]:.6g}        # CHECK",
            f"    closed_position: {ends[0]:.6g}",
            f"    topic: {PLACEHOLDER}/{numbered('gripper_commands', number)}",
        ]
    return lines


def _range(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return (low, high) if high - low >= 1e-6 else (min(low, 0.0), max(low, 0.0) + (1.0 if low <= 0 else 0.0))


def numbered(text: str, number: int) -> str:
    """The text, with a number from the second on."""
    return f"{text}_{number + 1}" if number else text


def _rest(plan: Plan) -> list[str]:
    lines = [
        "",
        "teleop:",
        f"  topic: {PLACEHOLDER}/teleop_command",
        "",
        "command:",
        "  type: joint_trajectory        # CHECK: what the arm's driver takes",
        f"  topic: {PLACEHOLDER}/joint_trajectory",
        "  command_delay_s: 0.1        # CHECK: a command given at time s is reached at s + command_delay_s",
        "",
        "limits:        # CHECK: extremes of states and actions with a margin",
    ]
    tool = plan.space.startswith("ee_")
    if tool:
        joints = [value for value in plan.state if not value.gripper and value.kind == "position"]
    else:
        driven = (value.measured for value in plan.action if not value.gripper)
        joints = [value for value in driven if value is not None]
    for joint in joints:
        seen = [joint.values]
        if plan.space == "joint_position":
            seen += [value.values for value in plan.action if value.measured is joint and not value.gripper]
        lines.append(
            f"  {flow(joint.name)}: {flow(limits_of(np.concatenate(seen), *plan.fastest[joint.name]))}"
        )
    if tool:
        lines += ["", "kinematics:", "  urdf: robot_description"]
        lines += [f"  base_link: {PLACEHOLDER}", f"  tool_link: {PLACEHOLDER}"]
    return lines


def limits_of(values: np.ndarray, velocity: float, acceleration: float) -> dict[str, Any]:
    """Limits of a joint: what was seen, (N,), with a margin."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (-1.0, 1.0)
    margin = max(POSITION_MARGIN * (high - low), _LEAST_MARGIN)
    return {
        "position": [round(low - margin, 3), round(high + margin, 3)],
        "velocity": round(max(RATE_MARGIN * velocity, _LEAST_VELOCITY), 2),
        "acceleration": round(max(RATE_MARGIN * acceleration, _LEAST_ACCELERATION), 1),
    }


def flow(value: Any) -> str:
    """A value as YAML in one line."""
    text = str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6))
    return text.removesuffix("...\n").strip()
