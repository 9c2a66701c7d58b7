"""The part of a draft about what a robot gives: cameras, topics, state."""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.commissioning.draft_facts import USUAL_AGE_S, DraftFacts, mark, time_entry
from vla_adapter_ros.commissioning.survey import COMPRESSED_IMAGE
from vla_adapter_ros.contract.enums import Unit
from vla_adapter_ros.dataset.tools.drafting.names import side
from vla_adapter_ros.dataset.tools.drafting.text import flow

_POSE_AXES = ("x", "y", "z")


def cameras_lines(facts: DraftFacts) -> list[str]:
    """`cameras` and `depth_cameras`, with what is left out."""
    lines = ["cameras:        # in the order in which the model sees them"]
    lines += [_camera(facts, *entry) for entry in facts.parts.cameras.items()]
    if facts.parts.depth_cameras:
        lines += ["", "depth_cameras:"]
        lines += [_camera(facts, *entry) for entry in facts.parts.depth_cameras.items()]
    return lines + [f"  # left out: {topic}, {why}" for topic, why in facts.parts.left_out.items()]


def _camera(facts: DraftFacts, name: str, topic: str) -> str:
    found = facts.survey.topic(topic)
    assert found.size is not None, "cameras without a size are not chosen"
    width, height = found.size
    raw = found.publishers[0].type != COMPRESSED_IMAGE
    entry: dict[str, Any] = {
        "topic": facts.name(topic), "transport": "raw" if raw else "compressed",
        "width": width - width % 2, "height": height - height % 2,
    }  # fmt: skip
    note = ""
    if width % 2 or height % 2:
        entry["fit"], note = "crop", f"        # {width}x{height}: videos need even sizes"
    period = 1 / found.rate_hz if found.rate_hz else 0.0
    if 1.5 * period > USUAL_AGE_S:
        entry["max_age_s"] = round(2 * period, 3)
    entry |= time_entry(found)
    if raw and found.encoding in ("8UC3", "8UC1", "8UC4"):
        entry["encoding"] = {"8UC3": "rgb8", "8UC1": "mono8", "8UC4": "rgba8"}[found.encoding]
        note = mark("Camera", "encoding", topic)
    return f"  {flow(name)}: {flow(entry)}{note}"


def topics_lines(facts: DraftFacts) -> list[str]:
    """`topics`, with what could be read from as well."""
    lines = ["topics:        # inputs that are no images"]
    for topic in facts.state_topics:
        found = facts.survey.topic(topic)
        period = 1 / found.rate_hz if found.rate_hz else 0.0
        entry: dict[str, Any] = {"type": "pose" if topic in facts.parts.poses else "joint_state"}
        if 2 * period > USUAL_AGE_S:
            entry["max_age_s"] = round(2 * period, 3)
        lines.append(f"  {flow(facts.name(topic))}: {flow(entry | time_entry(found))}")
    more = facts.parts.more.items()
    return lines + [
        f"  # also there: {flow(facts.name(topic))}: {flow({'type': kind})}" for topic, kind in more
    ]


def state_lines(facts: DraftFacts) -> list[str]:
    """`state`: every joint, and where the tool is."""
    lines = ["state:        # what the policy knows of the robot, in order"]
    asked: set[tuple[str, Unit]] = set()  # one driver has one unit, but for grippers
    for joint in facts.joints:
        unit, known = facts.unit(joint)
        entry = {
            "name": joint.name, "topic": facts.name(joint.topic), "field": "position",
            "joint": joint.said, "unit": str(unit),
        }  # fmt: skip
        known = known or (joint.topic, unit) in asked
        asked |= set() if known else {(joint.topic, unit)}
        note = "" if known else mark("StateDimension", "unit", joint.topic)
        lines.append(f"  - {flow(entry)}{note}")
    for topic in facts.parts.poses:
        tool = "tool" if len(facts.parts.poses) == 1 else f"{side(topic) or topic.strip('/')}_tool"
        for axis in _POSE_AXES:
            entry = {
                "name": f"{tool}_{axis}", "topic": facts.name(topic), "field": f"position.{axis}",
                "unit": "m",
            }  # fmt: skip
            lines.append(f"  - {flow(entry)}")
    return lines
