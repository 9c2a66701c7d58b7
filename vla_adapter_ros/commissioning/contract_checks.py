"""Checks of a contract by itself and against its URDF: joints, units, limits, grippers, tool."""

from __future__ import annotations

import math
import re

from vla_adapter_ros.commissioning.results import Results, nearest
from vla_adapter_ros.commissioning.urdf import MOVING, Urdf
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import CommandType, Route, Unit
from vla_adapter_ros.contract.find_out import FIND_OUT
from vla_adapter_ros.contract.schema import JointLimits
from vla_adapter_ros.dataset.tools.drafting.text import PLACEHOLDER

SLACK = 1e-3  # rad or m: limits are often rounded
MARK = "CHECK"
_MARKED = re.compile(rf"#.*\b{MARK}\b")
_SHORTEST_DELAY_S = 0.05  # with trajectories, at the default rates
_FRACTION = "a fraction of its range, which is not compared with the URDF's"
_SUSPICIOUS_RAD = 7.0  # beyond a turn: degrees?


def check_contract(contract: Contract, urdf: Urdf | None, why_no_urdf: str = "") -> Results:
    """What is right and wrong about a contract that could be read.

    Args:
        contract: The robot's contract.
        urdf: Its description; None if there is none at hand.
        why_no_urdf: In words, and what to do.
    """
    results = Results()
    parts = (
        _count(len(contract.cameras), "camera"),
        f"{len(contract.state)} values of state, {len(contract.action_names)} of action",
        _count(len(contract.arm_joints), "joint"),
        _count(len(contract.grippers), "gripper"),
    )
    results.note_pass(contract.name, ", ".join(parts))
    _habits(contract, results)
    if urdf is None:
        results.note_warning("URDF", why_no_urdf or "none at hand", _WITHOUT_URDF)
        return results
    results.note_pass("URDF", f"{urdf.name or 'robot'}, {len(urdf.moving)} joints move")
    _joints(contract, urdf, results)
    _grippers(contract, urdf, results)
    _tool(contract, urdf, results)
    return results


_WITHOUT_URDF = (
    "Give one by --urdf FILE, or under kinematics.urdf: joints, limits and tool are not compared without it"
)


def check_marks(text: str, results: Results) -> None:
    """Note the lines of a contract's file that are still to be checked by somebody."""
    blank = [n for n, line in enumerate(text.splitlines(), 1) if PLACEHOLDER in line.partition("#")[0]]
    if blank:
        results.note_failure(
            PLACEHOLDER, f"lines {', '.join(map(str, blank))} are not filled in",
            "Write the topics of your robot: `ros2 topic list -t`",
        )  # fmt: skip
    marked = marked_lines(text)
    if marked:
        shown = ", ".join(map(str, marked[:12])) + (" ..." if len(marked) > 12 else "")
        results.note_warning(
            MARK, f"{len(marked)} lines are marked: {shown}",
            f"Look there, correct what is wrong, and take the word {MARK} away",
        )  # fmt: skip


def marked_lines(text: str) -> list[int]:
    """Numbers of the lines of a contract's file that are still marked to be checked."""
    lines = enumerate(text.splitlines(), 1)
    return [n for n, line in lines if _MARKED.search(line) and not line.lstrip().startswith("#")]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _habits(contract: Contract, results: Results) -> None:
    """What is allowed, but seldom meant."""
    command, teleop = contract.command, contract.teleop
    if command.type is CommandType.JOINT_TRAJECTORY and command.command_delay_s < _SHORTEST_DELAY_S:
        results.note_warning(
            "command.command_delay_s",
            f"{command.command_delay_s:g} s is short for a trajectory controller",
            f"At the default rates the controller needs {_SHORTEST_DELAY_S:g}",
        )
    if teleop.route is Route.DIRECT and not teleop.publishers:
        results.note_warning(
            "teleop.publishers",
            "none, with route direct",
            "Name the node of the human's device, or the controller takes it for a stranger and does not arm",
        )
    if contract.rate_hz != round(contract.rate_hz):
        results.note_warning(
            "rate_hz", f"{contract.rate_hz:g} is no whole number, and data sets have none else",
            f"To record, write {max(1, math.floor(contract.rate_hz))}",
        )  # fmt: skip
    for i, gripper in enumerate(contract.grippers):
        if gripper.open_position == gripper.closed_position:
            results.note_failure(
                f"grippers[{i}]", f"open and closed are both at {gripper.open_position:g}",
                FIND_OUT["Gripper"]["open_position"].capitalize(),
            )  # fmt: skip
    for joint, limit in contract.limits.items():
        span = max(map(abs, limit.position))
        unit = next((d.unit for d in contract.state if d.name == joint or d.joint == joint), Unit.RAD)
        if unit.si is Unit.RAD and span > _SUSPICIOUS_RAD:
            results.note_warning(
                f"limits.{joint}.position", f"{list(limit.position)} is more than a turn",
                "Limits are in rad: multiply degrees by 0.01745",
            )  # fmt: skip


