"""When a policy's instruction ends: by the controller's word, by its time, by whoever gave it."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from vla_adapter_ros.control.instructions import EndedBy, Ending
from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.instruction import Instruction, goal_problem

OWN = "own"


def status(stamp: float = 6.0, **changes) -> ControllerStatus:
    message = ControllerStatus(state="idle", **changes)
    message.header.stamp = to_stamp(stamp)
    return message


@pytest.fixture
def instruction():
    return Instruction("pick it up", 3, 5.0)


def test_what_the_controller_follows_goes_on(instruction):
    assert not instruction.end_by(status(), OWN)  # not heard of yet
    assert not instruction.end_by(status(session_id=OWN, instruction_id=2, ended_instruction_id=2), OWN)
    assert not instruction.end_by(status(session_id=OWN, instruction_id=3, ended_instruction_id=2), OWN)
    blocked = status(
        session_id=OWN, instruction_id=3, ended_instruction_id=2, blocked_by="joint states are late"
    )
    assert not instruction.end_by(blocked, OWN)  # a short gap: it goes on afterwards


@pytest.mark.parametrize("by", ["hold", "stop", "fault", "silence"])
def test_what_the_controller_ended_has_ended_for_its_reason(instruction, by):
    ended = status(
        session_id=OWN, instruction_id=3, ended_instruction_id=3, ended_by=by, first_cause="hold requested"
    )
    expected = Ending(EndedBy(by), "the controller ended instruction 3: hold requested")
    assert instruction.end_by(ended, OWN) == expected


def test_a_human_who_leads_has_ended_it(instruction):
    taken = status(session_id=OWN, instruction_id=3, ended_instruction_id=3, control_source="human")
    expected = Ending(EndedBy.HUMAN, "the controller ended instruction 3: a human took over")
    assert instruction.end_by(taken, OWN) == expected


def test_what_would_be_refused_ends_before_its_first_chunk(instruction):
    stopped = {"blocked_by": "stopped (stop requested): call ~/reset first", "first_cause": "stop requested"}
    assert not instruction.end_by(status(stamp=5.0, **stopped), OWN)  # of before: it was accepted since
    ending = instruction.end_by(status(stamp=5.01, **stopped), OWN)
    assert ending.by is EndedBy.REFUSED and "stop requested" in ending.why
    message = status(stamp=5.01, **stopped)
    message.state = "stopped"
    assert instruction.end_by(message, OWN).by is EndedBy.STOP


def test_another_policy_or_a_controller_that_began_anew_ends_it(instruction):
    foreign = status(session_id="other", instruction_id=9, ended_instruction_id=8)
    assert not instruction.end_by(foreign, OWN)  # the one of before: ours has sent nothing yet
    instruction.end_by(status(session_id=OWN, instruction_id=3, ended_instruction_id=2), OWN)
    other, anew = instruction.end_by(foreign, OWN), instruction.end_by(status(), OWN)
    assert other.by is EndedBy.REPLACED and "session other" in other.why
    assert anew.by is EndedBy.INACTIVE and "started again" in anew.why


def test_a_goal_ends_by_the_first_of_what_ended_it_a_cancellation_and_its_time(instruction):
    assert instruction.ending_at(5.99, 1.0, False) is None
    assert instruction.ending_at(1e9, 0.0, False) is None  # no limit
    over = instruction.ending_at(6.0, 1.0, False)
    assert over == Ending(EndedBy.TIMEOUT, "its time of 1 s is over")
    assert instruction.ending_at(6.0, 1.0, True).by is EndedBy.CANCEL
    instruction.ending = Ending(EndedBy.STOP, "stop requested")
    assert instruction.ending_at(6.0, 1.0, True) == instruction.ending


@pytest.mark.parametrize(
    ("text", "timeout_s", "problem"),
    [
        ("lift", 0.0, ""),
        ("lift", 2.5, ""),
        (" ", 0.0, "instruction = ' ': allowed is a text; to stop and hold, cancel the goal"),
        ("lift", -1.0, "timeout = -1: allowed is a time of at least 0 s; 0: no limit"),
        ("lift", float("nan"), "timeout = nan: allowed is a time of at least 0 s; 0: no limit"),
    ],
)
def test_a_goal_that_makes_no_sense_is_named(text, timeout_s, problem):
    assert goal_problem(text, timeout_s) == problem
