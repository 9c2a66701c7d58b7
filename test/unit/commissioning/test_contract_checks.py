"""A contract against its URDF: the shipped one passes, ten broken ones are named, with what to do."""

from __future__ import annotations

import dataclasses
import re

import pytest
from surveys import CONTRACT

from vla_adapter_ros.commissioning.contract_checks import check_contract, check_marks, marked_lines
from vla_adapter_ros.commissioning.results import Results, summary, worst
from vla_adapter_ros.commissioning.urdf import parse_urdf
from vla_adapter_ros.contract import Contract, read_contract, robots_folder
from vla_adapter_ros.contract.schema import JointLimits, Kinematics
from vla_adapter_ros.control.urdf import read_urdf
from vla_adapter_ros.dataset.quality.findings import Level

TEXT = read_urdf("package:franky_sim/assets/fr3.urdf")
URDF = parse_urdf(TEXT)
TOOL = Kinematics("robot_description", "base", "fr3_hand_tcp")


def limited(joint: str = "fr3_joint2", **changes) -> Contract:
    limit = dataclasses.replace(CONTRACT.limits[joint], **changes)
    return dataclasses.replace(CONTRACT, limits={**CONTRACT.limits, joint: limit})


def gripper(**changes) -> Contract:
    return dataclasses.replace(CONTRACT, grippers=(dataclasses.replace(CONTRACT.grippers[0], **changes),))


def stranger() -> Contract:
    """A joint that the joint states may have, and the URDF has not."""
    state = tuple(
        dataclasses.replace(d, joint="panda_joint3") if d.joint == "fr3_joint3" else d for d in CONTRACT.state
    )
    limits = {("panda_joint3" if j == "fr3_joint3" else j): limit for j, limit in CONTRACT.limits.items()}
    return dataclasses.replace(CONTRACT, state=state, limits=limits)


def with_joint(name: str) -> Contract:
    limits = {**CONTRACT.limits, name: JointLimits((-1.0, 1.0), 1.0, 1.0)}
    return dataclasses.replace(CONTRACT, limits=limits)


def in_meters() -> Contract:
    state = tuple(dataclasses.replace(d, unit="m") if d.joint == "fr3_joint1" else d for d in CONTRACT.state)
    return dataclasses.replace(CONTRACT, state=state)


def with_tool(**changes) -> Contract:
    return dataclasses.replace(CONTRACT, kinematics=dataclasses.replace(TOOL, **changes))


@pytest.mark.parametrize("name", ["franka_sim", "franka_sim_ee"])
def test_the_shipped_contracts_fit_their_urdf(name):
    found = check_contract(read_contract(name), URDF)
    assert worst(found) is Level.PASS, "\n".join(result.line for result in found)
    assert re.fullmatch(r"0 failed, 0 warnings, \d+ passed", summary(found))


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (stranger(), ["limits.panda_joint3", "the URDF has no such joint", "fr3_joint3"]),
        (limited(position=(-1.75, 2.5)), ["limits.fr3_joint2", "beyond the URDF's [-1.8361, 1.8361]"]),
        (limited(velocity=9.0), ["velocity 9 goes beyond the URDF's 2.62"]),
        (in_meters(), ["limits.fr3_joint1", "in m, the URDF says revolute", "Write unit: rad"]),
        (gripper(open_position=0.4), ["grippers[0].joint", "open at 0.4", "from 0 to 0.04"]),
        (with_tool(tool_link="hand"), ["kinematics.tool_link", "no link hand", "fr3_hand"]),
        (with_tool(base_link="world"), ["kinematics.base_link", "no link world"]),
        (with_tool(tool_link="fr3_link4"), ["fr3_joint5", "do not move fr3_link4 against base"]),
        (gripper(open_position=0.0), ["grippers[0]", "open and closed are both at 0", "Open it, then"]),
        (with_joint("fr3_hand_joint"), ["limits.fr3_hand_joint", "is fixed"]),
        (with_joint("fr3_finger_joint2"), ["limits.fr3_finger_joint2", "follows fr3_finger_joint1"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_urdf_is_named_with_what_to_do(contract, words):
    failed = [result.line for result in check_contract(contract, URDF) if result.level is Level.FAIL]
    assert any(all(word in line for word in words) for line in failed), failed


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (gripper(joint="left_knuckle"), ["the URDF has no joint left_knuckle", "description of its own"]),
        (gripper(joint="fr3_finger_joint2"), ["follows fr3_finger_joint1", "Name fr3_finger_joint1"]),
        (limited(position=(-90.0, 90.0)), ["more than a turn", "multiply degrees"]),
        (dataclasses.replace(CONTRACT, command=dataclasses.replace(CONTRACT.command, command_delay_s=0.03)),
         ["0.03 s is short for a trajectory controller"]),
        (dataclasses.replace(CONTRACT, teleop=dataclasses.replace(CONTRACT.teleop, route="direct")),
         ["teleop.publishers", "takes it for a stranger"]),
    ],
)  # fmt: skip
def test_what_is_seldom_meant_is_a_warning(contract, words):
    found = [result.line for result in check_contract(contract, URDF) if result.level is Level.WARN]
    assert any(all(word in line for word in words) for line in found), found


def test_without_a_urdf_there_is_one_warning():
    found = check_contract(CONTRACT, None, "nobody publishes it")
    (warning,) = [result for result in found if result.level is Level.WARN]
    assert warning.line.startswith("warn  URDF: nobody publishes it. Give one by --urdf FILE")
    assert worst(found) is Level.WARN


def test_lines_that_are_marked_are_counted():
    text = (robots_folder() / "cr5.yaml").read_text()
    lines = marked_lines(text)
    assert len(lines) > 3 and all("CHECK" in text.splitlines()[n - 1] for n in lines)
    results = Results()
    check_marks(text, results)
    check_marks("name: x", results)
    (warning,) = results
    check_marks("# FILL_IN\ncommand: {topic: /FILL_IN/command}", results)
    assert results[1].line.startswith("fail  FILL_IN: lines 2 are not filled in")
    assert warning.level is Level.WARN and f"{len(lines)} lines are marked" in warning.text
