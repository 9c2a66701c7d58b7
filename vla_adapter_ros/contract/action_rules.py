"""Rules of a contract about its action: where it is heard, what it drives, and what it is recorded from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vla_adapter_ros.contract.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, DeltaReference, JointField, TopicType
from vla_adapter_ros.contract.schema import TOOL_COLUMNS

Require = Callable[[Any, str, Any, str], None]
"""Called with: whether a rule holds, the key, its value, and what is allowed."""


def check_commands(contract: Contract, require: Require) -> None:
    """Where commands are heard: on known topics, tool poses and twists for the values of a tool."""
    for i, dimension in enumerate(contract.action.dimensions):
        known = ("", contract.action.topic, *contract.topics)
        where = f"action.dimensions[{i}].topic"
        require(dimension.topic in known, where, dimension.topic, f"one of {list(contract.topics)}")
        if dimension.topic not in known:
            return
    for i, dimension in enumerate(contract.action.dimensions):
        require(
            dimension.scale == 1 or dimension.unit.factor == 1,
            f"action.dimensions[{i}].scale", dimension.scale, f"1 with unit {dimension.unit}",
        )  # fmt: skip
    for topic, kind in contract.command_topics.items():
        names = tuple(contract.dimensions_on(topic))
        if kind in (TopicType.POSE, TopicType.TWIST):
            require(
                set(names) <= set(TOOL_COLUMNS),
                "action", f"{kind} on {topic} for {names}", f"{kind} messages for {TOOL_COLUMNS}",
            )  # fmt: skip
    action = contract.action
    require(
        action.field is JointField.POSITION or action.type is TopicType.JOINT_STATE,
        "action.field", action.field, f"position with type {action.type}",
    )  # fmt: skip


def check_grippers(contract: Contract, require: Require) -> None:
    """Every gripper moves by a dimension of its own, and is told on a topic of its own."""
    for i, gripper in enumerate(contract.grippers):
        where, before = f"grippers[{i}]", contract.grippers[:i]
        require(
            gripper.dimension in contract.action_names,
            f"{where}.dimension", gripper.dimension, f"one of {contract.action_names}",
        )  # fmt: skip
        require(gripper.open != gripper.closed, f"{where}.open", gripper.open, "another value than 'closed'")
        for key in ("dimension", "joint", "topic"):
            value = getattr(gripper, key)
            require(
                value not in [getattr(other, key) for other in before],
                f"{where}.{key}", value, "another one than that of a gripper before it",
            )  # fmt: skip


def check_driven_joints(contract: Contract, require: Require) -> None:
    """Every joint of the arm is driven by one dimension; `joint` stands only where it says something."""
    require(
        contract.arm_columns,
        "action.dimensions", list(contract.action_names), "at least one that is no gripper's",
    )  # fmt: skip
    space, joints = contract.action.space, contract.action_joints
    why = f"none in {space}" if space.is_cartesian else "none here: the joint is named with the gripper"
    for i, (dimension, joint) in enumerate(zip(contract.action.dimensions, joints, strict=True)):
        where = f"action.dimensions[{i}].joint"
        require(joint or not dimension.joint, where, dimension.joint, why)
        require(not joint or joint not in joints[:i], where, joint, "a joint that no dimension before drives")


def check_next_states(contract: Contract, require: Require) -> None:
    """Where actions are next states, the state says all that the action does."""
    if not contract.hand_guided:
        return
    action, spaces = (
        contract.action,
        (ActionSpace.JOINT_POSITION, ActionSpace.JOINT_DELTA, ActionSpace.EE_POSE),
    )
    from_start = action.delta_reference is DeltaReference.CHUNK_START
    require(
        action.space in spaces,
        "action.source", f"next_state in {action.space}", f"next_state in {', '.join(spaces)}; else command",
    )  # fmt: skip
    require(
        action.space is not ActionSpace.JOINT_DELTA or not from_start,
        "action.source", "next_state with delta_reference chunk_start",
        "next_state with delta_reference measured or commanded",
    )  # fmt: skip
    require(
        action.space is not ActionSpace.EE_POSE or contract.measured_tool_pose,
        "action.source", "next_state in ee_pose",
        "next_state with a state that has position.x to orientation.w of a pose topic",
    )  # fmt: skip
    measured = contract.measured_joints
    wanted = dict(zip(contract.action_names, contract.action_joints, strict=True))
    wanted |= {gripper.dimension: gripper.joint for gripper in contract.grippers}
    for place, name in enumerate(contract.action_names):
        known = not wanted[name] or wanted[name] in measured or place in contract.commanded_places
        require(
            known, f"action.dimensions[{place}]", name,
            f"with source next_state one whose joint a state measures ({wanted[name]} has none), or one with "
            "a topic",
        )  # fmt: skip
