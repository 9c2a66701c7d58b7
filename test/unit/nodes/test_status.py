"""What the controller says of itself: every value of the status is one that the message has."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control import MotionCore
from vla_adapter_ros.control.shadow import ShadowScore
from vla_adapter_ros.nodes.status import diagnostic_values, status_message


@pytest.mark.parametrize("shadow", [False, True])
def test_a_tick_becomes_a_status_and_diagnostics(shadow):
    contract = read_contract("franka_sim")
    core = MotionCore(contract, 0.01, True)
    core.activate(1.0)
    score = ShadowScore(contract) if shadow else None
    message = status_message(core, core.tick(1.01), "shadow" if shadow else "drive", "none", score)
    assert message.mode == ("shadow" if shadow else "drive") and message.reason
    values = diagnostic_values(message)
    assert values["state"] == message.state and values["starved ticks"] == 0
    assert values["jump at a chunk transition"] == "0.0000 and 0.0000 per second"
    assert sum(key.startswith("shadow ") for key in values) == len(message.shadow_names)
