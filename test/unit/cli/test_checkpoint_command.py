"""`vla-adapter checkpoint` as a user types it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from vla_adapter_ros.cli.checkpoint_command import read_settings
from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import write_contract
from vla_adapter_ros.errors import ParameterError

from ..model.official_sample import fitting_contract, write_official


@pytest.fixture(autouse=True)
def leave_no_trace() -> Iterator[None]:
    """The command sets variables and a signal handler for the process that it expects to own."""
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    yield
    os.environ.clear()
    os.environ.update(before)
    signal.signal(signal.SIGTERM, handler)


def test_settings_are_json_or_text() -> None:
    pairs = ["center_crop=0.8", "rotate_180=false", "resize=area", "gripper_columns=[-1]"]
    assert read_settings(pairs) == {
        "center_crop": 0.8, "rotate_180": False, "resize": "area", "gripper_columns": [-1],
    }  # fmt: skip
    for pairs in (["center_crop"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ParameterError, match="KEY=VALUE"):
            read_settings(pairs)


def test_info_of_a_shipped_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "info", "franka_sim_tiny"]) == 0
    text = capsys.readouterr().out
    assert "head pro" in text and "contract 'franka_sim'" in text and "training.json" in text
    assert main(["checkpoint", "info", "franka_sim_tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"]["chunk"] == 8


def test_info_verify_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(
        "simplejpeg", reason="the official JPEG step needs simplejpeg: pip install simplejpeg"
    )
    source, ours = str(write_official(tmp_path / "official")), str(tmp_path / "ours")
    write_contract(fitting_contract(), tmp_path / "seven.yaml")
    assert main(["checkpoint", "info", source]) == 0
    assert "the widths fit libero, calvin" in capsys.readouterr().out
    assert main(["checkpoint", "verify", source]) == 1
    assert "fail weights" in capsys.readouterr().out
    arguments = ["checkpoint", "convert", source, ours, "--platform", "libero"]
    arguments += ["--contract", str(tmp_path / "seven.yaml"), "--gripper-binarize"]
    assert main([*arguments, "--set", "nothing=1"]) == 1
    assert "'nothing' is unknown" in capsys.readouterr().err
    assert main([*arguments, "--set", "center_crop=false", "--gripper-invert"]) == 0
    capsys.readouterr()
    assert main(["checkpoint", "info", ours, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["preprocessing"]["center_crop"] == 1.0 and found["contract"]["name"] == "seven"
    assert found["output"] == {"gripper_columns": [-1], "gripper_binarize": True, "gripper_invert": True}
    assert main(["checkpoint", "verify", ours]) == 0
    text = capsys.readouterr().out
    assert "fail" not in text and "pass prediction" in text


def test_a_missing_checkpoint_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "info", "/no/such/place"]) == 1
    assert capsys.readouterr().err.startswith("vla-adapter: no checkpoint directory at /no/such/place")
