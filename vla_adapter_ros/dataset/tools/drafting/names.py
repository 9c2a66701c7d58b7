"""What names of values say: which side, position or speed, a pose or a joint."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from vla_adapter_ros.dataset.joint_names import tokens

_QUANTITIES = {
    "pos": "position", "position": "position", "qpos": "position", "rad": "position", "deg": "position",
    "vel": "velocity", "velocity": "velocity", "qvel": "velocity", "speed": "velocity",
    "effort": "effort", "torque": "effort", "current": "effort", "eff": "effort", "tau": "effort",
    "force": "effort", "forces": "effort", "torques": "effort",
}  # fmt: skip
_SILENT = {
    "action", "actions", "state", "observation", "cmd", "command", "target", "delta", "main", "leader",
    "follower", "master", "puppet", "joint", "joints", "motor", "motors", "arm", "j", "q", "dim",
    "value", "values",
}  # fmt: skip
_DELTAS = {"delta", "vel", "velocity", "speed"}
_COMPONENTS = {"x", "y", "z", "w", *(f"{what}{axis}" for what in "qfmt" for axis in "xyzw")}
_NO_JOINTS = {"force", "forces", "wrench", "quat", "quaternion", "pose"}
_AXES = ("x", "y", "z")
_OF_CAMERAS = {"image", "raw", "rect", "color", "rgb", "compressed", "camera", "cam"}
COMMAND_WORDS = {
    "command", "commands", "cmd", "target", "goal", "leader", "master", "desired", "teleop", "action",
    "reference", "gello",
}  # fmt: skip
"""Words of topics on which somebody says what shall be, not what is."""


def camera_name(topic: str, taken: Collection[str]) -> str:
    """What to call the camera of a topic, by its words but for those that every camera has; not yet taken."""
    name = "_".join(token for token in tokens(topic) if token not in _OF_CAMERAS) or "camera"
    while name in taken:
        name += "_2"
    return name


def is_generic(name: str) -> bool:
    """Whether a name says nothing but a number, such as `joint_3` or `motor4`."""
    return all(token.isdigit() or token in _SILENT or token in _QUANTITIES for token in tokens(name))


def quantity(name: str) -> str:
    """What a value of a joint is by the last word of its name: position, velocity or effort."""
    found = [token for token in tokens(name) if not token.isdigit()]
    return _QUANTITIES.get(found[-1], "position") if found else "position"


def is_of_no_joint(name: str) -> bool:
    """Whether a name says that a value is one of a pose, a quaternion, a force or a torque."""
    found = [token for token in tokens(name) if not token.isdigit()]
    return bool(found) and (found[-1] in _COMPONENTS or not _NO_JOINTS.isdisjoint(found))


def says_delta(name: str) -> bool:
    """Whether a name says that an action is a displacement or a speed."""
    return not _DELTAS.isdisjoint(tokens(name))


def bare(name: str) -> str:
    """A name without its last word where that only says the quantity: `wrist.pos` gives wrist."""
    found = re.fullmatch(r"(.+?)[._ ]+([A-Za-z]+)", name)
    if found and found[2].lower() in {*_QUANTITIES, "cmd", "command", "target", "delta"}:
        return found[1]
    return name


def stem(name: str) -> str:
    """A name without its numbers and its quantity: that of a whole hand, or of a whole arm."""
    return re.sub(r"\d+", "", bare(name))


def side(name: str) -> str:
    """left, right, or nothing."""
    found = tokens(name)
    if "left" in found or found[:1] == ["l"]:
        return "left"
    return "right" if "right" in found or found[:1] == ["r"] else ""


def similarity(one: str, other: str) -> float:
    """How alike two names are: 1 the same, 0 nothing in common, -1 left and right; numbers count half."""
    if side(one) and side(other) and side(one) != side(other):
        return -1.0
    if bare(one) == bare(other):
        return 1.0
    words, others = (set(tokens(name)) - _SILENT - set(_QUANTITIES) for name in (one, other))
    if not words or not others:
        return 0.0
    alike = len(words & others) / len(words | others)
    return alike / 2 if all(token.isdigit() for token in words & others) else alike


def tool_axes(names: Sequence[str]) -> bool:
    """Whether names of values are those of tool poses: x, y and z are among their last words."""
    return {*_AXES} <= {(tokens(bare(name)) or [""])[-1] for name in names}
