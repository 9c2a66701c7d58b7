"""The part of a draft about what moves a robot: action, grippers, a human's devices, controllers, limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vla_adapter_ros.commissioning.command_checks import controller_of
from vla_adapter_ros.commissioning.draft_facts import NOBODY, DraftFacts, mark
from vla_adapter_ros.commissioning.robot_joints import Joint
from vla_adapter_ros.commissioning.urdf import tool_link
from vla_adapter_ros.contract.enums import Unit
from vla_adapter_ros.dataset.joint_names import is_gripper
from vla_adapter_ros.dataset.tools.drafting.names import side
from vla_adapter_ros.dataset.tools.drafting.text import flow
from vla_adapter_ros.errors import ContractError

DELAY_S = 0.1  # of most trajectory controllers
_MARGIN = 0.02  # of a joint's range, on either side
_CALM = 0.5  # of the URDF's velocity
_FASTEST = 2.0  # rad/s; many URDFs say 10 or 100 where nobody has measured it
_TO_FULL_SPEED_S = 0.25
_PERCENT_LIMITS = {"position": [0.0, 1.0], "velocity": 2.0, "acceleration": 8.0}


def action_lines(facts: DraftFacts) -> list[str]:
    """`action`: the arm's joints, then what closes its hand."""
    lines = [
        "action:",
        f"  space: joint_position{mark('Action', 'space')}",
        "  topic: controller/command        # the command before limiting: what is recorded",
        "  dimensions:" + ("" if facts.urdf else mark("Action", "dimensions")),
    ]
    asked: set[Unit] = set()  # one device has one unit, but for grippers
    for arm, name in zip(facts.parts.arms, facts.grippers, strict=True):
        for joint in arm:
            unit, known = facts.action_unit(joint)
            note = "" if known or unit in asked else mark("ActionDimension", "unit")
            asked |= {unit} if note else set()
            lines.append(f"    - {flow({'name': joint.name, 'unit': str(unit)})}{note}")
        lines += [f"    - {flow({'name': name, 'unit': '1'})}"] if name else []
    return lines


def hands_lines(facts: DraftFacts) -> list[str]:
    """`grippers`: those with a command of their own."""
    lines = ["grippers:" if any(facts.grippers) else "grippers: []"]
    entries = zip(facts.parts.hands, facts.grippers, facts.parts.hand_topics, strict=True)
    for hand, name, (topic, kind) in entries:
        if hand is None:
            continue
        opened, closed, known = _ends(facts, hand)
        said = "" if known else mark("Gripper", "open_position")
        lines += [
            f"  - dimension: {flow(name)}",
            f"    joint: {flow(hand.name)}",
            f"    open_position: {opened:g}{said}",
            f"    closed_position: {closed:g}" + ("" if known else mark("Gripper", "closed_position")),
            f"    open: 1.0{mark('Gripper', 'open')}",
            f"    closed: 0.0{mark('Gripper', 'closed')}",
            f"    mode: binary{mark('Gripper', 'mode')}",
            f"    topic: {flow(facts.name(topic) if topic else f'{NOBODY}/{name}')}"
            + ("" if topic else mark("Gripper", "topic")),
            f"    type: {kind}",
        ]
    return lines


def _ends(facts: DraftFacts, hand: Joint) -> tuple[float, float, bool]:
    """Positions of an open and a closed gripper, and whether they are sure."""
    joint = facts.known(hand)
    if facts.unit(hand)[0] is Unit.PERCENT:
        return 1.0, 0.0, False
    if joint is None or not math.isfinite(joint.high - joint.low):
        return facts.survey.topic(hand.topic).values.get(hand.said, 0.0), 0.0, False
    if joint.kind == "prismatic":  # fingers that slide are apart at the upper end
        return joint.high, joint.low, joint.low == 0
    return joint.low, joint.high, False


def teleop_lines(facts: DraftFacts) -> list[str]:
    """`teleop`: the devices of a human."""
    topics, hands = facts.parts.teleop, facts.grippers
    rest = [f"  route: through_controller{mark('Teleop', 'route')}"]
    if any(facts.survey.topic(topic).heard for topic in topics):  # though nobody demonstrates now
        rest.append(f"  takeover: motion{mark('Teleop', 'takeover')}")
    if len(topics) < 2:
        found = facts.name(topics[0]) if topics else "teleop/command"
        note = (
            ""
            if topics
            else mark("Teleop", "topic")
            + ("; for an arm that is guided by hand: no teleop, and action.source: next_state")
        )
        return ["teleop:", f"  topic: {flow(found)}{note}", *rest]
    lines = ["teleop:", *rest, "  groups:"]
    for arm, hand in zip(facts.parts.arms, hands, strict=True):
        topic = next((t for t in topics if side(t) == side(arm[0].name)), f"{NOBODY}/{arm[0].name}")
        entry: dict[str, Any] = {
            "topic": facts.name(topic),
            "dimensions": [j.name for j in arm] + [hand] * bool(hand),
        }
        names = facts.survey.topic(topic).all_names
        said = [j.said for j in arm] + [_like(hand, names)] * bool(hand)
        entry |= {"names": said} if said != entry["dimensions"] else {}
        lines.append(f"    - {flow(entry)}{mark('TeleopGroup', 'names', topic)}")
    return lines


