"""What the parts of a draft share: what was found, names, units, and the comment that marks a value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vla_adapter_ros.commissioning.contract_checks import MARK
from vla_adapter_ros.commissioning.message_units import counts_in_degrees, message_unit
from vla_adapter_ros.commissioning.robot_joints import Joint
from vla_adapter_ros.commissioning.robot_parts import RobotParts
from vla_adapter_ros.commissioning.survey import GraphSurvey, TopicSurvey
from vla_adapter_ros.commissioning.urdf import Urdf, UrdfJoint
from vla_adapter_ros.commissioning.wishes import Wishes
from vla_adapter_ros.contract import relative_name
from vla_adapter_ros.contract.enums import Unit
from vla_adapter_ros.contract.find_out import FIND_OUT
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.dataset.tools.drafting.names import side
from vla_adapter_ros.dataset.tools.drafting.text import PLACEHOLDER

NOBODY = PLACEHOLDER  # stands where no topic was found
USUAL_AGE_S = 0.1  # what a contract allows where it says nothing


def mark(part: str, key: str, topic: str = "") -> str:
    """The comment that marks a value to be checked, with where to look."""
    look = FIND_OUT[part][key]
    return f"        # {MARK}: {look.replace('TOPIC', topic) if topic else look}"


def time_entry(found: TopicSurvey) -> dict[str, str]:
    """Entry of a stream whose messages have no stamp."""
    return {"time": "receive"} if found.stamped is False else {}


@dataclass(frozen=True)
class DraftFacts:
    """What a draft is made from.

    Attributes:
        survey: What the graph said.
        urdf: Of the robot; None if it is not known.
        urdf_source: What the contract says under kinematics.urdf.
        wishes: What the user has said already.
        parts: What of the graph is the robot's.
    """

    survey: GraphSurvey
    urdf: Urdf | None
    urdf_source: str
    wishes: Wishes
    parts: RobotParts

    def name(self, topic: str) -> str:
        """What the contract calls a topic of the graph: relative to the namespace of the robot's nodes."""
        return relative_name(topic, self.survey.namespace)

    @property
    def grippers(self) -> list[str]:
        """Action dimension of each arm's gripper that has a command of its own; empty: it has none."""
        hands, several = self.parts.hands, len(self.parts.arms) > 1
        return [(f"{side(h.name)}_gripper" if several else "gripper") if h else "" for h in hands]

    @property
    def joints(self) -> list[Joint]:
        """Joints of all arms and hands, each hand behind its arm."""
        pairs = zip(self.parts.arms, self.parts.hands, strict=True)
        return [joint for arm, hand in pairs for joint in (*arm, hand) if joint is not None]

    @property
    def state_topics(self) -> list[str]:
        """Topics that the state is read from."""
        return [*dict.fromkeys(joint.topic for joint in self.joints), *self.parts.poses]

    @property
    def held(self) -> list[Joint]:
        """Gripper joints that are moved by an arm's own controller."""
        return [joint for arm in self.parts.arms for joint in arm if is_gripper(joint.said)]

    def known(self, joint: Joint) -> UrdfJoint | None:
        """What the URDF says of a joint."""
        return self.urdf.joints.get(joint.said) if self.urdf else None

    @cached_property
    def _in_degrees(self) -> dict[str, bool]:
        """Topic of joint states, or of a human's device -> whether it counts in degrees."""
        found = {}
        for topic in (*self.state_topics, *self.parts.teleop):
            joints = [j for j in self.joints if j.topic == topic or topic in self.parts.teleop]
            found[topic] = counts_in_degrees(self.survey.topic(topic).values, joints, self.urdf)
        return found

    def unit(self, joint: Joint) -> tuple[Unit, bool]:
        """Unit of a joint's position in the joint states, and whether that is sure."""
        return message_unit(joint, self.urdf, degrees=self._in_degrees[joint.topic])

    def action_unit(self, joint: Joint) -> tuple[Unit, bool]:
        """Unit in which a human's device gives a joint's position, and whether that is sure.

        A device that is silent counts as the arm does.
        """
        heard = [t for t in self.parts.teleop if joint.said in self.survey.topic(t).values]
        its = [t for t in heard if len(heard) == 1 or side(t) == side(joint.name)]
        degrees = self._in_degrees[its[0]] if its else self._in_degrees[joint.topic]
        return message_unit(joint, self.urdf, degrees=degrees)
