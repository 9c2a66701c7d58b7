"""Rules of a contract that span several keys."""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.contract.action_rules import (
    Require,
    check_commands,
    check_driven_joints,
    check_grippers,
    check_next_states,
)
from vla_adapter_ros.contract.contract import Contract
from vla_adapter_ros.contract.encodings import PIXELS
from vla_adapter_ros.contract.enums import (
    Route,
    TakeoverKind,
    TopicType,
    Transport,
    Unit,
)
from vla_adapter_ros.contract.schema import TOOL_COLUMNS, Topic
from vla_adapter_ros.untrusted import NAME_RULE, is_name, short

SHORTEST_OPERATOR_S = 0.5  # of `safety.operator_timeout_s`: one late message must not end an instruction


def broken_rules(contract: Contract) -> list[str]:
    """What does not fit together: a sentence per rule, with key, value and what is allowed."""
    broken: list[str] = []

    def require(holds: Any, where: str, value: Any, allowed: str) -> None:
        if not holds:
            broken.append(f"contract.{where} = {short(value)}: allowed is {allowed}")

    for rules in (
        _cameras, _state, check_commands, check_grippers, check_driven_joints, check_next_states, _groups,
        _teleop, _tool, _limits, _home, _operator,
    ):  # fmt: skip
        rules(contract, require)
    return broken


def _cameras(contract: Contract, require: Require) -> None:
    require(contract.cameras, "cameras", contract.cameras, "at least one entry")
    for name, camera in contract.cameras.items():
        where = f"cameras.{name}.encoding"
        require(is_name(name), "cameras", name, NAME_RULE)  # they become parts of paths
        require(
            camera.encoding in ("", *PIXELS), where, camera.encoding, f"one of {['', *PIXELS]}"
        )  # fmt: skip
        require(
            not camera.encoding or camera.transport is Transport.RAW,
            where, camera.encoding, "none with transport compressed",
        )  # fmt: skip
        if camera.pose is not None:
            turn = camera.pose.orientation
            require(
                abs(sum(value * value for value in turn) - 1.0) < 0.01,
                f"cameras.{name}.pose.orientation", list(turn), "a quaternion x, y, z, w of length 1",
            )  # fmt: skip
    for name, camera in contract.depth_cameras.items():
        require(is_name(name), "depth_cameras", name, NAME_RULE)
        require(name not in contract.cameras, "depth_cameras", name, "a name that no camera has")
        require(
            not camera.encoding, f"depth_cameras.{name}.encoding", camera.encoding,
            "none: depth is what its messages say, 16UC1 [mm] or 32FC1 [m]",
        )  # fmt: skip
    require(
        contract.reference_camera in contract.cameras,
        "reference_camera", contract.reference_camera, f"one of {list(contract.cameras)}",
    )  # fmt: skip


