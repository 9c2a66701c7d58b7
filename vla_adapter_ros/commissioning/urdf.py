"""What a URDF says of joints and links, read without a library for kinematics."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vla_adapter_ros.errors import KinematicsError

MOVING = ("revolute", "continuous", "prismatic")
_TOOLS = ("tcp", "tool", "grasp", "ee", "eef", "gripper_frame", "flange")
"""Links at the end of an arm, best first."""
_LARGEST = 50_000_000  # characters; the largest published descriptions have some hundred thousand


@dataclass(frozen=True)
class UrdfJoint:
    """A joint of a URDF.

    Attributes:
        kind: revolute, continuous, prismatic, fixed, ...
        parent, child: Links.
        low, high: Limits of its position [rad or m]; infinite where there are none.
        velocity: Largest velocity [rad/s or m/s]; infinite where none is said.
        mimics: The joint that it follows; empty: none.
    """

    name: str
    kind: str
    parent: str
    child: str
    low: float = -math.inf
    high: float = math.inf
    velocity: float = math.inf
    mimics: str = ""

    @property
    def unit(self) -> str:
        """Unit of its position."""
        return "m" if self.kind == "prismatic" else "rad"


@dataclass(frozen=True)
class Urdf:
    """A robot's tree of joints and links.

    Attributes:
        name: Of the robot.
        joints: All of them, by name.
        links: Names of the links.
    """

    name: str
    joints: Mapping[str, UrdfJoint]
    links: tuple[str, ...]

    @cached_property
    def moving(self) -> dict[str, UrdfJoint]:
        """Joints that move by themselves, in the order of the tree."""
        order = {link: n for n, link in enumerate(self._walk())}
        found = [j for j in self.joints.values() if j.kind in MOVING and not j.mimics]
        return {joint.name: joint for joint in sorted(found, key=lambda j: order.get(j.child, len(order)))}

    @property
    def root(self) -> str:
        """The link that no joint carries."""
        carried = {joint.child for joint in self.joints.values()}
        return next((link for link in self.links if link not in carried), "")

    def path(self, link: str) -> list[UrdfJoint]:
        """Joints from the root to a link, nearest to the root first."""
        above = {joint.child: joint for joint in self.joints.values()}
        found: list[UrdfJoint] = []
        while link in above and len(found) <= len(above):
            found.append(above[link])
            link = above[link].parent
        return found[::-1]

    def between(self, base: str, tool: str) -> list[str]:
        """Names of the joints that move one link against another."""
        ours, theirs = self.path(base), self.path(tool)
        return [joint.name for joint in (*ours, *theirs) if (joint in ours) != (joint in theirs)]

    def _walk(self) -> list[str]:
        """Links from the root on, each branch to its end."""
        below: dict[str, list[str]] = {}
        for joint in self.joints.values():
            below.setdefault(joint.parent, []).append(joint.child)
        found: list[str] = []
        waiting = [self.root]
        while waiting and len(found) <= len(self.links):
            link = waiting.pop()
            found.append(link)
            waiting += reversed(below.get(link, []))
        return found


def parse_urdf(text: str) -> Urdf:
    """Read a URDF.

    Raises:
        KinematicsError: no XML, no robot, a joint without a name or links, or one of xacro.
    """
    if len(text) > _LARGEST:
        raise KinematicsError(f"URDF of {len(text)} characters: allowed are {_LARGEST}")
    try:
        robot = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise KinematicsError(f"no readable URDF: {error}") from None
    if robot.tag != "robot":
        raise KinematicsError(f"no URDF: it begins with <{robot.tag}>, allowed is <robot>")
    if any("xacro" in element.tag for element in robot.iter() if isinstance(element.tag, str)):
        raise KinematicsError(
            "this is xacro, no URDF: make one of it by `ros2 run xacro xacro FILE > arm.urdf`"
        )
    joints = {}
    for element in robot.findall("joint"):
        joint = _joint(element)
        joints[joint.name] = joint
    links = tuple(link.get("name", "") for link in robot.findall("link"))
    return Urdf(robot.get("name", ""), joints, links)


def tool_link(urdf: Urdf, arm: Sequence[str]) -> str:
    """The link that all joints of the arm move, with the name of a tool; else the farthest.

    The last joint may be a gripper's, which moves a jaw alone: a tool that all but it move counts, too.
    """
    for joints in (arm, arm[:-1]):
        links = _moved_by(urdf, joints)
        for word in _TOOLS:
            for link in links:
                if word in link.lower().replace("-", "_").split("_") or link.lower().startswith(word):
                    return link
    return max(_moved_by(urdf, arm), key=lambda link: len(urdf.path(link)), default="")


def _moved_by(urdf: Urdf, arm: Sequence[str]) -> list[str]:
    """The links that all these joints move, and no other."""
    paths = {link: urdf.path(link) for link in urdf.links}
    return [
        link
        for link, path in paths.items()
        if set(arm) <= {joint.name for joint in path}
        and not any(j.name not in arm and j.kind != "fixed" for j in path)
    ]


def _joint(element: ElementTree.Element) -> UrdfJoint:
    name = element.get("name", "")
    ends = [(element.find(end), end) for end in ("parent", "child")]
    links = [found.get("link", "") for found, _ in ends if found is not None]
    if not name or len(links) != 2:
        raise KinematicsError(f"joint '{name}' of the URDF: a name, a parent and a child are needed")
    kind, limit, mimic = element.get("type", ""), element.find("limit"), element.find("mimic")
    low, high, velocity = -math.inf, math.inf, math.inf
    if limit is not None:
        velocity = _number(limit, "velocity", name) or math.inf
        if kind in ("revolute", "prismatic"):
            low, high = _number(limit, "lower", name), _number(limit, "upper", name)
    if low >= high:  # as where nothing is said: the defaults are 0 and 0
        low, high = -math.inf, math.inf
    mimics = mimic.get("joint", "") if mimic is not None else ""
    parent, child = links
    return UrdfJoint(name, kind, parent, child, low, high, velocity, mimics)


def _number(limit: ElementTree.Element, key: str, joint: str) -> float:
    text = limit.get(key, "0")
    try:
        return float(text)
    except ValueError:
        raise KinematicsError(f"joint '{joint}' of the URDF: {key} = '{text}', allowed is a number") from None
