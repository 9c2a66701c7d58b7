"""`vla-adapter measure`: what is refused before anything is asked or moves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.cli.measure import read_running_contract
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.resources import robots_folder
from vla_adapter_ros.errors import ContractError


@pytest.mark.parametrize("step", ["0.021", "0", "-0.01", "nan", "much"])
def test_a_larger_step_is_refused(step, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["measure", "delay", f"--step={step}", "--yes"])
    assert ended.value.code == 2 and "a number above 0 to 0.02" in capsys.readouterr().err


def test_without_a_terminal_and_a_yes_nothing_begins():
    command = [sys.executable, "-m", "vla_adapter_ros.cli.main", "measure", "delay"]
    ended = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert ended.returncode == 2 and "allowed is a terminal, or --yes" in ended.stderr, ended.stderr


def test_the_contract_is_that_of_the_running_controller(tmp_path):
    shipped = read_contract("ur5e_sim")
    assert read_running_contract("ur5e_sim", None) == shipped
    assert read_running_contract("/of/another/computer.yaml", "ur5e_sim") == shipped
    with pytest.raises(ContractError, match="cannot be read here: name it by --contract"):
        read_running_contract("/of/another/computer.yaml", None)
    text = (robots_folder() / "ur5e_sim.yaml").read_text(encoding="utf-8")
    (tmp_path / "slow.yaml").write_text(text.replace("command_delay_s: 0.1", "command_delay_s: 0.2"))
    with pytest.raises(ContractError, match="the controller runs ur5e_sim, which has another command"):
        read_running_contract("ur5e_sim", str(tmp_path / "slow.yaml"))
