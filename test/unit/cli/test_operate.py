"""The commands that operate running nodes, as far as no node is needed."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from vla_adapter_ros.cli.main import _parser, main
from vla_adapter_ros.cli.operate import CONTROLLER_COMMANDS, as_commands
from vla_adapter_ros.contract import checkpoints_folder, read_contract


def request(*words: str):
    options = _parser().parse_args(list(words))
    return CONTROLLER_COMMANDS[words[0]].request(options)[1]


def test_home_asks_for_the_pose_of_the_controller_a_contract_or_a_checkpoint(tmp_path):
    home = read_contract("franka_sim").home
    assert not request("home").joint_names
    asked = request("home", "--contract", "franka_sim")
    assert dict(zip(asked.joint_names, asked.positions, strict=True)) == home
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    shutil.copy(checkpoints_folder() / "franka_sim_tiny" / "contract.yaml", folder)
    names = read_contract(folder / "contract.yaml").state_names
    pose = {name: {"min": 0.0, "median": n / 10, "max": 2.0} for n, name in enumerate(names)}
    (folder / "training.json").write_text(json.dumps({"start_pose": pose}))
    asked = request("home", "--checkpoint", str(folder))
    assert list(asked.joint_names) == list(home)
    assert list(asked.positions) == pytest.approx([n / 10 for n in range(7)])


def test_a_home_that_nobody_knows_is_refused_before_anybody_is_called(tmp_path, capsys):
    assert main(["home", "--contract", "panda"]) == 2
    assert "--contract panda: it has no home pose: write its key home" in capsys.readouterr().err
    shutil.copy(checkpoints_folder() / "franka_sim_tiny" / "contract.yaml", tmp_path)
    assert main(["home", "--checkpoint", str(tmp_path)]) == 2
    assert "does not say where its training episodes begin" in capsys.readouterr().err
    assert main(["home", "--contract", "no_such"]) == 1
    assert "shipped contracts" in capsys.readouterr().err


def test_services_are_named_as_commands():
    assert as_commands("stopped (x): call ~/reset first") == "stopped (x): call `vla-adapter reset` first"
    assert as_commands("nobody on ~/operator_alive, ~/armed") == "nobody on ~/operator_alive, ~/armed"


def test_speed_is_a_number_from_a_tenth_to_one(capsys):
    assert request("speed", "0.3").speed == 0.3
    for text in ("0", "1.5", "slow"):
        with pytest.raises(SystemExit):
            request("speed", text)
        assert f"'{text}': allowed is a number from 0.1 to 1" in capsys.readouterr().err
