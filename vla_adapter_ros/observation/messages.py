"""What messages without images say, alike for those of a node and those of a bag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import TopicType
from vla_adapter_ros.contract.schema import TOOL_COLUMNS
from vla_adapter_ros.errors import FrameError

if TYPE_CHECKING:
    from vla_adapter_ros.observation.builder import ObservationBuilder


def message_types(contract: Contract, *, with_action: bool = True) -> dict[str, TopicType]:
    """Topics without images that are needed, for the state and with the action -> what their messages are."""
    used = {d.topic for d in contract.state}
    types = {topic: entry.type for topic, entry in contract.topics.items() if topic in used}
    return types | contract.command_topics if with_action else types


def stamp_of(message: Any) -> float:
    """Stamp in a message's header [s]."""
    stamp = message.header.stamp
    return float(stamp.sec + stamp.nanosec * 1e-9)


def add_values(
    builder: ObservationBuilder, contract: Contract, topic: str, message: Any, received: float
) -> None:
    """Hand a message without an image to an observation builder.

    Args:
        builder: Takes it.
        contract: Says what the messages on the topic are.
        topic: Where it came.
        message: Of ROS, or of a bag reader.
        received: When it came [s]; also the stamp of messages that have none.

    Raises:
        FrameError: unknown topic, or names and values that do not go together.
    """
    types = message_types(contract)
    if topic not in types:
        raise FrameError(f"topic {topic!r}: allowed are {list(types)}")
    kind = types[topic]
    stamp = stamp_of(message) if hasattr(message, "header") else received
    if kind == "joint_state":
        given = max((message.position, message.velocity, message.effort), key=len)
        names = message.name if len(message.name) or not len(given) else _names(contract, topic, len(given))
        fields: Sequence[Sequence[float]] = (message.position, message.velocity, message.effort)
        if topic in contract.command_topics:
            names, fields = _with_dimensions(contract, topic, names, fields)
        builder.add_joint_state(topic, stamp, received, names, *fields)
    elif kind == "pose":
        values = pose_values(message)
        names = [*TopicType.POSE.fields, *TOOL_COLUMNS]
        builder.add_values(topic, stamp, received, names, [*values, *tool_pose(values)])
    elif kind == "twist":
        values = twist_values(message)
        names = [*TopicType.TWIST.fields, *TOOL_COLUMNS]  # as a state, and as a command
        builder.add_values(topic, stamp, received, names, [*values, *values])
    elif kind == "wrench":
        builder.add_values(topic, stamp, received, TopicType.WRENCH.fields, wrench_values(message))
    elif kind == "float64_array":
        builder.add_values(topic, stamp, received, _names(contract, topic, len(message.data)), message.data)
    else:
        _add_trajectory(builder, contract, topic, message, stamp or received, received)


def _with_dimensions(
    contract: Contract, topic: str, names: Sequence[str], fields: Sequence[Sequence[float]]
) -> tuple[Sequence[str], Sequence[Sequence[float]]]:
    """Names and fields of joint states, and behind them, as dimensions of the action, what joints drive.

    A leader may call its values as the arm does: two leaders call theirs the same, each on its own topic.
    """
    driven = contract.dimensions_on(topic)
    joints = list(driven.values())
    others = {joint: name for name, joint in driven.items() if name != joint and joints.count(joint) == 1}
    places = [n for n, name in enumerate(names) if name in others and others[name] not in names]
    if not places:
        return names, fields
    more = [others[names[n]] for n in places]
    whole = [[*f, *(f[n] for n in places)] if len(f) == len(names) else f for f in fields]
    return [*names, *more], whole


def _add_trajectory(
    builder: ObservationBuilder, contract: Contract, topic: str, message: Any, stamp: float, received: float
) -> None:
    """A JointTrajectory: its first point is the command of its stamp, later ones come as much later."""
    ours = {joint: name for name, joint in contract.dimensions_on(topic).items()}
    names = [name if name in ours.values() else ours.get(name, name) for name in message.joint_names]
    names = names or list(_names(contract, topic, len(message.points[0].positions) if message.points else 0))
    times = [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in message.points]
    points = []
    for time, point in zip(times, message.points, strict=True):
        if len(point.positions) != len(names):
            raise FrameError(f"{topic}: {len(names)} names but {len(point.positions)} positions")
        points.append((time - times[0], point.positions))
    builder.add_trajectory(topic, stamp, received, names, points)


def _names(contract: Contract, topic: str, count: int) -> Sequence[str]:
    """Names of the values of a message that carries none.

    Raises:
        FrameError: the contract does not say so many.
    """
    entry = contract.topics.get(topic)
    names = (
        tuple(entry.joints) if entry is not None and entry.joints else tuple(contract.dimensions_on(topic))
    )
    if len(names) != count:
        raise FrameError(
            f"{topic}: a message of {count} values without names, the contract names {len(names)}: "
            f"allowed are as many under topics.{topic}.joints"
        )
    return names


def pose_values(message: Any) -> list[float]:
    """Position [m] and orientation of a PoseStamped, of ROS or of a bag, (7,): `TopicType.POSE.fields`."""
    return _values_of(message.pose, TopicType.POSE)


def twist_values(message: Any) -> list[float]:
    """Linear [m/s] and angular [rad/s] velocity of a TwistStamped, (6,): `TopicType.TWIST.fields`."""
    return _values_of(message.twist, TopicType.TWIST)


def wrench_values(message: Any) -> list[float]:
    """Force [N] and torque [Nm] of a WrenchStamped, (6,): `TopicType.WRENCH.fields`."""
    return _values_of(message.wrench, TopicType.WRENCH)


def _values_of(content: Any, kind: TopicType) -> list[float]:
    parts = (field.split(".") for field in kind.fields)
    return [getattr(getattr(content, part), axis) for part, axis in parts]


def tool_pose(values: Sequence[float]) -> list[float]:
    """Translation [m] and rotation vector [rad], (6,), of a position and a quaternion x, y, z, w, (7,)."""
    x, y, z, w = values[3:]
    length = math.sqrt(x * x + y * y + z * z)
    half = math.atan2(length, w) if w >= 0 else math.atan2(-length, -w)  # the shorter way round
    factor = 2 * half / length if length > 1e-12 else 2.0
    return [*values[:3], factor * x, factor * y, factor * z]
