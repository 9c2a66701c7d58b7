"""`vla-adapter dataset`: what is printed, what is written, and the exit status."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.observation.frame import Frame

CONTRACT = read_contract("franka_sim")


@pytest.fixture
def data_set(tmp_path):
    """Two episodes in which nothing moves: it can be read, and it must fail the check."""
    root = tmp_path / "set"
    image = np.full((112, 112, 3), 90, dtype=np.uint8)
    ages = dict.fromkeys((*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic), 0.0)
    state = np.array([*(sum(CONTRACT.limits[j].position) / 2 for j in CONTRACT.arm_joints), 0.04, 0, 0, 0])
    with DatasetWriter(root, CONTRACT) as writer:
        for task in ("lift <b>", "push"):
            writer.start_episode(task)
            for n in range(5):
                stamp = 3 + 0.1 * n
                writer.add_frame(
                    Frame(stamp, dict.fromkeys(CONTRACT.cameras, image), state, state[:8], ages, stamp), 1
                )
            writer.save_episode()
    return root


def run(capsys, *arguments) -> tuple[int, str]:
    status = main(["dataset", *map(str, arguments)])
    return status, capsys.readouterr().out


def test_info(data_set, capsys):
    status, text = run(capsys, "info", data_set)
    assert status == 0
    assert "2 episodes, 10 frames" in text
    status, text = run(capsys, "info", data_set, "--json")
    assert json.loads(text)["tasks"] == {"lift <b>": 1, "push": 1}


def test_check_fails_with_a_status(data_set, capsys, tmp_path):
    status, text = run(capsys, "check", data_set)
    assert status == 1
    assert "fail constant_joints: 2 of 2 episodes (0, 1), 2 of them fail" in text
    assert text.splitlines()[-1] == f"{data_set}: fail"
    status, text = run(capsys, "check", data_set, "--json", "--decode")
    assert (status, json.loads(text)["level"]) == (1, "fail")
    lenient = tmp_path / "lenient.yaml"
    lenient.write_text("constant_joints: [1, 1]\nstill_range: 0\n")
    status, text = run(capsys, "check", data_set, "--settings", lenient)
    assert status == 1  # no value differs anywhere, whatever the thresholds of the episodes
    assert "pass constant_joints" in text
    assert main(["dataset", "check", str(data_set), "--settings", "missing.yaml"]) == 1
    assert "missing.yaml" in capsys.readouterr().err


def test_check_of_no_data_set_fails(tmp_path, capsys):
    status, text = run(capsys, "check", tmp_path)
    assert status == 1
    assert "fail format" in text


def test_repair(data_set, capsys, tmp_path):
    status, text = run(capsys, "repair", data_set)
    assert status == 0
    assert "nothing to repair" in text
    (data_set / "data/chunk-000/file-001.parquet").unlink()
    status, text = run(capsys, "repair", data_set, "--output", tmp_path / "new", "--json")
    found = json.loads(text)
    assert (status, found["episodes"], len(found["dropped"])) == (0, 1, 1)
    assert "1 episodes" in run(capsys, "info", tmp_path / "new")[1]
    assert main(["dataset", "repair", str(data_set), "--output", str(tmp_path / "new")]) == 1
    assert "exists" in capsys.readouterr().err


def test_view(data_set, capsys, tmp_path):
    status, text = run(capsys, "view", data_set, "--episode", 0, "--output", tmp_path / "page")
    page = (tmp_path / "page/index.html").read_text()
    assert status == 0
    assert str(tmp_path / "page/index.html") in text
    assert "lift &lt;b&gt;" in page
    assert "fail constant_joints" in page
    assert "http" not in page
    for name in ("episode_0000_images.png", "episode_0000_curves.png"):
        assert f'src="{name}"' in page
        assert (tmp_path / "page" / name).read_bytes().startswith(b"\x89PNG")
    assert main(["dataset", "view", str(data_set), "--episode", "5", "--output", str(tmp_path)]) == 1
    assert "allowed are 0 to 1" in capsys.readouterr().err
