"""The gripper switch does not flap."""

from __future__ import annotations

import dataclasses

import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control.gripper import GripperSwitch

(GRIPPER,) = read_contract("franka_sim").grippers


def test_hysteresis():
    switch = GripperSwitch(GRIPPER)
    values = [0.9, 0.45, 0.55, 0.41, 0.3, 0.45, 0.59, 0.61]
    opened = [switch.position(value, 0.0) == GRIPPER.open_position for value in values]
    assert opened == [True, True, True, True, False, False, False, True]


def test_inverted_convention_and_continuous():
    inverted = dataclasses.replace(GRIPPER, open=-1.0, closed=1.0)
    assert GripperSwitch(inverted).position(-0.9, 0.0) == GRIPPER.open_position
    linear = dataclasses.replace(GRIPPER, mode="continuous")
    assert GripperSwitch(linear).position(0.25, 0.0) == pytest.approx(0.01)
    assert GripperSwitch(linear).position(7.0, 0.0) == GRIPPER.open_position
