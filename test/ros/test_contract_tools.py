"""Contracts from a running graph: drafted, checked and driven with; and broken graphs, named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from simulated import Arm

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import contract_differences, read_contract
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.nodes.ros_client import RosClient

SHIPPED = read_contract("franka_sim")
SIMULATOR = {"controller": False, "policy": False, "renderer": "raycast"}


def check(capsys, *arguments: str) -> tuple[int, list[dict]]:
    status = main(["contract", "check", *arguments, "--live", "--seconds", "1.5", "--json"])
    return status, json.loads(capsys.readouterr().out)


def failed(found: list[dict]) -> list[str]:
    return [f"{r['subject']}: {r['text']}. {r['advice']}" for r in found if r["level"] == "fail"]


def test_a_contract_drafted_from_the_graph_passes_and_moves_the_arm(tmp_path, capsys):
    file = tmp_path / "my_arm.yaml"
    with GraphRunner(node_list(**SIMULATOR), tmp_path / "logs"):
        assert main(["contract", "new", str(file), "--yes", "--seconds", "1.5"]) == 0
        assert f"contract check {file} --live" in capsys.readouterr().out
        status, found = check(capsys, str(file))
        assert status == 0 and failed(found) == [], failed(found)
        assert "no such joint" not in str(found) and any(r["subject"] == "URDF" for r in found)

        # Two mistakes in it, and one in the graph.
        broken = (
            file.read_text().replace("width: 112", "width: 128", 1).replace("joint: fr3_joint3", "joint: j3")
        )
        (tmp_path / "broken.yaml").write_text(broken.replace("fr3_joint3:", "j3:").replace(
            "- {name: fr3_joint3, unit: rad}", "- {name: fr3_joint3, unit: rad, joint: j3}"
        ))  # fmt: skip
        with RosClient("second_driver") as other:
            other.node.create_publisher(JointState, "/joint_states", QoSProfile(depth=1))
            status, found = check(capsys, str(tmp_path / "broken.yaml"))
        said = failed(found)
        assert status == 1
        for words in (
            "112x112 comes, the contract says 128x112",
            "no j3 in the joint states",
            "limits.j3: the URDF has no such joint",
            "/second_driver both publish it",
        ):
            assert any(words in line for line in said), said

    contract = read_contract(file)
    assert contract_differences(SHIPPED, contract) == []  # so the shipped checkpoint and data sets fit it
    nodes = node_list(contract=str(file), policy=False, lock_step=True, client=True, renderer="raycast")
    with GraphRunner(nodes, tmp_path / "logs") as runner:
        with GraphClient(contract, runner.check_alive, watch_images=True) as client:
            arm = Arm(client, contract, tmp_path / "logs")
            assert client.wait_until(lambda: client.status is not None and len(arm.path) > 10)
            arm.wait(0.3)
            start = arm.path[-1][1]
            way = np.linspace(0, 0.2, 10)[:, None]
            arm.send(np.hstack([start + way * np.eye(7)[0], np.ones((10, 1))]))
            arm.wait(2.5)
            assert abs(arm.path[-1][1][0] - start[0] - 0.2) < 0.01
            arm.no_complaints()


@pytest.mark.slow
def test_the_demo_runs_with_a_drafted_contract(tmp_path):
    """Without an edit, and with the shipped checkpoint."""
    file = tmp_path / "my_arm.yaml"
    with GraphRunner(node_list(**SIMULATOR), tmp_path / "logs"):
        assert main(["contract", "new", str(file), "--yes"]) == 0
    arguments = ["--contract", str(file), "--episodes", "2", "--no-swap", "--output", str(tmp_path / "demo")]
    assert main(["demo", *arguments, "--json", str(tmp_path / "demo.json")]) in (0, 1)
    result = json.loads((tmp_path / "demo.json").read_text())
    assert result["episodes"] == 2 and result["successes"] >= 1


def test_without_a_graph_every_stream_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "87")
    status, found = check(capsys, "franka_sim")
    said = failed(found)
    assert status == 1 and len(said) == 6
    assert any("cameras.third_view: nobody publishes /third_view/image_raw" in line for line in said)
    assert main(["contract", "new", str(tmp_path / "x.yaml"), "--yes", "--seconds", "0.2"]) == 1
    assert "no camera sends images: no topic has images" in capsys.readouterr().err
