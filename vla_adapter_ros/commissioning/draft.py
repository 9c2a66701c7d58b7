"""Drafts a contract from a running graph and a URDF; what neither can know is marked, with where to look."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from vla_adapter_ros.commissioning.contract_checks import MARK
from vla_adapter_ros.commissioning.draft_facts import DraftFacts, mark
from vla_adapter_ros.commissioning.draft_inputs import cameras_lines, state_lines, topics_lines
from vla_adapter_ros.commissioning.draft_motion import (
    action_lines,
    command_lines,
    hands_lines,
    kinematics_lines,
    limits_lines,
    safety_lines,
    teleop_lines,
)
from vla_adapter_ros.commissioning.robot_parts import find_robot_parts
from vla_adapter_ros.commissioning.survey import GraphSurvey
from vla_adapter_ros.commissioning.urdf import Urdf
from vla_adapter_ros.commissioning.wishes import Ask, Wishes, take_default
from vla_adapter_ros.contract import config_folder, parse_contract
from vla_adapter_ros.contract.key_texts import SCHEMA_FILE
from vla_adapter_ros.contract.migration import SCHEMA
from vla_adapter_ros.dataset.tools.drafting.text import flow
from vla_adapter_ros.errors import ContractError

USUAL_SETTLE_S = 0.05  # what a contract allows where it says nothing
MOST_SETTLE_S = 1.0  # what one may allow
_SECTIONS = (
    cameras_lines, topics_lines, state_lines, action_lines, hands_lines, teleop_lines, command_lines,
    limits_lines, kinematics_lines, safety_lines,
)  # fmt: skip


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
    facts = DraftFacts(survey, urdf, urdf_source, wishes, parts)
    sections = [lines for section in (_head, *_SECTIONS) if (lines := section(facts))]
    text = "\n\n".join("\n".join(lines) for lines in sections) + "\n"
    parse_contract(yaml.safe_load(text))
    return text


def _head(facts: DraftFacts) -> list[str]:
    survey, name = facts.survey, facts.wishes.name
    robot = facts.wishes.robot_type or (facts.urdf.name if facts.urdf else "") or name
    found = [survey.topic(topic) for topic in facts.parts.cameras.values()]
    slowest = min(topic.stamped_hz or topic.rate_hz for topic in found)
    rate = facts.wishes.rate_hz or _whole(min(slowest, 30.0))
    slow, slowest_topic = max(
        ((survey.topic(d).late_s or 0.0, d) for d in _streams(facts)), default=(0.0, "")
    )
    settle, clocks = USUAL_SETTLE_S if slow < USUAL_SETTLE_S else round(1.3 * slow, 2), ""
    if settle > MOST_SETTLE_S:  # no network is so slow
        settle = USUAL_SETTLE_S
        clocks = (
            f"        # {MARK}: {slowest_topic} arrives {slow:.3g} s after its stamp: bring the clocks in "
            "step, or write time: receive"
        )
    lines = [
        f"# yaml-language-server: $schema={config_folder() / SCHEMA_FILE}",
        f"# Contract of {name}, drafted from its running graph ({len(survey.topics)} topics, "
        f"{survey.seconds:g} s). Units: rad, m, s (REP 103), but for what messages are in by their unit.",
        f"# {MARK} marks what the graph cannot say, with where to look. Then: vla-adapter contract check "
        "FILE --live",
        f"schema: {SCHEMA}",
        f"name: {flow(name)}",
        f"robot_type: {flow(robot)}" + ("" if facts.wishes.robot_type else mark("Contract", "robot_type")),
        f"rate_hz: {rate:g}" + ("" if facts.wishes.rate_hz else mark("Contract", "rate_hz")),
        f"settle_s: {settle:g}{clocks}",
        f"reference_camera: {flow(next(iter(facts.parts.cameras)))}",
    ]
    return lines


def _streams(facts: DraftFacts) -> list[str]:
    return [*facts.parts.cameras.values(), *facts.parts.depth_cameras.values(), *facts.state_topics]


def _whole(rate: float) -> float:
    """A measured rate as a whole number, as data sets need it: without its noise, and not above it."""
    near = round(rate)
    return float(near if abs(near - rate) <= 0.05 * rate else math.floor(rate)) or round(rate, 1)


def default_name(path: Path) -> str:
    """Name of a contract in a file.

    Raises:
        ContractError: the file has another ending than .yaml.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ContractError(f"{path}: allowed is a file that ends with .yaml")
    return path.stem
