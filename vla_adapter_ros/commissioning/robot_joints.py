"""Which of a graph's joints are the robot's: those of each arm in order, and its gripper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vla_adapter_ros.commissioning.command_checks import controller_of
from vla_adapter_ros.commissioning.survey import JOINT_STATE, GraphSurvey
from vla_adapter_ros.commissioning.urdf import Urdf
from vla_adapter_ros.commissioning.wishes import Wishes, require_there
from vla_adapter_ros.dataset.joint_names import is_gripper, tokens
from vla_adapter_ros.dataset.tools.drafting.names import COMMAND_WORDS, side
from vla_adapter_ros.errors import ContractError


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


def find_joints(survey: GraphSurvey, wishes: Wishes) -> list[Joint]:
    """All measured joints; of two that are called the same on two topics, with the topic's words before.

    Raises:
        ContractError: a wish that is not in the graph, or no joint.
    """
    there = [
        t for t in survey.published(JOINT_STATE) if survey.topic(t).all_names and survey.topic(t).strangers()
    ]
    require_there(wishes.joint_states, there, "joint states")
    topics = wishes.joint_states or [t for t in there if not is_command(t)]
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


def find_arms(
    joints: list[Joint], driven: Sequence[str], urdf: Urdf | None, wishes: Wishes
) -> tuple[tuple[tuple[Joint, ...], ...], tuple[Joint | None, ...]]:
    """Joints of each arm in order, and of each arm's gripper.

    Args:
        joints: All that are measured.
        driven: Those of the controllers, as the joint states call them; empty: not known.
        urdf: Of the robot; None if it is not known.
        wishes: What is said already.

    Raises:
        ContractError: a wish that is not in the graph, or no joint of an arm.
    """
    by_name = {joint.name: joint for joint in joints} | {joint.said: joint for joint in joints}
    require_there(wishes.joints, [joint.said for joint in joints], "joint")
    order = list(urdf.moving) if urdf else []
    wished = [by_name[name] for name in wishes.joints]
    hands = [j for j in joints if is_gripper(j.said) and not _follows(j, urdf) and j not in wished]
    arm = wished or [
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


def moves_with_arm(
    hand: Joint, arm: Sequence[Joint], commands: Iterable[str], own_command: str, survey: GraphSurvey
) -> bool | None:
    """Whether a gripper's joint stands in the arm's command, as one more joint of its controller.

    The controller's list of joints says it, else what somebody sends on the command's topic.

    Args:
        hand: The gripper's joint.
        arm: Joints of its arm.
        commands: Topics on which that arm is told.
        own_command: Topic, or action, of the gripper alone; empty: none was found.
        survey: What the graph said.

    Returns:
        None: nothing says it, but one driver measures both, and nothing else tells the gripper anything.
    """
    topics = list(commands)
    for topic in topics:
        claims, sent = controller_of(topic, survey), survey.topic(topic)
        named = (claims.joints if claims is not None else ()) or sent.all_names
        if named:
            if hand.said in named:
                return True
        elif sent.counts.get("data") == len(arm) + 1:
            return True
    if own_command or not topics or any(_is_explained(topic, survey) for topic in topics):
        return False
    return None if hand.topic == arm[0].topic else False


def _is_explained(topic: str, survey: GraphSurvey) -> bool:
    """Whether it is known what the messages on a command's topic name."""
    claims, sent = controller_of(topic, survey), survey.topic(topic)
    return bool((claims is not None and claims.joints) or sent.all_names or sent.counts.get("data"))


def is_command(topic: str) -> bool:
    """Whether a topic's name says that somebody tells there what shall be, not what is."""
    return not COMMAND_WORDS.isdisjoint(tokens(topic))
