"""Which of a graph's topics and joints are the robot's: told by types, names, the URDF and controllers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vla_adapter_ros.commissioning.command_checks import controller_of
from vla_adapter_ros.commissioning.survey import (
    COMPRESSED_IMAGE,
    IMAGE,
    JOINT_STATE,
    GraphSurvey,
)
from vla_adapter_ros.commissioning.urdf import Urdf
from vla_adapter_ros.contract.encodings import DEPTH
from vla_adapter_ros.contract.enums import TopicType
from vla_adapter_ros.dataset.joint_names import is_gripper, tokens
from vla_adapter_ros.dataset.tools.drafting.names import COMMAND_WORDS, camera_name, side
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.observation.bag import TOPIC_TYPES

Ask = Callable[[str, Sequence[str], str], str]
"""Called with a question, known answers, and the one that is taken for right; gives the answer."""
_SCENE_WORDS = ("third", "scene", "top", "high", "front", "external", "static", "overhead", "base")
_HAND_WORDS = ("wrist", "gripper", "hand", "eye", "tool", "arm", "left", "right")


def take_default(question: str, answers: Sequence[str], default: str) -> str:
    """Answers every question by what is taken for right."""
    return default


@dataclass(frozen=True)
class Wishes:
    """What a user has said already; what is empty is found out.

    Attributes:
        name: Of the contract.
        robot_type: Kind of robot.
        rate_hz: Rows per second [Hz].
        cameras: Topics, the reference camera first.
        joint_states: Topics of the joint states.
        joints: Joints of the arm, in order, as the joint states call them.
        commands: Topics of the arm's controllers.
        gripper_topics: Where the grippers are told.
        teleop: Topics of a human's devices.
    """

    name: str
    robot_type: str = ""
    rate_hz: float = 0.0
    cameras: tuple[str, ...] = ()
    joint_states: tuple[str, ...] = ()
    joints: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    gripper_topics: tuple[str, ...] = ()
    teleop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Joint:
    """A joint of the robot.

    Attributes:
        name: What the contract calls it.
        said: What the joint states call it.
        topic: Of the joint states.
    """

    name: str
    said: str
    topic: str


@dataclass(frozen=True)
class RobotParts:
    """What of the graph is the robot's.

    Attributes:
        cameras, depth_cameras: Name -> topic; of the cameras, the reference camera first.
        arms: Joints of each arm, in order.
        hands: Gripper joint of each arm; None where it has none.
        poses: Topics of tool poses.
        commands: Topics of the arm's controllers, with what they take.
        hand_topics: Where each arm's gripper is told, with the type; empty where nothing was found.
        teleop: Topics of a human's devices.
        left_out: Topics of cameras that are not in the contract, and why.
        more: Topics that a state could be read from as well, and their type.
    """

    cameras: Mapping[str, str]
    depth_cameras: Mapping[str, str]
    arms: tuple[tuple[Joint, ...], ...]
    hands: tuple[Joint | None, ...]
    poses: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    hand_topics: tuple[tuple[str, str], ...] = ()
    teleop: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)


def find_robot_parts(
    survey: GraphSurvey, urdf: Urdf | None, wishes: Wishes, ask: Ask = take_default
) -> RobotParts:
    """Choose what of the graph is the robot's.

    Args:
        survey: What the graph said.
        urdf: Of the robot; None if it is not known.
        wishes: What is said already.
        ask: Called where several answers are possible.

    Raises:
        ContractError: a wish that is not in the graph, no camera, or no joint.
    """
    cameras, depth = _cameras(survey, wishes, ask)
    commands = _commands(survey, wishes, ask)
    claimed = [c.joints for topic in commands if (c := controller_of(topic, survey)) is not None]
    driven = [name for names in claimed for name in names]
    arms, hands = _arms(_joints(survey, wishes), driven, urdf, wishes)
    measured = {joint.topic for joint in (*hands, *(j for arm in arms for j in arm)) if joint is not None}
    teleop = wishes.teleop or _teleop(survey, ask, measured)
    hand_topics = tuple(_hand_topic(survey, wishes, n, hand) for n, hand in enumerate(hands))
    poses = [t for t in survey.published(TOPIC_TYPES["pose"]) if not _is_command(t) and survey.topic(t).heard]
    left_out = _left_out(survey, {*cameras.values(), *depth.values()})
    more = {
        topic: str(kind)
        for kind in (TopicType.WRENCH, TopicType.TWIST)
        for topic in survey.published(TOPIC_TYPES[kind])
        if not _is_command(topic) and survey.topic(topic).heard
    }
    return RobotParts(
        cameras, depth, arms, hands, tuple(poses), commands, hand_topics, teleop, left_out, more
    )


def _left_out(survey: GraphSurvey, taken: set[str]) -> dict[str, str]:
    """Image topics that are no camera of the contract, and why."""
    there = survey.published(IMAGE, COMPRESSED_IMAGE)
    found = {}
    for topic in there:
        if topic not in taken:
            twin = "the same camera in another form" if not _once(topic, there) else "not chosen"
            silent = "published, but nothing arrived" if not survey.topic(topic).heard else "of unknown size"
            found[topic] = twin if survey.topic(topic).size else silent
    return found


def _is_command(topic: str) -> bool:
    return not COMMAND_WORDS.isdisjoint(tokens(topic))


def _require(names: Sequence[str], there: Sequence[str], what: str) -> None:
    for name in names:
        if name not in there:
            raise ContractError(f"{what} {name}: the graph has {', '.join(there) or 'none'}")


def _cameras(survey: GraphSurvey, wishes: Wishes, ask: Ask) -> tuple[dict[str, str], dict[str, str]]:
    there = survey.published(IMAGE, COMPRESSED_IMAGE)
    _require(wishes.cameras, there, "camera")
    chosen = [
        t for t in wishes.cameras or there if survey.topic(t).size and (wishes.cameras or _once(t, there))
    ]
    depth = [t for t in chosen if survey.topic(t).encoding.partition(";")[0] in DEPTH]
    color = [t for t in chosen if t not in depth]
    if not color:
        seen = ", ".join(there)
        raise ContractError(
            "no camera sends images: "
            + (f"published, but silent or of an unknown size: {seen}" if seen else "no topic has images")
        )
    if not wishes.cameras:
        slowest = min(survey.topic(topic).rate_hz for topic in color)
        color.sort(key=lambda t: (survey.topic(t).rate_hz > 1.2 * slowest, _from_afar(t)))
        first = ask("Which camera shows the whole scene (the reference camera)?", color, color[0])
        color = [first, *(t for t in color if t != first)]
    named: dict[str, str] = {}
    for topic in (*color, *depth):
        named[camera_name(topic, named)] = topic
    return (
        {name: topic for name, topic in named.items() if topic not in depth},
        {name: topic for name, topic in named.items() if topic in depth},
    )


def _once(topic: str, there: Sequence[str]) -> bool:
    """Whether it is not the same camera's topic in another form: compressed beside raw, rectified, depth."""
    stem = topic.removesuffix("/compressed").removesuffix("/compressedDepth")
    return topic == stem or stem not in there


