"""What Foxglove is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.resources import config_folder
from vla_adapter_ros.nodes.foxglove_view import shown_topics


@pytest.mark.parametrize("name", [path.stem for path in sorted((config_folder() / "robots").glob("*.yaml"))])
def test_each_topic_is_shown_once_and_under_one_name(name):
    shown = shown_topics(read_contract(name))
    assert len({entry.name for entry in shown}) == len(shown)
    assert len({entry.topic for entry in shown}) == len(shown)


def test_a_command_that_is_an_input_too_is_shown_once():
    contract = read_contract("franka_sim")
    entry = contract.topics[contract.joint_state_topic]
    contract = replace(contract, topics={**contract.topics, contract.action.topic: entry})
    shown = [shown for shown in shown_topics(contract) if shown.topic == contract.action.topic]
    assert len(shown) == 1
