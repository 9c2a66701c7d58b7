"""Checks of a contract against what its running graph said: cameras, values, commands, clocks."""

from __future__ import annotations

from vla_adapter_ros.commissioning.camera_checks import check_cameras
from vla_adapter_ros.commissioning.command_checks import check_commands
from vla_adapter_ros.commissioning.results import Results
from vla_adapter_ros.commissioning.survey import GraphSurvey
from vla_adapter_ros.commissioning.value_checks import check_values
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import GripperCommandType


def check_graph(contract: Contract, survey: GraphSurvey) -> Results:
    """What of a contract the graph bears out, and what it does not.

    Args:
        contract: The robot's contract.
        survey: What the graph said, while robot and cameras ran.
    """
    results = Results()
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
