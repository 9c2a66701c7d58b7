"""One command from two devices: whole once both have sent anew, as old as the older part."""

from __future__ import annotations

import numpy as np
import two_hands

from vla_adapter_ros.contract import parse_contract
from vla_adapter_ros.control.command_parts import CommandParts

RIGHT = ["right_grip", "lead_right_waist", "lead_right_elbow"]
LEFT = ["lead_left_waist", "lead_left_elbow", "left_grip"]


def two_leaders() -> dict:
    data = two_hands.raw()
    data["teleop"] = {
        "groups": [
            {"topic": "/leader_right", "dimensions": RIGHT, "names": ["gripper", "waist", "elbow"]},
            {"topic": "/leader_left", "dimensions": LEFT},
        ]
    }
    return data


def test_a_command_is_whole_once_both_have_sent():
    parts = CommandParts(parse_contract(two_leaders()))
    assert parts.add_part(0, np.array([1.0, 2.0, 3.0]), 10.00) is None
    command, stamp = parts.add_part(1, np.array([4.0, 5.0, 6.0]), 10.01)
    assert command.tolist() == [4.0, 5.0, 6.0, 2.0, 3.0, 1.0] and stamp == 10.0
    # Each part counts once: two messages of one device are no command, and the newer of them counts.
    assert parts.add_part(1, np.array([7.0, 7.0, 7.0]), 10.02) is None
    assert parts.add_part(1, np.array([8.0, 8.0, 8.0]), 10.03) is None
    command, stamp = parts.add_part(0, np.array([9.0, 9.0, 9.0]), 10.02)
    assert command.tolist() == [8.0, 8.0, 8.0, 9.0, 9.0, 9.0] and stamp == 10.02


def test_a_part_of_a_device_that_is_gone_does_not_lead():
    parts = CommandParts(parse_contract(two_leaders()))
    parts.add_part(0, np.ones(3), 10.0)
    assert parts.add_part(1, np.ones(3), 10.0 + two_hands.CONTRACT.teleop.timeout_s + 0.01) is None
    assert parts.add_part(0, np.ones(3), 10.32) is not None


def test_one_device_gives_the_whole_command():
    parts = CommandParts(two_hands.CONTRACT)
    command, stamp = parts.add_part(0, np.arange(6.0), 3.0)
    assert command.tolist() == list(range(6)) and stamp == 3.0
