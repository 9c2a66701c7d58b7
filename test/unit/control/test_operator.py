"""The operator's page: while it is silent, a policy's instruction ends, and none begins."""

from __future__ import annotations

import numpy as np
import pytest
from receiver import CONTRACT, DT, HOME, Arm, make_chunk, ramp, with_safety

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.instructions import EndedBy
from vla_adapter_ros.control.watchdogs import OperatorWatch
from vla_adapter_ros.errors import ChunkError

TIMEOUT_S = 1.0
WATCHED = with_safety(operator_timeout_s=TIMEOUT_S)
REFUSAL = "no operator is heard on ~/operator_alive (safety.operator_timeout_s = 1)"


def arm_of(contract: Contract = WATCHED) -> Arm:
    arm = Arm(MotionCore(contract))
    arm.run(0.1)
    return arm


def instruct(arm: Arm, number: int = 1, sequence: int = 0) -> None:
    rows = ramp(0.2, 90, arm.position)
    arm.core.accept_chunk(make_chunk(arm.now, rows, instruction_id=number, sequence=sequence), arm.now)


def run_heard(arm: Arm, seconds: float) -> None:
    for _ in range(round(seconds / 0.2)):
        arm.core.hear_operator(arm.now)
        arm.run(0.2)


def run_led(arm: Arm, seconds: float) -> None:
    for _ in range(round(seconds / DT)):
        arm.core.accept_teleop(np.append(HOME, 1.0), arm.now, arm.now)
        arm.run(DT)


def test_no_instruction_begins_before_an_operator_is_heard():
    arm = arm_of()
    assert arm.tick.state == "idle" and arm.tick.reason == arm.core.refusal == REFUSAL
    assert arm.core.operator_silent
    with pytest.raises(ChunkError) as refused:
        instruct(arm)
    assert str(refused.value) == REFUSAL
    arm.core.hear_operator(arm.now)
    assert arm.core.refusal == "" and not arm.core.operator_silent
    with pytest.raises(ChunkError, match="has ended"):  # it is not followed late
        instruct(arm, sequence=1)
    instruct(arm, number=2)
    run_heard(arm, 0.4)
    assert arm.tick.source == "policy"


def test_the_instruction_ends_once_the_page_is_silent_and_never_goes_on_by_itself():
    arm = arm_of()
    arm.core.hear_operator(arm.now)
    instruct(arm)
    run_heard(arm, 1.0)
    assert arm.tick.source == "policy"
    arm.run(TIMEOUT_S - 0.25)
    assert arm.tick.source == "policy"
    arm.run(0.1)
    said = "The operator's page has been silent for 1.0 s (safety.operator_timeout_s = 1)"
    assert arm.tick.state == "holding" and arm.tick.reason == said
    assert arm.core.ending.by is EndedBy.HOLD and arm.core.ending.why == said
    arm.run(0.5)  # the stop
    where = arm.position.copy()
    run_heard(arm, 1.0)
    assert arm.tick.state == "holding" and arm.tick.reason == said
    with pytest.raises(ChunkError, match="has ended"):
        instruct(arm, sequence=1)
    arm.run(0.2)
    np.testing.assert_allclose(arm.position, where, atol=1e-6)
    instruct(arm, number=2)
    run_heard(arm, 0.4)
    assert arm.tick.source == "policy"
    arm.check()


def test_a_human_needs_no_page_and_goes_on_without_it_but_the_policy_does_not_follow_him():
    arm = arm_of()
    run_led(arm, 0.3)
    assert arm.tick.source == "human"
    arm.run(CONTRACT.teleop.timeout_s + 0.1)
    arm.core.hear_operator(arm.now)
    instruct(arm)
    arm.run(0.2)
    run_led(arm, TIMEOUT_S + 0.3)
    assert arm.tick.source == "human"
    arm.run(CONTRACT.teleop.timeout_s + 0.1)
    assert arm.tick.source == "none" and arm.core.ending.by is EndedBy.HOLD
    assert "has been silent" in arm.core.ending.why
    with pytest.raises(ChunkError, match="has ended"):
        instruct(arm, sequence=1)
    arm.check()


def test_home_needs_no_page():
    arm = arm_of()
    done, said = arm.core.home(CONTRACT.arm_joints, HOME + 0.1)
    assert done, said
    assert arm.core.refusal and not arm.core.operator_silent  # of the way home, not of the operator


def test_what_was_heard_before_a_pause_does_not_count():
    arm = arm_of()
    arm.core.hear_operator(arm.now)
    arm.core.activate(arm.now)
    arm.run(0.1)
    assert arm.core.refusal == REFUSAL


def test_nobody_watches_by_default():
    arm = arm_of(CONTRACT)
    instruct(arm)
    arm.run(2.5)
    assert arm.tick.source == "policy" and not arm.core.operator_silent


def test_a_clock_that_is_set_lets_nothing_of_before_count():
    arm = arm_of()
    arm.core.hear_operator(arm.now)
    assert arm.core.refusal == ""
    arm.begin -= 0.9
    arm.run(0.1)
    assert arm.core.refusal == REFUSAL


@pytest.mark.parametrize(("age_s", "silent"), [(-0.1, False), (0.0, False), (1.0, False), (1.01, True)])
def test_the_limit_still_counts_as_heard(age_s, silent):
    watch = OperatorWatch(WATCHED.safety)
    watch.hear(10.0)
    assert bool(watch.refusal(10.0 + age_s)) == bool(watch.ending(10.0 + age_s)) == silent
