"""Checks of what a human's device sends while somebody moves it: the range of each value, open and closed."""

from __future__ import annotations

from vla_adapter_ros.commissioning.results import Results
from vla_adapter_ros.commissioning.survey import GraphSurvey, TopicSurvey
from vla_adapter_ros.contract import Contract, in_namespace
from vla_adapter_ros.contract.schema import Gripper, TeleopGroup

HOW_TO_MOVE = "move every joint of the human's device, close and open its gripper, and leave it open"
_STILL = 1e-3  # rad, m or a fraction: less is no motion
_APART = 0.15  # of the range: so far may the ends of a motion by hand be from what the contract says


def check_leader(contract: Contract, survey: GraphSurvey, results: Results) -> None:
    """Note the range of every value that the human's devices sent.

    Args:
        contract: Of the robot.
        survey: Made while somebody did as `HOW_TO_MOVE` says.
        results: Gets a line for each value of the action.
    """
    contract = in_namespace(contract, survey.namespace)
    for group in contract.teleop_groups:
        topic = survey.topic(group.topic)
        for dimension, said in zip(group.dimensions, group.names_in_messages, strict=True):
            if said in topic.ranges:
                _value(contract, group, topic, dimension, said, results)


def _value(
    contract: Contract, group: TeleopGroup, topic: TopicSurvey, dimension: str, said: str, results: Results
) -> None:
    where = f"action.dimensions.{dimension}"
    entry = contract.action.dimensions[contract.action_names.index(dimension)]
    factor = entry.unit.factor * entry.scale
    low, high = sorted(factor * end for end in topic.ranges[said])
    moved = f"{said} on {group.topic} moved from {low:.4g} to {high:.4g}"
    if high - low < _STILL:
        results.note_warning(
            where, f"{said} on {group.topic} stayed at {low:.4g}", f"Check again, and {HOW_TO_MOVE}"
        )
        return
    gripper = next((g for g in contract.grippers if g.dimension == dimension), None)
    if gripper is None:
        results.note_pass(where, moved)
        return
    last = factor * topic.values[said]
    _gripper(where, gripper, moved, (high, low) if last > (low + high) / 2 else (low, high), results)


def _gripper(where: str, gripper: Gripper, moved: str, ends: tuple[float, float], results: Results) -> None:
    """Compare the contract with what was open, and closed."""
    opened, closed = ends
    room = _APART * abs(opened - closed)
    if abs(gripper.open - opened) <= room and abs(gripper.closed - closed) <= room:
        results.note_pass(where, f"{moved}, open at the end, as the contract says")
    else:
        results.note_failure(
            where, f"{moved}, and was open at the end; the contract says open: {gripper.open:g}, "
            f"closed: {gripper.closed:g}",
            f"Write open: {opened:.3g}, closed: {closed:.3g}, or check again if it was not left open",
        )  # fmt: skip