def command_lines(facts: DraftFacts) -> list[str]:
    """`command`: the controllers of the arm, and their joints where that is not plain.

    Raises:
        ContractError: nothing says which joints one of several controllers drives.
    """
    commands = facts.parts.commands
    kinds = set(commands.values()) or {"joint_trajectory"}
    kind = next(iter(kinds))
    trajectory = kind == "joint_trajectory"
    lines = [
        "command:",
        f"  type: {kind}" + ("" if trajectory and commands else mark("Command", "type")),
        f"  command_delay_s: {DELAY_S:g}{mark('Command', 'command_delay_s')}",
    ]
    if not commands:
        return [*lines, f"  topic: {NOBODY}/command{mark('Command', 'topic')}"]
    first = next(iter(commands))
    claims = controller_of(first, facts.survey)
    ordered = trajectory or (claims is not None and _joints_of(facts, first) == _arm_names(facts))
    if len(commands) < 2 and (ordered or claims is None or not claims.joints):
        sure = ordered and not facts.parts.supposed
        return [*lines, f"  topic: {flow(facts.name(first))}{'' if sure else _order_note(facts, first)}"]
    groups = [{"topic": facts.name(topic), "joints": _joints_of(facts, topic)} for topic in commands]
    return [*lines, "  groups:", *(f"    - {flow(group)}" for group in groups)]


def _arm_names(facts: DraftFacts) -> list[str]:
    return [joint.name for arm in facts.parts.arms for joint in arm]


def _order_note(facts: DraftFacts, topic: str) -> str:
    """Asks for a look at the joints of a controller that nobody has listed."""
    names = ", ".join(_arm_names(facts))
    return f"{mark('CommandGroup', 'joints', topic)}. Taken for it: {names}"


def _joints_of(facts: DraftFacts, topic: str) -> list[str]:
    """Joints of one of several controllers: those that it claims, else those of the arm on its side.

    Raises:
        ContractError: neither says which.
    """
    claims, arms = controller_of(topic, facts.survey), facts.parts.arms
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


def limits_lines(facts: DraftFacts) -> list[str]:
    """`limits`: those of the URDF, with a margin and half of its speed."""
    lines = [f"limits:{mark('JointLimits', 'acceleration')}"]
    for arm in facts.parts.arms:
        for joint in arm:
            known = facts.known(joint)
            if facts.unit(joint)[0] is Unit.PERCENT:
                lines.append(
                    f"  {flow(joint.name)}: {flow(_PERCENT_LIMITS)}        # a fraction of its range"
                )
                continue
            low, high, speed = (
                (known.low, known.high, known.velocity) if known else (-math.inf, math.inf, math.inf)
            )
            ranged = math.isfinite(high - low)
            margin = _MARGIN * (high - low) if ranged and joint not in facts.held else 0.0
            velocity = round(min(_CALM * speed, _FASTEST), 2) if math.isfinite(speed) else 1.0
            entry = {
                "position": [round(low + margin, 3), round(high - margin, 3)] if ranged else [-3.1, 3.1],
                "velocity": velocity,
                "acceleration": round(velocity / _TO_FULL_SPEED_S, 1),
            }
            lines.append(
                f"  {flow(joint.name)}: {flow(entry)}" + ("" if ranged else mark("JointLimits", "position"))
            )
    return lines


def kinematics_lines(facts: DraftFacts) -> list[str]:
    """`kinematics`, where one arm has a URDF and all of its joints move the tool: a hand does not."""
    urdf = facts.urdf
    if urdf is None or len(facts.parts.arms) > 1 or facts.held:
        return []
    arm = [joint.said for joint in facts.parts.arms[0] if joint.said in urdf.joints]
    tool = tool_link(urdf, arm)
    if not arm or not tool:
        return []
    return [
        "kinematics:",
        f"  urdf: {flow(facts.urdf_source)}",
        f"  base_link: {flow(urdf.joints[arm[0]].parent if urdf.root == 'world' else urdf.root)}",
        f"  tool_link: {flow(tool)}{mark('Kinematics', 'tool_link')}",
    ]


def safety_lines(facts: DraftFacts) -> list[str]:
    """`safety`: the defaults, but for a hand that is one of the arm's joints."""
    if not facts.held:
        return ["safety: {}        # the defaults: docs/reference/contract.md#safety"]
    names = ", ".join(joint.name for joint in facts.held)
    return [
        "safety:",
        f"  first_target: ramp        # {names} counts as a joint: a farther target is approached slowly",
        "  first_target_max_distance: 0.5",
        f"  tracking_error_max: 1.0        # closed on an object {names} stays behind its command",
    ]


def _like(wanted: str, names: Sequence[str]) -> str:
    """The name of a gripper among those of a device's messages."""
    return next((name for name in names if is_gripper(name)), wanted)
