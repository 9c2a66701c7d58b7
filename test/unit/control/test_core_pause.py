"""The controller without ROS, after a time in which nobody ticked: nothing of before moves the arm."""

from __future__ import annotations

import numpy as np
import pytest
from receiver import CONTRACT, Arm, make_chunk, ramp

from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.errors import ChunkError


def paused(call: str = "hold", seconds: float = 5.0) -> Arm:
    """An arm that was stopped in motion and is active again later."""
    arm = Arm(MotionCore(CONTRACT))
    arm.run(0.1)
    arm.core.accept_chunk(make_chunk(arm.now, ramp(0.5, 30)), arm.now)
    arm.run(0.4)
    getattr(arm.core, call)()
    arm.run(1.0)
    arm.begin += seconds
    arm.now += seconds
    arm.core.activate(arm.now)
    return arm


@pytest.mark.parametrize("seconds", [0.0, 0.05, 5.0])
def test_only_a_new_instruction_moves_the_arm(seconds):
    arm = paused(seconds=seconds)
    here = arm.position.copy()
    with pytest.raises(ChunkError, match="has ended: the controller was inactive"):
        arm.core.accept_chunk(make_chunk(arm.now, ramp(0.5, 30, start=here), sequence=9), arm.now)
    arm.run(0.5)
    assert arm.tick.state == "idle"  # the pause is no jump of the clock
    assert arm.tick.reason == "waits for an instruction"
    np.testing.assert_allclose(arm.position, here, atol=1e-9)
    chunk = make_chunk(arm.now, ramp(0.5, 30, start=here), instruction_id=9, sequence=10)
    arm.core.accept_chunk(chunk, arm.now)
    arm.run(0.5)
    assert arm.tick.state == "running" and arm.position[0] > here[0] + 0.05


def test_what_was_asked_for_meanwhile_is_over():
    arm = paused()
    late = make_chunk(arm.now, ramp(0.5, 30, start=arm.position), instruction_id=9, sequence=10)
    arm.core.miss_chunk(late)
    arm.core.activate(arm.now)
    late = make_chunk(arm.now, ramp(0.5, 30, start=arm.position), instruction_id=9, sequence=11)
    with pytest.raises(ChunkError, match="has ended"):
        arm.core.accept_chunk(late, arm.now)


def test_stopped_and_disarmed_outlast_the_pause():
    arm = paused("stop")
    arm.run(0.1)
    assert arm.tick.state == "stopped"
    arm = Arm(MotionCore(CONTRACT, armed=False))
    arm.core.activate(arm.now)
    arm.run(0.1)
    assert arm.tick.state == "disarmed"
