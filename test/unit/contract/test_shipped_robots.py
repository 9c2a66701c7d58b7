"""The shipped contracts: within what the makers state, with their drivers' names; and the simulated twins."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from vla_adapter_ros.contract import read_contract, robots_folder
from vla_adapter_ros.contract.compare import contract_differences
from vla_adapter_ros.contract.read import plain_contract

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs" / "how-to" / "robots"
VENDORS = yaml.safe_load((ROOT / "test" / "data" / "vendor_limits.yaml").read_text())
NAMES = sorted(path.stem for path in robots_folder().glob("*.yaml"))
SIMULATED = {"fr3_sim": "fr3", "ur5e_sim": "ur5e_2f85", "so101_sim": "so101"}


def test_every_contract_is_known_here() -> None:
    ours = {"cr5", "franka_sim", "franka_sim_ee", "fr3_duo_sim", "libero", "metaworld"}
    assert set(NAMES) == {*VENDORS, *SIMULATED, *ours}


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_and_is_called_as_its_file(name: str) -> None:
    contract = read_contract(name)
    assert contract.name == name
    assert bool(contract.verification_warning) == (name in VENDORS)


@pytest.mark.parametrize("name", VENDORS)
def test_limits_are_within_the_makers_and_names_are_the_drivers(name: str) -> None:
    contract, stated = read_contract(name), VENDORS[name]["joints"]
    assert {d.joint for d in contract.state} == set(stated)
    for joint, limit in contract.limits.items():
        low, high, velocity, acceleration = stated[contract.joint_in_messages(joint)]
        assert low <= limit.position[0] < limit.position[1] <= high, joint
        assert velocity is None or limit.velocity <= velocity, joint
        assert acceleration is None or limit.acceleration <= acceleration, joint
    for gripper in contract.grippers:
        low, high, *_ = stated[contract.joint_in_messages(gripper.joint)]
        assert {low <= p <= high for p in (gripper.open_position, gripper.closed_position)} == {True}


@pytest.mark.parametrize("name", VENDORS)
def test_the_file_names_the_source_of_its_limits_and_its_page(name: str) -> None:
    text = (robots_folder() / f"{name}.yaml").read_text()
    limits = text[text.index("limits:") : text.index("safety:")]
    assert re.search(r"\.(ya?ml|xacro|urdf|h)\b", limits), "no file of the maker is named"
    for joint in read_contract(name).limits:
        line = next(line for line in limits.splitlines() if line.strip().startswith(f"{joint}:"))
        assert "#" in line, f"{joint}: what the maker states is missing beside it"
    assert (PAGES / f"{name}.md").is_file() and f"{name}.md" in text


@pytest.mark.parametrize(("simulated", "real"), SIMULATED.items())
def test_the_simulated_twin_differs_in_topics_alone(simulated: str, real: str) -> None:
    twin, robot = read_contract(simulated), read_contract(real)
    assert contract_differences(twin, robot) == []
    assert twin.limits == robot.limits and twin.safety == robot.safety
    assert twin.command.type is robot.command.type
    rest = [replace(g, topic="", type="forward_position") for g in (*twin.grippers, *robot.grippers)]
    assert rest[: len(twin.grippers)] == rest[len(twin.grippers) :]
    assert asdict(replace(twin.teleop, topic="")) == asdict(replace(robot.teleop, topic=""))


def test_a_warning_is_kept_in_copies_and_old_copies_have_none() -> None:
    from vla_adapter_ros.contract import parse_contract

    plain = plain_contract(read_contract("fr3"))
    assert parse_contract(plain).verification_warning.startswith("Not verified on hardware")
    del plain["verified"]
    assert parse_contract(plain).verification_warning == ""
    assert parse_contract(plain | {"verified": True}).verification_warning == ""
