"""When a policy's instruction ends by the controller's word."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.instruction import Instruction

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


def test_what_the_controller_ended_has_ended_for_its_reason(instruction):
    ended = status(session_id=OWN, instruction_id=3, ended_instruction_id=3, first_cause="hold requested")
    assert instruction.end_by(ended, OWN) == "the controller ended instruction 3: hold requested"
    taken = status(session_id=OWN, instruction_id=3, ended_instruction_id=3, control_source="human")
    assert instruction.end_by(taken, OWN) == "the controller ended instruction 3: a human took over"


def test_what_would_be_refused_ends_before_its_first_chunk(instruction):
    stopped = {"blocked_by": "stopped (stop requested): call ~/reset first", "first_cause": "stop requested"}
    assert not instruction.end_by(status(stamp=5.0, **stopped), OWN)  # of before: it was accepted since
    assert "stop requested" in instruction.end_by(status(stamp=5.01, **stopped), OWN)


def test_another_policy_or_a_controller_that_began_anew_ends_it(instruction):
    foreign = status(session_id="other", instruction_id=9, ended_instruction_id=8)
    assert not instruction.end_by(foreign, OWN)  # the one of before: ours has sent nothing yet
    instruction.end_by(status(session_id=OWN, instruction_id=3, ended_instruction_id=2), OWN)
    assert "session other" in instruction.end_by(foreign, OWN)
    assert "started again" in instruction.end_by(status(), OWN)
