"""Grippers of a contract: none, one or several, the form of before, and joints with other names."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import two_hands
import yaml

from vla_adapter_ros.contract import (
    checkpoints_folder,
    contract_differences,
    parse_contract,
    read_contract,
    robots_folder,
    write_contract,
)
from vla_adapter_ros.errors import ContractError

SHIPPED = read_contract("franka_sim")


def older_form() -> dict:
    """The shipped contract as it was written before."""
    data = yaml.safe_load((robots_folder() / "franka_sim.yaml").read_text(encoding="utf-8"))
    (gripper,) = data.pop("grippers")
    data["command"] |= {"gripper_topic": gripper.pop("topic"), "gripper_type": "forward_position"}
    return data | {"gripper": gripper}


def test_the_form_of_before_is_the_same_contract(tmp_path):
    data = older_form()
    kept = copy.deepcopy(data)
    old = parse_contract(data)
    assert old == SHIPPED and data == kept
    assert old.grippers[0].topic == "gripper_controller/commands"
    write_contract(old, tmp_path / "now.yaml")
    written = yaml.safe_load((tmp_path / "now.yaml").read_text())
    assert "gripper" not in written and "gripper_topic" not in written["command"]
    assert read_contract(tmp_path / "now.yaml") == SHIPPED
    stored = checkpoints_folder() / "franka_sim_tiny" / "contract.yaml"
    assert "\ngripper:" in stored.read_text(), "a stored contract of before is what this test is about"
    assert contract_differences(SHIPPED, read_contract(stored)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grippers": []}, ["contract.gripper = ", "none beside 'grippers'"]),
        ({"gripper": 3}, ["contract.grippers[0] = 3", "a mapping"]),
        (
            {"command": {"type": "joint_trajectory", "topic": "/t", "command_delay_s": 0.1}},
            ["missing key", "'topic'"],
        ),
        ({"command": 3}, ["contract.command = 3", "a mapping"]),
    ],
)
def test_a_form_of_before_that_is_wrong_says_what(change, words):
    with pytest.raises(ContractError) as error:
        parse_contract(older_form() | change)
    assert all(word in str(error.value) for word in words), error.value


def test_two_arms_are_one_contract(tmp_path):
    contract = two_hands.CONTRACT
    assert contract.arm_joints == ("left_waist", "left_elbow", "right_waist", "right_elbow")
    assert contract.arm_columns == (
        "lead_left_waist",
        "lead_left_elbow",
        "lead_right_waist",
        "lead_right_elbow",
    )
    assert (contract.arm_places, contract.gripper_places) == ([0, 1, 3, 4], [2, 5])
    assert contract.action_joints == ("left_waist", "left_elbow", "", "right_waist", "right_elbow", "")
    assert contract.joint_state_topics == two_hands.TOPICS
    assert contract.joint_state_topic == "/left/joint_states"
    assert contract.joints_on("/right/joint_states") == {
        "waist": "right_waist", "elbow": "right_elbow", "finger": "right_finger",
    }  # fmt: skip
    assert contract.joint_in_messages("right_finger") == "finger"
    assert contract.driven_topics == (
        "/arms/joint_trajectory", "/left/gripper", "/right/gripper", "/controller/command",
    )  # fmt: skip
    write_contract(contract, tmp_path / "copy.yaml")
    assert read_contract(tmp_path / "copy.yaml") == contract


def test_joints_of_one_topic_keep_their_names():
    assert SHIPPED.state_joints == (*SHIPPED.arm_joints, "fr3_finger_joint1", "", "", "")
    assert SHIPPED.joints_on("joint_states")["fr3_joint1"] == "fr3_joint1"
    assert SHIPPED.joint_in_messages("fr3_joint1") == "fr3_joint1" == SHIPPED.arm_joints[0]
    assert SHIPPED.joint_in_messages("not_measured") == "not_measured"
    data = two_hands.raw()
    velocity = {
        "name": "speed",
        "topic": two_hands.TOPICS[1],
        "field": "velocity",
        "joint": "waist",
        "unit": "rad/s",
    }
    data["state"].append(velocity)
    assert parse_contract(data).state_joints[-1] == "right_waist"


def test_no_gripper_at_all(tmp_path):
    contract = two_hands.without_hands()
    assert contract.grippers == () and contract.arm_places == [0, 1, 2, 3] and contract.gripper_places == []
    assert contract.driven_topics == ("/arms/joint_trajectory", "/controller/command")
    write_contract(contract, tmp_path / "copy.yaml")
    assert read_contract(tmp_path / "copy.yaml") == contract
    assert any("grippers" in line for line in contract_differences(contract, two_hands.CONTRACT))


def test_what_a_gripper_means_is_compared_and_where_it_is_told_is_not():
    left, right = two_hands.CONTRACT.grippers
    elsewhere = dataclasses.replace(right, topic="/elsewhere", type="forward_position", joint="other")
    same = dataclasses.replace(two_hands.CONTRACT, grippers=(left, elsewhere))
    assert contract_differences(two_hands.CONTRACT, same) == []
    turned = dataclasses.replace(two_hands.CONTRACT, grippers=(left, dataclasses.replace(right, open=2.0)))
    (line,) = contract_differences(two_hands.CONTRACT, turned)
    assert line.startswith("grippers: (('left_grip', 'binary', 1.0, 0.0), ('right_grip',")


def test_which_joint_a_dimension_drives_is_compared_and_what_its_driver_calls_it_is_not():
    data = two_hands.raw()
    for dimension in data["state"]:
        dimension["joint"] = {"waist": "joint_1", "elbow": "joint_2", "finger": "joint_3"}[dimension["joint"]]
    assert contract_differences(two_hands.CONTRACT, parse_contract(data)) == []
    left, right = data["action"]["dimensions"][0], data["action"]["dimensions"][3]
    left["joint"], right["joint"] = right["joint"], left["joint"]
    (line,) = contract_differences(two_hands.CONTRACT, parse_contract(data))
    assert line.startswith("action.dimensions drive: ('left_waist', 'left_elbow', '', 'right_waist',")


@pytest.mark.parametrize(
    ("place", "key", "value", "words"),
    [
        (1, "dimension", "left_grip", ["grippers[1].dimension", "'left_grip'", "a gripper before it"]),
        (1, "topic", "/left/gripper", ["grippers[1].topic", "a gripper before it"]),
        (1, "joint", "left_finger", ["grippers[1].joint", "a gripper before it"]),
        (0, "dimension", "thumb", ["grippers[0].dimension", "'thumb'", "left_grip"]),
        (0, "closed", 1.0, ["grippers[0].open", "another value than 'closed'"]),
    ],
)
def test_grippers_that_cannot_be_told_apart_are_refused(place, key, value, words):
    data = two_hands.raw()
    data["grippers"][place][key] = value
    with pytest.raises(ContractError) as error:
        parse_contract(data)
    assert all(word in str(error.value) for word in words), error.value


def test_an_arm_is_needed_and_tool_columns_name_no_joint():
    data = two_hands.raw()
    data["action"]["dimensions"] = [d for d in data["action"]["dimensions"] if "joint" not in d]
    with pytest.raises(ContractError, match=r"action\.dimensions.*at least one that is no gripper's"):
        parse_contract(data)
    data = yaml.safe_load((robots_folder() / "franka_sim_ee.yaml").read_text(encoding="utf-8"))
    data["action"]["dimensions"][0]["joint"] = "fr3_joint1"
    with pytest.raises(
        ContractError, match=r"dimensions\[0\].joint = 'fr3_joint1': allowed is none in ee_delta"
    ):
        parse_contract(data)


def test_the_example_of_the_page_is_a_contract():
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "contract.md").read_text(encoding="utf-8")
    example = page.split("## Two arms")[1].split("```yaml\n")[1].split("```")[0]
    data = two_hands.raw() | yaml.safe_load(example)
    data["limits"] = {joint: data["limits"][joint] for joint in ("left_waist", "right_waist")}
    contract = parse_contract(data)
    assert contract.action_joints == ("left_waist", "", "right_waist", "")
    assert [gripper.joint for gripper in contract.grippers] == ["left_finger", "right_finger"]
