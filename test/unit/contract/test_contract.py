"""Contracts: round trip, errors that name key, value and what is allowed, comparison."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import yaml

from vla_adapter_ros.contract import (
    contract_differences,
    parse_contract,
    read_contract,
    require_same,
    robots_folder,
    write_contract,
)
from vla_adapter_ros.errors import ContractError, ContractMismatch

RAW = yaml.safe_load((robots_folder() / "franka_sim.yaml").read_text(encoding="utf-8"))
CONTRACT = read_contract("franka_sim")


@pytest.mark.parametrize("path", sorted(robots_folder().glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_contracts_are_valid_and_survive_writing(path, tmp_path):
    contract = read_contract(path)
    assert contract.name == path.stem
    write_contract(contract, tmp_path / "copy.yaml")
    assert read_contract(tmp_path / "copy.yaml") == contract


def changed(path: str, value) -> dict:
    raw = copy.deepcopy(RAW)
    *parents, last = path.split(".")
    place = raw
    for key in parents:
        place = place[int(key)] if key.isdigit() else place[key]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return raw


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("rate_hz", 0, ["contract.rate_hz", "0", "more than 0"]),
        ("rate_hz", "fast", ["contract.rate_hz", "'fast'", "a finite number"]),
        ("rate_hz", float("nan"), ["finite number"]),
        ("name", KeyError, ["missing key", "name"]),
        ("color", "red", ["color", "only these keys"]),
        ("reference_camera", "left", ["'left'", "third_view"]),
        ("cameras.gripper.rotation", 45, ["cameras.gripper.rotation", "45", "0, 90, 180 or 270"]),
        ("cameras", {}, ["contract.cameras", "at least one"]),
        ("home.fr3_joint4", 1.0, ["contract.home.fr3_joint4 = 1.0", "-3 to -0.19"]),
        ("home.fr3_joint4", "low", ["contract.home.fr3_joint4", "'low'"]),
        ("home.elbow", 1.0, ["contract.home", "'elbow'", "each of", "once, or no entry"]),
        ("home.fr3_joint4", KeyError, ["contract.home", "each of", "once, or no entry"]),
        ("state.3.topic", "/other", ["state[3].topic", "/other", "joint_states"]),
        ("state.3.joint", "", ["state[3].joint", "a joint name"]),
        ("state.8.field", "position", ["state[8].field", "position.x"]),
        ("action.space", "telepathy", ["'telepathy'", "joint_position"]),
        ("grippers.0.dimension", "hand", ["grippers[0].dimension", "'hand'", "gripper"]),
        ("grippers.0.closed", 1.0, ["grippers[0].open", "another value"]),
        ("grippers.0.topic", KeyError, ["grippers[0]", "missing key", "topic"]),
        ("grippers.0.type", "telepathy", ["grippers[0].type", "'telepathy'", "forward_position"]),
        ("grippers", {}, ["contract.grippers", "a list"]),
        ("action.dimensions.7.joint", "finger", ["dimensions[7].joint", "named with the gripper"]),
        ("action.dimensions.1.joint", "fr3_joint1", ["dimensions[1].joint", "no dimension before drives"]),
        ("action.dimensions.1.joint", "elbow", ["contract.action.dimensions", "elbow", "joints measured"]),
        ("limits.fr3_joint1", KeyError, ["contract.limits", "fr3_joint1"]),
        ("limits.fr3_joint1.position", [1.0, -1.0], ["low < high"]),
        ("limits.fr3_joint1.velocity", 0.0, ["velocity", "more than 0"]),
        ("command.command_delay_s", 3.0, ["command_delay_s", "at most 0.5"]),
        ("teleop.topic", "controller/command", ["teleop.topic", "another topic than action.topic"]),
    ],
)
def test_bad_values_are_named(path, value, words):
    with pytest.raises(ContractError) as error:
        parse_contract(changed(path, value))
    for word in words:
        assert word in str(error.value)


def test_all_errors_of_a_file_come_at_once(tmp_path):
    raw = changed("rate_hz", 0)
    raw["cameras"]["gripper"]["width"] = "wide"
    del raw["command"]["command_delay_s"]
    raw["color"] = "red"
    with pytest.raises(ContractError) as error:
        parse_contract(raw)
    first, *lines = str(error.value).split("\n  ")
    assert first == "4 errors:" and len(lines) == 4
    for words in (
        "contract.rate_hz = 0: allowed is more than 0",
        "contract.cameras.gripper.width = 'wide': allowed is a whole number",
        "contract.command = 'missing key': allowed is the key 'command_delay_s'",
        "contract = ['color']: allowed is only these keys: schema, name,",
    ):
        assert sum(line.startswith(words) for line in lines) == 1, error.value
    raw = changed("reference_camera", "left")
    raw["limits"]["fr3_joint1"]["position"] = [1.0, -1.0]
    with pytest.raises(ContractError, match=r"(?s)2 errors:.*reference_camera.*low < high"):
        parse_contract(raw)


def test_contracts_of_schema_1_are_read_and_newer_ones_are_refused():
    raw = changed("schema", 1)
    raw["command"]["lead_s"] = raw["command"].pop("command_delay_s")
    assert parse_contract(raw) == CONTRACT
    raw["command"]["command_delay_s"] = 0.1
    with pytest.raises(ContractError, match=r"command\.lead_s = 0\.1: allowed is none beside"):
        parse_contract(raw)
    with pytest.raises(ContractError, match=r"contract\.schema = 3: allowed is 1 to 2"):
        parse_contract(changed("schema", 3))


JOINTS = [f"fr3_joint{n}" for n in range(1, 8)]
GROUPS = [{"topic": "/base", "joints": JOINTS[:3]}, {"topic": "/wrist", "joints": JOINTS[:2:-1]}]


def with_groups(groups, **command) -> dict:
    return changed(
        "command", {"type": "joint_trajectory", "command_delay_s": 0.1, "groups": groups} | command
    )


def test_each_group_of_joints_has_a_controller_of_its_own(tmp_path):
    contract = parse_contract(with_groups(GROUPS))
    assert [(g.topic, list(g.joints)) for g in contract.command_groups] == [tuple(g.values()) for g in GROUPS]
    assert contract.driven_topics == (
        "/base", "/wrist", "gripper_controller/commands", "controller/command",
    )  # fmt: skip
    assert contract.arm_joints == CONTRACT.arm_joints and contract_differences(CONTRACT, contract) == []
    write_contract(contract, tmp_path / "copy.yaml")
    assert read_contract(tmp_path / "copy.yaml") == contract
    (whole,) = CONTRACT.command_groups
    assert (whole.topic, whole.joints) == (CONTRACT.command.topic, CONTRACT.arm_joints)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (with_groups(GROUPS, topic="/arm"), ["command.topic = '/arm'", "none with groups"]),
        (with_groups([]), ["command.topic = ''", "one with no groups"]),
        (with_groups(GROUPS[:1]), ["command.groups", "fr3_joint7", "a group for every joint"]),
        (with_groups([GROUPS[0]] * 2), ["groups[1].topic", "groups[1].joints", "each joint of the arm once"]),
        (with_groups([GROUPS[0] | {"joints": []}]), ["groups[0].joints", "at least one entry"]),
        (with_groups([{"joints": JOINTS, "topic": "gripper_controller/commands"}]), ["groups[0].topic"]),
        (with_groups([GROUPS[0] | {"joints": ["elbow"]}]), ["groups[0].joints = 'elbow'", "fr3_joint1"]),
        (with_groups(GROUPS, type="cartesian_pose"), ["command.groups", "one tool"]),
    ],
)  # fmt: skip
def test_groups_that_do_not_fit_the_arm_are_named(raw, words):
    with pytest.raises(ContractError) as error:
        parse_contract(raw)
    assert all(word in str(error.value) for word in words), error.value


LEADERS = [
    {"topic": "/base_leader", "dimensions": JOINTS[:3], "names": ["a", "b", "c"]},
    {"topic": "/wrist_leader", "dimensions": [*JOINTS[3:], "gripper"]},
]


def test_a_human_s_command_may_come_from_several_devices(tmp_path):
    contract = parse_contract(changed("teleop", {"groups": LEADERS}))
    base, wrist = contract.teleop_groups
    assert base.names_in_messages == ("a", "b", "c") and wrist.names_in_messages == wrist.dimensions
    write_contract(contract, tmp_path / "copy.yaml")
    assert read_contract(tmp_path / "copy.yaml") == contract
    (whole,) = CONTRACT.teleop_groups
    assert (whole.topic, whole.names_in_messages) == (CONTRACT.teleop.topic, CONTRACT.action_names)


@pytest.mark.parametrize(
    ("teleop", "words"),
    [
        ({}, ["teleop.topic = ''", "one with no groups"]),
        ({"topic": "/leader", "groups": LEADERS}, ["teleop.topic = '/leader'", "none with groups"]),
        ({"groups": LEADERS[:1]}, ["teleop.groups", "gripper", "a group for every value"]),
        ({"groups": [LEADERS[0], LEADERS[0]]}, ["groups[1].topic", "groups[1].dimensions"]),
        ({"groups": [LEADERS[0] | {"names": ["a"]}, LEADERS[1]]}, ["groups[0].names = ['a']", "of its own"]),
        ({"groups": [LEADERS[0] | {"topic": "controller/command"}, LEADERS[1]]}, ["would follow itself"]),
    ],
)  # fmt: skip
def test_devices_that_do_not_give_the_action_are_named(teleop, words):
    with pytest.raises(ContractError) as error:
        parse_contract(changed("teleop", teleop))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("entry", "field", "words"),
    [
        ({"type": "wrench"}, "linear.x", ["state[0].field = 'linear.x'", "force.x"]),
        ({"type": "twist"}, "force.x", ["linear.x"]),
        ({"type": "float64_array"}, "pressure", ["topics./more.joints"]),
        ({"type": "float64_array", "joints": ["pressure"]}, "0", ["'pressure'"]),
        ({"type": "joint_trajectory"}, "position", ["carries commands only"]),
    ],
)
def test_a_state_of_another_message_has_that_message_s_fields(entry, field, words):
    raw = changed("topics", RAW["topics"] | {"/more": entry})
    raw["state"] = [{"name": "more", "topic": "/more", "field": field, "unit": "1"}, *RAW["state"]]
    with pytest.raises(ContractError) as error:
        parse_contract(raw)
    assert all(word in str(error.value) for word in words), error.value


def test_missing_file_lists_what_ships():
    with pytest.raises(ContractError, match="franka_sim"):
        read_contract("no_such_robot")


def test_a_robot_with_another_home_or_none_is_the_same():
    assert contract_differences(CONTRACT, dataclasses.replace(CONTRACT, home={})) == []
    assert parse_contract(changed("home", KeyError)).home == {}


def test_differences_in_meaning_are_refused_and_the_rest_may_differ():
    same = dataclasses.replace(CONTRACT, settle_s=0.2, name="copy")
    assert contract_differences(CONTRACT, same) == []
    swapped = parse_contract(changed("state", [RAW["state"][1], RAW["state"][0], *RAW["state"][2:]]))
    with pytest.raises(ContractMismatch, match=r"state: .*fr3_joint1"):
        require_same(CONTRACT, swapped, "checkpoint x")
    smaller = parse_contract(changed("cameras.gripper.width", 96))
    with pytest.raises(ContractMismatch, match="cameras"):
        require_same(CONTRACT, smaller, "data set y")
