"""A suite through the nodes gives the figures of the loop without ROS, within chance."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import checkpoints_folder
from vla_adapter_ros.evaluation.suite_result import compare_results, read_result

SHIPPED = checkpoints_folder() / "franka_sim_tiny"


def evaluate(path, *words: str) -> dict:
    status = main(["evaluate", "closed-loop", "--checkpoint", str(SHIPPED), "--json", str(path), *words])
    assert status == 0
    return json.loads(path.read_text())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Logs are written to where the command is given."""
    monkeypatch.chdir(tmp_path)


def test_the_nodes_do_the_same_episodes(tmp_path, capsys):
    words = ("--episodes", "3", "--through-nodes")
    nodes = evaluate(tmp_path / "nodes.json", *words)
    assert nodes["conditions"]["through_nodes"] and nodes["episodes"] == 3
    assert nodes["successes"] >= 2, nodes["runs"]
    assert all(run["chunks"] >= 2 and 0.5 < run["duration_s"] <= 10.0 for run in nodes["runs"])
    assert "3" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("latency", ["0", "0.2"])
def test_success_is_that_of_the_direct_loop_within_the_paired_interval(tmp_path, latency):
    words = ("--checkpoint", "franka_sim_tiny_delayed", "--episodes", "60", "--latency", latency)
    direct = evaluate(tmp_path / "direct.json", *words, "--jobs", "2")
    nodes = evaluate(tmp_path / "nodes.json", *words, "--through-nodes")
    compared = compare_results(*(read_result(tmp_path / f"{name}.json") for name in ("direct", "nodes")))
    low, high = compared["interval"]
    assert low <= 0.0 <= high, (direct["failures"], nodes["failures"], compared)
