"""Checks of a contract against what its running graph said: cameras, values, commands, clocks."""

from __future__ import annotations

from vla_adapter_ros.commissioning.camera_checks import check_cameras
from vla_adapter_ros.commissioning.command_checks import check_commands
from vla_adapter_ros.commissioning.results import Results
from vla_adapter_ros.commissioning.survey import COMPRESSED_IMAGE, IMAGE, GraphSurvey
from vla_adapter_ros.commissioning.value_checks import check_values
from vla_adapter_ros.contract import Contract, in_namespace
from vla_adapter_ros.contract.enums import GripperCommandType


def check_graph(contract: Contract, survey: GraphSurvey) -> Results:
    """What of a contract the graph bears out, and what it does not.

    Args:
        contract: The robot's contract.
        survey: What the graph said, while robot and cameras ran.
    """
    results, contract = Results(), in_namespace(contract, survey.namespace)
    check_cameras(contract, survey, results)
    check_values(contract, survey, results)
    check_commands(contract, survey, results)
    if survey.simulated_time:
        results.note_pass("clock", "somebody publishes /clock: start all nodes with use_sim_time")
    return results


def expected_topics(contract: Contract) -> tuple[str, ...]:
    """Topics of a contract that somebody publishes or listens on while robot and cameras run."""
    listening = (g.topic for g in contract.grippers if g.type is not GripperCommandType.GRIPPER_COMMAND)
    return tuple(
        dict.fromkeys(
            [
                *(camera.topic for camera in contract.recorded_cameras.values()),
                *(dimension.topic for dimension in contract.state),
                *(group.topic for group in contract.command_groups),
                *listening,
            ]
        )
    )


def check_running(contract: Contract | None, survey: GraphSurvey, expected: bool) -> Results:
    """What the graph says of a robot that may run or not.

    Args:
        contract: The robot's contract; None: no robot in particular.
        survey: What the graph said.
        expected: Whether the robot must run.
    """
    results = Results()
    if contract is None:
        for name in survey.published(IMAGE, COMPRESSED_IMAGE):
            results.note_pass("robot", f"images on {name}, {survey.topic(name).rate_hz:.3g} Hz")
        if not survey.nodes:
            results.note_pass("robot", "no node runs, so nothing was compared")
        elif not results:
            results.note_pass("robot", f"{len(survey.nodes)} nodes run, none publishes images")
        return results
    contract = in_namespace(contract, survey.namespace)
    if expected or any(survey.topic(name).publishers for name in expected_topics(contract)):
        return check_graph(contract, survey)
    results.note_pass("robot", f"{contract.name} does not run, so nothing was compared")
    return results
