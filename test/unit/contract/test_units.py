"""Units of a robot's messages that are not SI: named in the contract, and without meaning elsewhere."""

from __future__ import annotations

import math

import pytest
import yaml

from vla_adapter_ros.contract import contract_differences, parse_contract, read_contract, robots_folder
from vla_adapter_ros.contract.enums import Unit
from vla_adapter_ros.errors import ContractError

TEXT = (robots_folder() / "so101.yaml").read_text(encoding="utf-8")


def counted_in(joint: str, gripper: str, text: str = TEXT):
    """The SO-101 with other units."""
    raw = yaml.safe_load(text)
    for dimension in (*raw["state"], *raw["action"]["dimensions"]):
        dimension["unit"] = gripper if dimension["name"] == "gripper" else joint
    return parse_contract(raw)


def test_degrees_are_of_the_messages_alone():
    """So a policy and data sets of the same arm with a driver in rad fit."""
    contract = counted_in("degree", "degree")
    assert contract_differences(read_contract("so101"), contract) == []
    assert contract.joint_factors["elbow_flex"] == contract.state_factors[2] == math.pi / 180
    assert contract.action_factors == contract.state_factors
    percent = counted_in("degree", "percent")
    assert percent.joint_factors["gripper"] == 0.01 and percent.state[5].unit.si == "1"
    assert any("gripper" in line for line in contract_differences(read_contract("so101"), percent))


@pytest.mark.parametrize("unit", list(Unit))
def test_every_unit_becomes_one_of_si_that_stays(unit):
    assert unit.si.si is unit.si and unit.si.factor == 1.0 and unit.factor > 0


def test_what_does_not_go_with_another_unit_is_refused():
    raw = yaml.safe_load(TEXT)
    raw["action"]["dimensions"][0] |= {"unit": "degree", "scale": 5.0}
    with pytest.raises(ContractError, match=r"dimensions\[0\].scale = 5.0: allowed is 1 with unit degree"):
        parse_contract(raw)
    raw["state"][0]["unit"] = "percent"
    raw["kinematics"] = {"urdf": "robot_description", "base_link": "base", "tool_link": "tool"}
    with pytest.raises(ContractError, match=r"state\[0\].unit = 'percent': allowed is rad, degree or m"):
        parse_contract(raw)
    raw["action"]["dimensions"][0] |= {"unit": "grad"}
    with pytest.raises(ContractError, match=r"dimensions\[0\].unit = 'grad': allowed is .*'degree'"):
        parse_contract(raw)