def _from_afar(topic: str) -> int:
    """0 for a camera whose name says that it sees the scene, 2 for one on the arm."""
    words = tokens(topic)
    if any(word in words for word in _SCENE_WORDS):
        return 0
    return 2 if any(word in words for word in _HAND_WORDS) else 1


def _joints(survey: GraphSurvey, wishes: Wishes) -> list[Joint]:
    """All measured joints; of two that are called the same on two topics, with the topic's words before."""
    there = [
        t for t in survey.published(JOINT_STATE) if survey.topic(t).all_names and survey.topic(t).strangers()
    ]
    _require(wishes.joint_states, there, "joint states")
    topics = wishes.joint_states or [t for t in there if not _is_command(t)]
    said = [(name, topic) for topic in topics for name in survey.topic(topic).all_names]
    twice = {name for name, topic in said if sum(name == other for other, _ in said) > 1}
    found = [Joint(f"{_place(topic)}_{name}" if name in twice else name, name, topic) for name, topic in said]
    if not found:
        silent = ", ".join(survey.published(JOINT_STATE))
        raise ContractError(f"no joint states arrive{f': {silent} is silent' if silent else ''}")
    return found


def _place(topic: str) -> str:
    """Words of a topic that tell it from that of another arm."""
    return "_".join(t for t in tokens(topic) if t not in ("joint", "joints", "state", "states", "follower"))


