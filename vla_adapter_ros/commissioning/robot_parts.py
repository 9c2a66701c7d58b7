"""Which of a graph's topics and joints are the robot's: told by types, names, the URDF and controllers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vla_adapter_ros.commissioning.command_checks import controller_of
from vla_adapter_ros.commissioning.robot_cameras import find_cameras, left_out_cameras
from vla_adapter_ros.commissioning.robot_joints import (
    Joint,
    find_arms,
    find_joints,
    is_command,
    moves_with_arm,
)
from vla_adapter_ros.commissioning.survey import JOINT_STATE, GraphSurvey
from vla_adapter_ros.commissioning.urdf import Urdf
from vla_adapter_ros.commissioning.wishes import Ask, Wishes, require_there, take_default
from vla_adapter_ros.contract.enums import TopicType
from vla_adapter_ros.dataset.joint_names import is_gripper, tokens
from vla_adapter_ros.dataset.tools.drafting.names import side
from vla_adapter_ros.observation.bag import TOPIC_TYPES


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
        supposed: Gripper joints among those of `arms` that only seem to stand in the arm's command.
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
    supposed: tuple[Joint, ...] = ()
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
    cameras, depth = find_cameras(survey, wishes, ask)
    commands = _commands(survey, wishes, ask)
    claimed = [c.joints for topic in commands if (c := controller_of(topic, survey)) is not None]
    driven = [name for names in claimed for name in names]
    arms, hands = find_arms(find_joints(survey, wishes), driven, urdf, wishes)
    measured = {joint.topic for joint in (*hands, *(j for arm in arms for j in arm)) if joint is not None}
    teleop = wishes.teleop or _teleop(survey, ask, measured)
    hand_topics = tuple(_hand_topic(survey, wishes, n, hand) for n, hand in enumerate(hands))
    arms, hands, supposed = _join_hands(arms, hands, hand_topics, commands, survey)
    poses = [t for t in survey.published(TOPIC_TYPES["pose"]) if not is_command(t) and survey.topic(t).heard]
    left_out = left_out_cameras(survey, {*cameras.values(), *depth.values()})
    more = {
        topic: str(kind)
        for kind in (TopicType.WRENCH, TopicType.TWIST)
        for topic in survey.published(TOPIC_TYPES[kind])
        if not is_command(topic) and survey.topic(topic).heard
    }
    return RobotParts(
        cameras, depth, arms, hands, tuple(poses), commands, hand_topics, supposed, teleop,
        left_out, more,
    )  # fmt: skip


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
    require_there(wishes.commands, list(found), "command")
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


def _join_hands(
    arms: tuple[tuple[Joint, ...], ...],
    hands: tuple[Joint | None, ...],
    told: Sequence[tuple[str, str]],
    commands: Iterable[str],
    survey: GraphSurvey,
) -> tuple[tuple[tuple[Joint, ...], ...], tuple[Joint | None, ...], tuple[Joint, ...]]:
    """The arms with the gripper joints that their controllers move, the other grippers, and what is unsure.

    Args:
        arms: Joints of each arm.
        hands: Gripper joint of each arm.
        told: Where each gripper alone is told.
        commands: Topics of the arms' controllers.
        survey: What the graph said.
    """
    supposed: list[Joint] = []
    whole, left = list(arms), list(hands)
    for n, (arm, hand) in enumerate(zip(arms, hands, strict=True)):
        if hand is None:
            continue
        its = [topic for topic in commands if len(arms) < 2 or side(topic) in ("", side(arm[0].name))]
        moves = moves_with_arm(hand, arm, its, told[n][0], survey)
        if moves is not False:
            whole[n], left[n] = (*arm, hand), None
            supposed += [hand] * (moves is None)
    return tuple(whole), tuple(left), tuple(supposed)


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
    require_there(wishes.gripper_topics, list(found), "gripper")
    if number < len(wishes.gripper_topics):
        return wishes.gripper_topics[number], found[wishes.gripper_topics[number]]
    likely = [t for t in found if is_gripper(t) and side(t) in ("", side(hand.name))]
    return (likely[0], found[likely[0]]) if likely else ("", "forward_position")


def _teleop(survey: GraphSurvey, ask: Ask, measured: set[str]) -> tuple[str, ...]:
    """Topics of a human's devices: by their names, or else joint states of no joint of the robot."""
    there = [t for t in survey.published(JOINT_STATE) if survey.topic(t).strangers()]
    found = [t for t in there if is_command(t)] or [t for t in there if t not in measured]
    if {"left", "right"} <= {side(topic) for topic in found}:
        return tuple(topic for topic in found if side(topic))
    if not found:
        return ()
    return (ask("Where do a human's commands come in?", found, found[0]),)
