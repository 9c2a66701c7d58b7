"""What is said of a human's device while somebody moves it."""

from __future__ import annotations

import pytest

from vla_adapter_ros.commissioning.leader_checks import check_leader
from vla_adapter_ros.commissioning.results import Results
from vla_adapter_ros.commissioning.survey import GraphSurvey, TopicRecord
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.dataset.quality.findings import Level

CONTRACT = read_contract("franka_sim")  # gripper: open 1, closed 0
NAMES = CONTRACT.action_names
TOPIC = f"/left/{CONTRACT.teleop.topic}"  # as a graph calls it


def findings(*gripper: float, arm: tuple[float, ...] = (0.0, 0.4)) -> dict[str, tuple[Level, str]]:
    """Lines of a check by dimension, where these were the values of the gripper one after the other."""
    record = TopicRecord()
    for n, value in enumerate(gripper):
        record.add_values(NAMES, [arm[n % len(arm)]] * 7 + [value])
    survey = GraphSurvey(15.0, {TOPIC: record.summary((), ())}, namespace="/left")
    results = Results()
    check_leader(CONTRACT, survey, results)
    return {result.subject.rpartition(".")[2]: (result.level, result.line) for result in results}


@pytest.mark.parametrize("values", [(1.0, 0.0, 1.0), (0.97, 0.5, 0.04, 0.95)])
def test_a_gripper_as_the_contract_says_passes(values):
    level, line = findings(*values)["gripper"]
    assert level is Level.PASS and "open at the end, as the contract says" in line


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ((0.0, 1.0, 0.0), "Write open: 0, closed: 1"),  # the wrong way round
        ((0.0, 0.79, 0.02), "Write open: 0, closed: 0.79"),  # radians of a joint
        ((100.0, 2.0, 98.0), "Write open: 100, closed: 2"),
    ],
)
def test_other_ends_are_told_with_what_to_write(values, advice):
    level, line = findings(*values)["gripper"]
    assert level is Level.FAIL and advice in line and "open: 1, closed: 0" in line


def test_every_joint_is_told_with_its_range():
    found = findings(1.0, 0.0, 1.0)
    assert set(found) == set(NAMES)
    assert found["fr3_joint1"] == (
        Level.PASS,
        f"pass  action.dimensions.fr3_joint1: fr3_joint1 on {TOPIC} moved from 0 to 0.4",
    )


def test_what_stayed_is_no_answer():
    found = findings(0.5, 0.5, float("nan"), arm=(0.2,))
    assert {level for level, _ in found.values()} == {Level.WARN}
    assert "stayed at 0.5" in found["gripper"][1] and "leave it open" in found["gripper"][1]


def test_a_silent_device_gives_no_line():
    results = Results()
    check_leader(CONTRACT, GraphSurvey(15.0, {}), results)
    assert not results
