"""`vla-adapter measure delay` on the simulated arm, whose answer to commands is late by a known time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.nodes.conversions import joint_positions
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.nodes.ros_client import RosClient

CONTRACT = read_contract("franka_sim")
DELAY_S = 0.12


def measure(*arguments: str) -> int:
    return main(["measure", "delay", "--yes", *arguments])


def answer_on_a_terminal(word: str) -> tuple[int, str, str]:
    """Status, output and errors of a measurement whose question is answered by `word`."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "vla_adapter_ros.cli.main", "measure", "delay"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.write(ours, f"{word}\n".encode())
        said, why = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    return process.returncode, said, why


class Joints:
    """Where the arm is measured, all the time."""

    def __init__(self, client: RosClient) -> None:
        self.path: list[np.ndarray] = []
        client.subscribe(JointState, CONTRACT.joint_state_topic, self._hear, QoSProfile(depth=100))

    def _hear(self, message: JointState) -> None:
        positions = joint_positions(message)
        self.path.append(np.array([positions[joint] for joint in CONTRACT.arm_joints]))


def test_without_a_controller_it_says_what_to_start(capsys):
    assert measure("--wait", "0.5") == 1
    assert "no service /controller_node/get_parameters" in (said := capsys.readouterr().err)
    assert "start the nodes first, such as with `vla-adapter bringup`" in said


@pytest.mark.slow
def test_a_known_delay_is_found_and_the_arm_ends_where_it_was(tmp_path, capsys):
    nodes = node_list(policy=False, renderer="raycast", armed=False, lock_step=True)
    nodes[0].parameters["response_delay_s"] = DELAY_S
    with (
        GraphRunner(nodes, tmp_path / "logs") as runner,
        RosClient("watcher", check_alive=runner.check_alive) as client,
    ):
        joints = Joints(client)
        assert client.poll_until(lambda: len(joints.path) > 10, 60.0)
        assert measure() == 1 and "disarmed" in capsys.readouterr().err
        before = len(joints.path)
        assert main(["arm"]) == 0
        assert np.abs(np.array(joints.path[before:]) - joints.path[0]).max() < 1e-3  # neither moved it
        here = joints.path[-1]

        status, said, why = answer_on_a_terminal("no")
        assert status == 1 and "nothing moved" in why, why
        assert "fr3_joint7 will move by 0.02 rad (1.1 degrees), there and back 5 times, for 17 s" in said
        assert np.abs(joints.path[-1] - here).max() < 1e-3

        assert measure("--repeats", "2") == 0
        said = capsys.readouterr().out
        behind = float(re.search(r"([\d.]+) s after it was due", said).group(1))
        assert behind == pytest.approx(DELAY_S, abs=0.03), said
        assert "Write command_delay_s: 0.2" in said  # two messages, and the delay
        moved = np.abs(np.array(joints.path[before:]) - here).max(axis=0)
        assert 0.015 < moved[-1] < 0.022 and moved[:-1].max() < 0.005
        time.sleep(0.5)
        assert np.abs(joints.path[-1] - here).max() < 2e-3

        hold = client.service(Trigger, "controller_node/hold")
        holder = threading.Timer(4.0, lambda: hold.call(Trigger.Request(), 10.0))
        holder.start()
        assert measure("--repeats", "20") == 1
        holder.join()
        told = capsys.readouterr()
        assert "the measurement ended" in told.err and "hold requested" in told.err, told