def _arms(
    joints: list[Joint], driven: Sequence[str], urdf: Urdf | None, wishes: Wishes
) -> tuple[tuple[tuple[Joint, ...], ...], tuple[Joint | None, ...]]:
    """Joints of each arm in order, and of each arm's gripper; `driven` are those of the controllers."""
    by_name = {joint.name: joint for joint in joints} | {joint.said: joint for joint in joints}
    _require(wishes.joints, [joint.said for joint in joints], "joint")
    order = list(urdf.moving) if urdf else []
    hands = [j for j in joints if is_gripper(j.said) and not _follows(j, urdf)]
    arm = [by_name[name] for name in wishes.joints] or [
        j
        for j in joints
        if not is_gripper(j.said) and (not urdf or j.said in urdf.moving) and (not driven or j.said in driven)
    ]
    if not arm:
        raise ContractError(
            f"no joint of an arm among {', '.join(j.said for j in joints)}"
            + (f"; the URDF has {', '.join(urdf.moving)}" if urdf else "")
        )
    if not wishes.joints:
        known = all(joint.said in order for joint in arm)
        arm.sort(key=(lambda j: order.index(j.said)) if known else (lambda j: _number(j.said)))
    sides = list(dict.fromkeys(side(joint.name) for joint in arm))
    if not {"left", "right"} <= set(sides):
        return (tuple(arm),), (hands[0] if hands else None,)
    arms = tuple(tuple(j for j in arm if side(j.name) == its) for its in sides)
    return arms, tuple(next((h for h in hands if side(h.name) == its), None) for its in sides)


def _follows(joint: Joint, urdf: Urdf | None) -> bool:
    return bool(urdf and joint.said in urdf.joints and urdf.joints[joint.said].mimics)


def _number(name: str) -> int:
    """The last number of a name; those without keep their place before all others."""
    numbers = [int(token) for token in tokens(name) if token.isdigit()]
    return numbers[-1] if numbers else -1


def _commands(survey: GraphSurvey, wishes: Wishes, ask: Ask) -> dict[str, str]:
    """Topics of the arm's controllers -> type of the command."""
    types = {"joint_trajectory": TOPIC_TYPES["joint_trajectory"], "array": TOPIC_TYPES["float64_array"]}
    active = {c.name for c in survey.controllers or () if c.state == "active"}
    found: dict[str, str] = {}
    for word, kind in types.items():
        for topic in survey.awaited(kind):
            inactive = survey.controllers is not None and topic.rsplit("/", 2)[-2] not in active
            if not is_gripper(topic) and (topic in wishes.commands or not inactive):
                found[topic] = word if word != "array" else _array_type(topic)
    _require(wishes.commands, list(found), "command")
    if wishes.commands:
        return {topic: found[topic] for topic in wishes.commands}
    trajectories = [topic for topic, word in found.items() if word == "joint_trajectory"]
    likely = trajectories or list(found)
    if {"left", "right"} <= {side(topic) for topic in likely}:
        return {topic: found[topic] for topic in likely if side(topic)}
    if not likely:
        return {}
    chosen = ask("Where is the arm told what to do?", list(found), likely[0])
    return {chosen: found.get(chosen, "joint_trajectory")}


def _array_type(topic: str) -> str:
    return "forward_velocity" if "velocity" in tokens(topic) else "forward_position"


def _hand_topic(survey: GraphSurvey, wishes: Wishes, number: int, hand: Joint | None) -> tuple[str, str]:
    """Where a gripper is told, and the type of its entry."""
    if hand is None:
        return "", ""
    types = {
        "forward_position": TOPIC_TYPES["float64_array"],
        "joint_trajectory": TOPIC_TYPES["joint_trajectory"],
    }
    found = {t: word for word, kind in types.items() for t in survey.awaited(kind)}
    found |= {n: "gripper_command" for n, kind in survey.actions.items() if kind.endswith("/GripperCommand")}
    _require(wishes.gripper_topics, list(found), "gripper")
    if number < len(wishes.gripper_topics):
        return wishes.gripper_topics[number], found[wishes.gripper_topics[number]]
    likely = [t for t in found if is_gripper(t) and side(t) in ("", side(hand.name))]
    return (likely[0], found[likely[0]]) if likely else ("", "forward_position")


def _teleop(survey: GraphSurvey, ask: Ask, measured: set[str]) -> tuple[str, ...]:
    """Topics of a human's devices: by their names, or else joint states of no joint of the robot."""
    there = [t for t in survey.published(JOINT_STATE) if survey.topic(t).strangers()]
    found = [t for t in there if _is_command(t)] or [t for t in there if t not in measured]
    if {"left", "right"} <= {side(topic) for topic in found}:
        return tuple(topic for topic in found if side(topic))
    if not found:
        return ()
    return (ask("Where do a human's commands come in?", found, found[0]),)
