"""Whether an instruction may begin: each cause in words, the first one first."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.readiness import controller_problem, not_ready


@pytest.mark.parametrize(
    ("state", "blocked_by", "sentence"),
    [
        ("idle", "", ""),
        ("running", "", ""),
        ("disarmed", "not armed yet: call ~/arm", "controller is disarmed: call ~/arm"),
        (
            "stopped",
            "stopped (stop requested): call ~/reset first",
            "controller is stopped (stop requested): call ~/reset first",
        ),
        ("idle", "joint states are 0.40 s old", "controller: joint states are 0.40 s old"),
    ],
)
def test_the_controller_says_what_blocks_it(state, blocked_by, sentence):
    assert controller_problem(ControllerStatus(state=state, blocked_by=blocked_by), 0.1) == sentence


def test_a_controller_that_is_not_heard_is_none():
    assert "no controller is heard" in controller_problem(None, math.inf)
    assert "1.2 s old" in controller_problem(ControllerStatus(state="idle"), 1.2)


def test_everything_is_named_in_the_order_of_causes():
    assert not_ready(listeners=1) == not_ready() == ""
    sentence = not_ready(inputs=["camera a: no sample"], controller="controller: b", listeners=0, text="long")
    assert sentence == "not ready: camera a: no sample; controller: b; long"
    assert "no controller listens" in not_ready(listeners=0)
