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
        ("state.3.topic", "/other", ["state[3].topic", "/other", "/joint_states"]),
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
        ("teleop.topic", "/controller/command", ["teleop.topic", "another topic than action.topic"]),
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
    del raw["command"]["topic"]
    raw["color"] = "red"
    with pytest.raises(ContractError) as error:
        parse_contract(raw)
    first, *lines = str(error.value).split("\n  ")
    assert first == "4 errors:" and len(lines) == 4
    for words in (
        "contract.rate_hz = 0: allowed is more than 0",
        "contract.cameras.gripper.width = 'wide': allowed is a whole number",
        "contract.command = 'missing key': allowed is the key 'topic'",
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


def test_missing_file_lists_what_ships():
    with pytest.raises(ContractError, match="franka_sim"):
        read_contract("no_such_robot")


def test_differences_in_meaning_are_refused_and_the_rest_may_differ():
    same = dataclasses.replace(CONTRACT, settle_s=0.2, name="copy")
    assert contract_differences(CONTRACT, same) == []
    swapped = parse_contract(changed("state", [RAW["state"][1], RAW["state"][0], *RAW["state"][2:]]))
    with pytest.raises(ContractMismatch, match=r"state: .*fr3_joint1"):
        require_same(CONTRACT, swapped, "checkpoint x")
    smaller = parse_contract(changed("cameras.gripper.width", 96))
    with pytest.raises(ContractMismatch, match="cameras"):
        require_same(CONTRACT, smaller, "data set y")