def _state(contract: Contract, require: Require) -> None:
    for where, names in (("state", contract.state_names), ("action.dimensions", contract.action_names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, where, twice, "each name once")
    for i, dimension in enumerate(contract.state):
        where = f"state[{i}]"
        topic = contract.topics.get(dimension.topic)
        require(topic, f"{where}.topic", dimension.topic, f"one of {list(contract.topics)}")
        if topic is None:
            continue
        require(
            dimension.field in _fields(topic), f"{where}.field", dimension.field,
            _fields_allowed(dimension.topic, topic),
        )  # fmt: skip
        needs_joint = topic.type is TopicType.JOINT_STATE
        require(
            bool(dimension.joint) == needs_joint,
            f"{where}.joint", dimension.joint,
            "a joint name" if needs_joint else f"none on a {topic.type} topic",
        )  # fmt: skip


def _fields(topic: Topic) -> tuple[str, ...]:
    return topic.joints if topic.type is TopicType.FLOAT64_ARRAY else topic.type.fields


def _fields_allowed(name: str, topic: Topic) -> str:
    if topic.type is TopicType.FLOAT64_ARRAY and not topic.joints:
        return f"a name under topics.{name}.joints, which names the values of its messages in order"
    return f"one of {_fields(topic)}" if _fields(topic) else f"no state: a {topic.type} carries commands only"


def _groups(contract: Contract, require: Require) -> None:
    """The controllers together drive every joint of the arm, each joint by one of them."""
    command = contract.command
    require(
        bool(command.topic) != bool(command.groups),
        "command.topic", command.topic, "one with no groups, none with groups",
    )  # fmt: skip
    if not command.groups:
        return
    require(
        not command.type.is_cartesian,
        "command.groups", f"{len(command.groups)} with type {command.type}",
        "none: a Cartesian controller moves one tool with all joints",
    )  # fmt: skip
    taken: list[str] = []
    topics = [gripper.topic for gripper in contract.grippers]
    for i, group in enumerate(command.groups):
        where = f"command.groups[{i}]"
        require(
            group.topic not in topics, f"{where}.topic", group.topic, "a topic that nothing else is told on"
        )
        topics.append(group.topic)
        for joint in group.joints:
            free = [j for j in contract.arm_joints if j not in taken]
            require(joint in free, f"{where}.joints", joint, f"each joint of the arm once: one of {free}")
            taken.append(joint)
    left = [joint for joint in contract.arm_joints if joint not in taken]
    require(not left, "command.groups", f"none for {left}", "a group for every joint of the arm")


def _teleop(contract: Contract, require: Require) -> None:
    """A human's commands must not be the controller's own, and a clutch needs a topic."""
    teleop = contract.teleop
    require(
        bool(teleop.topic) != bool(teleop.groups) or (contract.hand_guided and not teleop.groups),
        "teleop.topic", teleop.topic,
        "one with no groups, none with groups; neither where action.source is next_state",
    )  # fmt: skip
    for group in contract.teleop_groups:
        require(
            group.topic != contract.action.topic,
            "teleop.topic", group.topic,
            "another topic than action.topic: the controller publishes there, and would follow itself",
        )  # fmt: skip
    _teleop_groups(contract, require)
    require(
        bool(teleop.takeover_topic) == (teleop.takeover is TakeoverKind.TOPIC),
        "teleop.takeover_topic", teleop.takeover_topic,
        "the topic of the clutch with takeover: topic, and none without",
    )  # fmt: skip
    require(
        not teleop.publishers or teleop.route is Route.DIRECT,
        "teleop.publishers", list(teleop.publishers), "none unless route is direct",
    )  # fmt: skip


def _teleop_groups(contract: Contract, require: Require) -> None:
    """The devices of a human together give every value of the action, each value by one of them."""
    groups = contract.teleop.groups
    taken: list[str] = []
    for i, group in enumerate(groups):
        where, before = f"teleop.groups[{i}]", [other.topic for other in groups[:i]]
        require(
            group.topic not in before,
            f"{where}.topic",
            group.topic,
            "another one than that of a group before it",
        )
        names = group.names_in_messages
        require(
            len(set(names)) == len(names) == len(group.dimensions),
            f"{where}.names", list(names), f"a name of its own for each of {list(group.dimensions)}",
        )  # fmt: skip
        for name in group.dimensions:
            free = [n for n in contract.action_names if n not in taken]
            require(
                name in free, f"{where}.dimensions", name, f"each value of the action once: one of {free}"
            )
            taken.append(name)
    left = [name for name in contract.action_names if name not in taken]
    require(
        not groups or not left, "teleop.groups", f"none for {left}", "a group for every value of the action"
    )


def _tool(contract: Contract, require: Require) -> None:
    """What concerns the tool point: columns of the ee spaces, the box, and where kinematics are needed."""
    space, command = contract.action.space, contract.command.type
    require(
        not space.is_cartesian or contract.arm_columns == TOOL_COLUMNS,
        "action.dimensions", contract.arm_columns, f"{TOOL_COLUMNS} in {space}",
    )  # fmt: skip
    needs = [name for name, needed in (
        (f"action space {space}", space.is_cartesian),
        (f"command type {command}", command.is_cartesian),
        ("a workspace", contract.workspace is not None),
    ) if needed]  # fmt: skip
    require(
        contract.kinematics is not None or not needs,
        "kinematics", None, f"an entry, since it is needed for {', '.join(needs)}",
    )  # fmt: skip
    for i, dimension in enumerate(contract.state):
        angle = dimension.unit is not Unit.PERCENT or dimension.joint not in contract.arm_joints
        require(
            contract.kinematics is None or angle,
            f"state[{i}].unit", dimension.unit, "rad, degree or m for a joint that moves a tool",
        )  # fmt: skip
    if contract.workspace is not None:
        low, high = contract.workspace.low, contract.workspace.high
        require(
            len(low) == len(high) == 3 and all(a < b for a, b in zip(low, high, strict=True)),
            "workspace", [list(low), list(high)], "[x, y, z] each, low < high",
        )  # fmt: skip


def _limits(contract: Contract, require: Require) -> None:
    """Every joint of the arm is measured and has limits."""
    measured = set(contract.state_joints) - {""}
    where = "limits" if contract.action.space.is_cartesian else "action.dimensions"
    for joint in contract.arm_joints:
        require(joint in measured, where, joint, f"joints measured in state: {sorted(measured)}")
        require(joint in contract.limits, "limits", f"no limits for {joint}", "an entry per arm joint")
    for joint, limit in contract.limits.items():
        ok = len(limit.position) == 2 and limit.position[0] < limit.position[1]
        require(ok, f"limits.{joint}.position", list(limit.position), "[low, high] with low < high")


def _home(contract: Contract, require: Require) -> None:
    """The home pose names every joint of the arm, each inside its limits."""
    joints = set(contract.arm_joints)
    require(
        not contract.home or set(contract.home) == joints,
        "home", list(contract.home), f"each of {list(contract.arm_joints)} once, or no entry",
    )  # fmt: skip
    for joint in joints & set(contract.home) & set(contract.limits):
        low, high = min(contract.limits[joint].position), max(contract.limits[joint].position)
        value = contract.home[joint]
        require(low <= value <= high, f"home.{joint}", value, f"{low:g} to {high:g}, the joint's limits")


def _operator(contract: Contract, require: Require) -> None:
    timeout_s = contract.safety.operator_timeout_s
    require(
        timeout_s == 0 or timeout_s >= SHORTEST_OPERATOR_S, "safety.operator_timeout_s", timeout_s,
        f"0 (nobody watches), or {SHORTEST_OPERATOR_S:g} to 60: an operator's page is heard at 5 Hz",
    )  # fmt: skip
