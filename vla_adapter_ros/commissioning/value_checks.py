"""Checks of the state's topics: joints by name, fields, units, one publisher for each joint."""

from __future__ import annotations

import math

from vla_adapter_ros.commissioning.results import Results, nearest
from vla_adapter_ros.commissioning.streams import check_period, check_rate, check_stamps, is_heard
from vla_adapter_ros.commissioning.survey import GraphSurvey, TopicSurvey
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import TopicType
from vla_adapter_ros.contract.schema import JointLimits
from vla_adapter_ros.observation.bag import TOPIC_TYPES

_DEGREES = 3.2  # rad beyond a joint's limits: no joint is there, so the unit is another


def check_values(contract: Contract, survey: GraphSurvey, results: Results) -> None:
    """Every topic that the state is read from."""
    for name in dict.fromkeys(d.topic for d in contract.state):
        entry = contract.topics[name]
        kind = TOPIC_TYPES[entry.type]
        where = f"topics.{name}"
        topic = is_heard(survey, results, where, name, kind, survey.published(kind))
        if topic is None:
            continue
        if entry.type is TopicType.JOINT_STATE:
            _joint_states(contract, name, topic, results)
        elif entry.type is TopicType.FLOAT64_ARRAY:
            _array(where, entry.joints, topic, results)
        check_rate(
            results, where, topic, contract.rate_hz, True, f"the contract's rate_hz is {contract.rate_hz:g}"
        )
        check_stamps(results, where, topic, entry.time, entry.max_age_s, contract.settle_s)
        check_period(results, where, topic, entry.max_age_s)
        if not all(end.reliable for end in topic.publishers):
            results.note_warning(
                where, "published best effort: what is lost on a busy network is not sent again",
                "Set the publisher to reliable, if it can be, or keep it on this computer",
            )  # fmt: skip


def is_another_unit(value: float, limit: JointLimits) -> bool:
    """Whether a position is so far outside of a joint's limits that it can only be in another unit."""
    low, high = limit.position
    return value < low - _DEGREES or value > high + _DEGREES


def _joint_states(contract: Contract, name: str, topic: TopicSurvey, results: Results) -> None:
    where = f"topics.{name}"
    wanted = [d for d in contract.state if d.topic == name]
    joints = list(dict.fromkeys(d.joint for d in wanted))
    there = topic.all_names
    missing = [joint for joint in joints if joint not in there]
    if missing:
        results.note_failure(
            where, f"no {', '.join(missing)} in the joint states",
            f"They name {nearest(missing[0], there)}",
        )  # fmt: skip
    for field in dict.fromkeys(d.field for d in wanted):
        if topic.counts and not topic.counts.get(field):
            given = [name for name, count in topic.counts.items() if count]
            results.note_failure(
                where, f"the messages have no {field}", f"They have {', '.join(given) or 'no values'}"
            )
    if not missing:
        order = [joint for joint in there if joint in joints]
        how = "in the contract's order" if order == joints else "in another order, which is fine: by name"
        results.note_pass(where, f"all {len(joints)} joints, {how}")
    _second_publisher(where, topic, joints, results)
    _positions(contract, name, topic, results)


def _second_publisher(where: str, topic: TopicSurvey, joints: list[str], results: Results) -> None:
    nodes = [end.node for end in topic.publishers]
    if len(nodes) < 2:
        return
    shared = [j for j in joints if sum(j in names for names in topic.names) == len(topic.names)]
    if shared:
        results.note_failure(
            where, f"{' and '.join(nodes)} both publish it, with {', '.join(shared[:3])}",
            "Stop one, or remap it: each joint has one publisher",
        )  # fmt: skip
    else:
        results.note_pass(where, f"{len(nodes)} publishers, each with other joints")


def _positions(contract: Contract, name: str, topic: TopicSurvey, results: Results) -> None:
    """Where the arm is measured to be, against its limits."""
    called, factors = contract.joints_on(name), contract.joint_factors
    for said, given in topic.values.items():
        joint = called.get(said, "")
        value = given * factors.get(joint, 1.0)
        limit = contract.limits.get(joint)
        if limit is None:
            continue
        low, high = limit.position
        if not math.isfinite(value):
            results.note_failure(
                f"limits.{joint}", f"{said} is {value}", "The driver must send finite numbers"
            )
        elif is_another_unit(value, limit):
            results.note_failure(
                f"limits.{joint}", f"{said} is at {value:.4g}, the limits are {low:g} to {high:g}",
                "Does the driver send degrees or percent? Then write unit: degree, or percent, under state. "
                "Or is it another joint?",
            )  # fmt: skip
        elif not low <= value <= high:
            results.note_warning(
                f"limits.{joint}", f"{said} is at {value:.4g}, outside of {low:g} to {high:g}",
                "Only motion back inside is allowed: move the arm, or widen the limits",
            )  # fmt: skip


def _array(where: str, names: tuple[str, ...], topic: TopicSurvey, results: Results) -> None:
    count = topic.counts.get("data", len(names))
    if count != len(names):
        results.note_failure(
            where, f"{count} values come, the contract names {len(names)}",
            f"Name each of them under {where}.joints, in order",
        )  # fmt: skip
    else:
        results.note_pass(where, f"{count} values")
