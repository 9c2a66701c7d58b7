"""Drafts a contract from a running graph and a URDF; what neither can know is marked, with where to look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.commissioning.command_checks import controller_of
from vla_adapter_ros.commissioning.contract_checks import MARK
from vla_adapter_ros.commissioning.robot_parts import (
    Ask,
    Joint,
    RobotParts,
    Wishes,
    find_robot_parts,
    take_default,
)
from vla_adapter_ros.commissioning.survey import COMPRESSED_IMAGE, GraphSurvey, TopicSurvey
from vla_adapter_ros.commissioning.urdf import Urdf, tool_link
from vla_adapter_ros.contract import config_folder, parse_contract, relative_name
from vla_adapter_ros.contract.find_out import FIND_OUT
from vla_adapter_ros.contract.key_texts import SCHEMA_FILE
from vla_adapter_ros.contract.migration import SCHEMA
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.dataset.tools.drafting.names import side
from vla_adapter_ros.dataset.tools.drafting.text import PLACEHOLDER, flow
from vla_adapter_ros.errors import ContractError

USUAL_AGE_S, USUAL_SETTLE_S = 0.1, 0.05  # what a contract allows where it says nothing
DELAY_S = 0.1  # of most trajectory controllers
NOBODY = PLACEHOLDER  # stands where no topic was found
_MARGIN = 0.02  # of a joint's range, on either side
_CALM = 0.5  # of the URDF's velocity
_TO_FULL_SPEED_S = 0.25
_POSE_AXES = ("x", "y", "z")


def draft_contract(
    survey: GraphSurvey, urdf: Urdf | None, urdf_source: str, wishes: Wishes, ask: Ask = take_default
) -> str:
    """A contract as YAML with comments; it can be read as it is.

    Args:
        survey: What the graph said, while robot and cameras ran.
        urdf: Of the robot; None if it is not known.
        urdf_source: What the contract says under kinematics.urdf.
        wishes: What the user has said already.
        ask: Called where several answers are possible.

    Raises:
        ContractError: a wish that is not in the graph, no camera, or no joint.
    """
    parts = find_robot_parts(survey, urdf, wishes, ask)
    return _Draft(survey, urdf, urdf_source, wishes, parts).text()


def mark(part: str, key: str, topic: str = "") -> str:
    """The comment that marks a value to be checked, with where to look."""
    look = FIND_OUT[part][key]
    return f"        # {MARK}: {look.replace('TOPIC', topic) if topic else look}"


class _Draft:
    def __init__(
        self, survey: GraphSurvey, urdf: Urdf | None, urdf_source: str, wishes: Wishes, parts: RobotParts
    ) -> None:
        self._survey, self._urdf, self._source = survey, urdf, urdf_source
        self._wishes, self._parts = wishes, parts
        found = [survey.topic(topic) for topic in parts.cameras.values()]
        rates = [topic.stamped_hz or topic.rate_hz for topic in found]
        self._rate = wishes.rate_hz or _whole(min(min(rates), 30.0))
        self._grippers = [_dimension(hand, len(parts.arms)) if hand else "" for hand in parts.hands]

    def text(self) -> str:
        sections = (
            self._head(), self._cameras(), self._topics(), self._state(), self._action(), self._hands(),
            self._teleop(), self._command(), self._limits(), self._kinematics(), self._safety(),
        )  # fmt: skip
        text = "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"
        parse_contract(yaml.safe_load(text))
        return text

    def _name(self, topic: str) -> str:
        """What the contract calls a topic of the graph: relative to the namespace of the robot's nodes."""
        return relative_name(topic, self._survey.namespace)

    def _head(self) -> list[str]:
        survey, name = self._survey, self._wishes.name
        robot = self._wishes.robot_type or (self._urdf.name if self._urdf else "") or name
        slow = max((survey.topic(d).late_s or 0.0 for d in self._streams()), default=0.0)
        settle = USUAL_SETTLE_S if slow < USUAL_SETTLE_S else round(1.3 * slow, 2)
        lines = [
            f"# yaml-language-server: $schema={config_folder() / SCHEMA_FILE}",
            f"# Contract of {name}, drafted from its running graph ({len(survey.topics)} topics, "
            f"{survey.seconds:g} s). Units: rad, m, s (REP 103).",
            f"# {MARK} marks what the graph cannot say, with where to look. Then: vla-adapter contract check "
            "FILE --live",
            f"schema: {SCHEMA}",
            f"name: {flow(name)}",
            f"robot_type: {flow(robot)}"
            + ("" if self._wishes.robot_type else mark("Contract", "robot_type")),
            f"rate_hz: {self._rate:g}" + ("" if self._wishes.rate_hz else mark("Contract", "rate_hz")),
            f"settle_s: {settle:g}",
            f"reference_camera: {flow(next(iter(self._parts.cameras)))}",
        ]
        return lines

    def _streams(self) -> list[str]:
        return [*self._parts.cameras.values(), *self._parts.depth_cameras.values(), *self._state_topics()]

    def _cameras(self) -> list[str]:
        lines = ["cameras:        # in the order in which the model sees them"]
        lines += [self._camera(*entry) for entry in self._parts.cameras.items()]
        if self._parts.depth_cameras:
            lines += ["", "depth_cameras:"]
            lines += [self._camera(*entry) for entry in self._parts.depth_cameras.items()]
        return lines + [f"  # left out: {topic}, {why}" for topic, why in self._parts.left_out.items()]

    def _camera(self, name: str, topic: str) -> str:
        found = self._survey.topic(topic)
        assert found.size is not None, "cameras without a size are not chosen"
        width, height = found.size
        raw = found.publishers[0].type != COMPRESSED_IMAGE
        entry: dict[str, Any] = {
            "topic": self._name(topic), "transport": "raw" if raw else "compressed",
            "width": width - width % 2, "height": height - height % 2,
        }  # fmt: skip
        note = ""
        if width % 2 or height % 2:
            entry["fit"], note = "crop", f"        # {width}x{height}: videos need even sizes"
        period = 1 / found.rate_hz if found.rate_hz else 0.0
        if 1.5 * period > USUAL_AGE_S:
            entry["max_age_s"] = round(2 * period, 3)
        entry |= _time(found)
        if raw and found.encoding in ("8UC3", "8UC1", "8UC4"):
            entry["encoding"] = {"8UC3": "rgb8", "8UC1": "mono8", "8UC4": "rgba8"}[found.encoding]
            note = mark("Camera", "encoding", topic)
        return f"  {flow(name)}: {flow(entry)}{note}"

    def _joints(self) -> list[Joint]:
        """Joints of all arms and hands, each hand behind its arm."""
        pairs = zip(self._parts.arms, self._parts.hands, strict=True)
        return [joint for arm, hand in pairs for joint in (*arm, hand) if joint is not None]

    def _state_topics(self) -> list[str]:
        return [*dict.fromkeys(joint.topic for joint in self._joints()), *self._parts.poses]

    def _topics(self) -> list[str]:
        lines = ["topics:        # inputs that are no images"]
        for topic in self._state_topics():
            found = self._survey.topic(topic)
            period = 1 / found.rate_hz if found.rate_hz else 0.0
            entry: dict[str, Any] = {"type": "pose" if topic in self._parts.poses else "joint_state"}
            if 2 * period > USUAL_AGE_S:
                entry["max_age_s"] = round(2 * period, 3)
            lines.append(f"  {flow(self._name(topic))}: {flow(entry | _time(found))}")
        more = self._parts.more.items()
        return lines + [
            f"  # also there: {flow(self._name(topic))}: {flow({'type': kind})}" for topic, kind in more
        ]

    def _state(self) -> list[str]:
        lines = ["state:        # what the policy knows of the robot, in order"]
        for joint in self._joints():
            unit, known = self._unit(joint)
            entry = {
                "name": joint.name, "topic": self._name(joint.topic), "field": "position",
                "joint": joint.said, "unit": unit,
            }  # fmt: skip
            note = "" if known else mark("StateDimension", "unit", joint.topic)
            lines.append(f"  - {flow(entry)}{note}")
        for topic in self._parts.poses:
            tool = "tool" if len(self._parts.poses) == 1 else f"{side(topic) or topic.strip('/')}_tool"
            for axis in _POSE_AXES:
                entry = {
                    "name": f"{tool}_{axis}", "topic": self._name(topic), "field": f"position.{axis}",
                    "unit": "m",
                }  # fmt: skip
                lines.append(f"  - {flow(entry)}")
        return lines

    def _unit(self, joint: Joint) -> tuple[str, bool]:
        """Unit of a joint's position, and whether the URDF says so."""
        if self._urdf and joint.said in self._urdf.joints:
            return self._urdf.joints[joint.said].unit, True
        return "rad", joint not in self._parts.hands

    def _action(self) -> list[str]:
        lines = [
            "action:",
            f"  space: joint_position{mark('Action', 'space')}",
            "  topic: controller/command        # the command before limiting: what is recorded",
            "  dimensions:" + ("" if self._urdf else mark("Action", "dimensions")),
        ]
        for arm, name in zip(self._parts.arms, self._grippers, strict=True):
            lines += [f"    - {flow({'name': j.name, 'unit': self._unit(j)[0]})}" for j in arm]
            lines += [f"    - {flow({'name': name, 'unit': '1'})}"] if name else []
        return lines

    def _hands(self) -> list[str]:
        lines = ["grippers:" if any(self._grippers) else "grippers: []"]
        entries = zip(self._parts.hands, self._grippers, self._parts.hand_topics, strict=True)
        for hand, name, (topic, kind) in entries:
            if hand is None:
                continue
            opened, closed, known = self._ends(hand)
            said = "" if known else mark("Gripper", "open_position")
            lines += [
                f"  - dimension: {flow(name)}",
                f"    joint: {flow(hand.name)}",
                f"    open_position: {opened:g}{said}",
                f"    closed_position: {closed:g}" + ("" if known else mark("Gripper", "closed_position")),
                f"    open: 1.0{mark('Gripper', 'open')}",
                f"    closed: 0.0{mark('Gripper', 'closed')}",
                f"    mode: binary{mark('Gripper', 'mode')}",
                f"    topic: {flow(self._name(topic) if topic else f'{NOBODY}/{name}')}"
                + ("" if topic else mark("Gripper", "topic")),
                f"    type: {kind}",
            ]
        return lines

    def _ends(self, hand: Joint) -> tuple[float, float, bool]:
        """Positions of an open and a closed gripper, and whether they are sure."""
        joint = self._urdf.joints.get(hand.said) if self._urdf else None
        if joint is None or not math.isfinite(joint.high - joint.low):
            return self._survey.topic(hand.topic).values.get(hand.said, 0.0), 0.0, False
        if joint.kind == "prismatic":  # fingers that slide are apart at the upper end
            return joint.high, joint.low, joint.low == 0
        return joint.low, joint.high, False

    def _teleop(self) -> list[str]:
        topics, hands = self._parts.teleop, self._grippers
        rest = [f"  route: through_controller{mark('Teleop', 'route')}"]
        if any(self._survey.topic(topic).heard for topic in topics):  # though nobody demonstrates now
            rest.append(f"  takeover: motion{mark('Teleop', 'takeover')}")
        if len(topics) < 2:
            found = self._name(topics[0]) if topics else "teleop/command"
            note = (
                ""
                if topics
                else mark("Teleop", "topic")
                + ("; for an arm that is guided by hand: no teleop, and action.source: next_state")
            )
            return ["teleop:", f"  topic: {flow(found)}{note}", *rest]
        lines = ["teleop:", *rest, "  groups:"]
        for arm, hand in zip(self._parts.arms, hands, strict=True):
            topic = next((t for t in topics if side(t) == side(arm[0].name)), f"{NOBODY}/{arm[0].name}")
            entry: dict[str, Any] = {
                "topic": self._name(topic),
                "dimensions": [j.name for j in arm] + [hand] * bool(hand),
            }
            names = self._survey.topic(topic).all_names
            said = [j.said for j in arm] + [_like(hand, names)] * bool(hand)
            entry |= {"names": said} if said != entry["dimensions"] else {}
            lines.append(f"    - {flow(entry)}{mark('TeleopGroup', 'names', topic)}")
        return lines

    def _command(self) -> list[str]:
        commands = self._parts.commands
        kinds = set(commands.values()) or {"joint_trajectory"}
        kind = next(iter(kinds))
        trajectory = kind == "joint_trajectory"
        lines = [
            "command:",
            f"  type: {kind}" + ("" if trajectory and commands else mark("Command", "type")),
            f"  command_delay_s: {DELAY_S:g}{mark('Command', 'command_delay_s')}",
        ]
        if len(commands) < 2:
            topic = next(iter(commands), "")
            note = "" if topic else mark("Command", "topic")
            return [*lines, f"  topic: {flow(self._name(topic) if topic else f'{NOBODY}/command')}{note}"]
        groups = [{"topic": self._name(topic), "joints": self._joints_of(topic)} for topic in commands]
        return [*lines, "  groups:", *(f"    - {flow(group)}" for group in groups)]

    def _joints_of(self, topic: str) -> list[str]:
        """Joints of one of several controllers: those that it claims, else those of the arm on its side.

        Raises:
            ContractError: neither says which.
        """
        claims, arms = controller_of(topic, self._survey), self._parts.arms
        beside = [arm for arm in arms if len(arms) > 1 and side(arm[0].name) == side(topic)]
        if claims is not None and claims.joints:
            joints = [joint for arm in beside or arms for joint in arm]
            return [joint.name for said in claims.joints for joint in joints if joint.said == said]
        if not beside:
            raise ContractError(
                f"command {topic}: nothing says which joints its controller drives; allowed is one command "
                "topic, or controllers that a controller manager lists"
            )
        return [joint.name for joint in beside[0]]

    def _limits(self) -> list[str]:
        lines = [f"limits:{mark('JointLimits', 'acceleration')}"]
        for arm in self._parts.arms:
            for joint in arm:
                known = self._urdf.joints.get(joint.said) if self._urdf else None
                low, high, speed = (
                    (known.low, known.high, known.velocity) if known else (-math.inf, math.inf, math.inf)
                )
                ranged = math.isfinite(high - low)
                margin = _MARGIN * (high - low) if ranged else 0.0
                velocity = round(_CALM * speed, 2) if math.isfinite(speed) else 1.0
                entry = {
                    "position": [round(low + margin, 3), round(high - margin, 3)] if ranged else [-3.1, 3.1],
                    "velocity": velocity,
                    "acceleration": round(velocity / _TO_FULL_SPEED_S, 1),
                }
                lines.append(
                    f"  {flow(joint.name)}: {flow(entry)}"
                    + ("" if ranged else mark("JointLimits", "position"))
                )
        return lines

    def _kinematics(self) -> list[str]:
        urdf = self._urdf
        if urdf is None or len(self._parts.arms) > 1:
            return []
        arm = [joint.said for joint in self._parts.arms[0] if joint.said in urdf.joints]
        tool = tool_link(urdf, arm)
        if not arm or not tool:
            return []
        return [
            "kinematics:",
            f"  urdf: {flow(self._source)}",
            f"  base_link: {flow(urdf.joints[arm[0]].parent if urdf.root == 'world' else urdf.root)}",
            f"  tool_link: {flow(tool)}{mark('Kinematics', 'tool_link')}",
        ]

    def _safety(self) -> list[str]:
        return ["safety: {}        # the defaults: docs/reference/contract.md#safety"]


def _dimension(hand: Joint, arms: int) -> str:
    return f"{side(hand.name)}_gripper" if arms > 1 else "gripper"


def _like(wanted: str, names: Sequence[str]) -> str:
    """The name of a gripper among those of a device's messages."""
    return next((name for name in names if is_gripper(name)), wanted)


def _time(found: TopicSurvey) -> dict[str, str]:
    return {"time": "receive"} if found.stamped is False else {}


def _whole(rate: float) -> float:
    """A measured rate without its noise."""
    near = round(rate)
    return float(near) if near and abs(near - rate) <= 0.05 * rate else round(rate, 1)


def default_name(path: Path) -> str:
    """Name of a contract in a file.

    Raises:
        ContractError: the file has another ending than .yaml.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ContractError(f"{path}: allowed is a file that ends with .yaml")
    return path.stem