def _joints(contract: Contract, urdf: Urdf, results: Results) -> None:
    for joint, limit in contract.limits.items():
        where, name = f"limits.{joint}", contract.joint_in_messages(joint)
        found = urdf.joints.get(name) or urdf.joints.get(joint)
        if found is None:
            results.note_failure(
                where, "the URDF has no such joint",
                f"Its joints are {nearest(joint, urdf.moving)}; joint states and URDF must call it the same",
            )  # fmt: skip
            continue
        if found.kind not in MOVING or found.mimics:
            what = f"follows {found.mimics}" if found.mimics else f"is {found.kind}"
            results.note_failure(where, f"the URDF says that it {what}", "Name a joint that moves by itself")
            continue
        units = {d.unit.si for d in contract.state if d.joint == name and d.field == "position"}
        if units == {Unit.ONE}:
            results.note_pass(where, _FRACTION)
            continue
        if units and found.unit not in units:
            results.note_failure(
                where, f"its position is in {', '.join(sorted(units))}, the URDF says {found.kind}",
                f"Write unit: {found.unit} where state and action have it",
            )  # fmt: skip
        wider = _wider(limit, found.low, found.high, found.velocity)
        if wider:
            results.note_failure(where, wider, "The maker's limits are the widest that are allowed")
        else:
            results.note_pass(where, _within(limit, found.low, found.high))


def _wider(limit: JointLimits, low: float, high: float, velocity: float) -> str:
    """Which limit goes beyond the URDF's, in words; empty: none."""
    ours = limit.position
    if ours[0] < low - SLACK or ours[1] > high + SLACK:
        return f"position {list(ours)} goes beyond the URDF's [{low:g}, {high:g}]"
    if limit.velocity > velocity * (1 + SLACK):
        return f"velocity {limit.velocity:g} goes beyond the URDF's {velocity:g}"
    return ""


def _within(limit: JointLimits, low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "the URDF gives it no range"
    return f"{(limit.position[1] - limit.position[0]) / (high - low):.0%} of the URDF's range"


def _grippers(contract: Contract, urdf: Urdf, results: Results) -> None:
    for i, gripper in enumerate(contract.grippers):
        where, name = f"grippers[{i}].joint", contract.joint_in_messages(gripper.joint)
        joint = urdf.joints.get(name) or urdf.joints.get(gripper.joint)
        if joint is None:
            results.note_warning(
                where, f"the URDF has no joint {name}",
                f"It has {nearest(name, urdf.moving)}. That is well if the hand has a description of its own",
            )  # fmt: skip
            continue
        if any(d.unit.si is Unit.ONE for d in contract.state if d.joint == name):
            results.note_pass(where, _FRACTION)
            continue
        ends = sorted((gripper.open_position, gripper.closed_position))
        slack = 0.05 * (joint.high - joint.low) if math.isfinite(joint.high - joint.low) else 0.0
        if ends[0] < joint.low - slack or ends[1] > joint.high + slack:
            results.note_failure(
                where, f"open at {gripper.open_position:g} and closed at {gripper.closed_position:g}, the "
                f"URDF lets {name} go from {joint.low:g} to {joint.high:g}",
                "Open and close it, and read `ros2 topic echo --once /joint_states`",
            )  # fmt: skip
        elif joint.mimics:
            results.note_warning(
                where,
                f"{name} follows {joint.mimics} in the URDF",
                f"Name {joint.mimics}, which moves by itself",
            )
        else:
            results.note_pass(where, f"{name} goes from {joint.low:g} to {joint.high:g} in the URDF")


def _tool(contract: Contract, urdf: Urdf, results: Results) -> None:
    entry = contract.kinematics
    if entry is None:
        return
    known = True
    for key, link in (("base_link", entry.base_link), ("tool_link", entry.tool_link)):
        if link not in urdf.links:
            known = False
            results.note_failure(
                f"kinematics.{key}",
                f"the URDF has no link {link}",
                f"Its links are {nearest(link, urdf.links)}",
            )
    if not known:
        return
    moving = urdf.between(entry.base_link, entry.tool_link)
    strangers = [joint for joint in contract.arm_joints if joint in urdf.joints and joint not in moving]
    if strangers:
        there = ", ".join(joint for joint in moving if urdf.joints[joint].kind in MOVING) or "no joints"
        results.note_failure(
            "kinematics", f"{', '.join(strangers)} do not move {entry.tool_link} against {entry.base_link}",
            f"Between both are {there}",
        )  # fmt: skip
    else:
        results.note_pass(
            "kinematics", f"{entry.tool_link} is moved by all {len(contract.arm_joints)} joints"
        )
