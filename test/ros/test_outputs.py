"""Every type of command moves the simulated arm: simulator and controller over DDS, in lock step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from robots import GRIPPER, KINEMATICS, contract_file
from simulated import Arm

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.simulation.mjcf import build_model
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics

WAY = np.array([0.15, -0.1, 0.1, 0.15, 0.1, -0.1, 0.2])
SECONDS = 2.0


@pytest.fixture
def moved(tmp_path):
    """Start both nodes: `moved(base contract, changes)` gives the arm at rest."""
    entered = []

    def start(base: str = "franka_sim", **changes) -> Arm:
        path = contract_file(tmp_path, base, **changes)
        nodes = node_list(contract=path, policy=False, lock_step=True, client=True, renderer="raycast")
        runner = GraphRunner(nodes, tmp_path / "logs")
        runner.__enter__()
        entered.append(runner)
        contract = read_contract(path)
        client = GraphClient(contract, runner.check_alive, watch_images=True)
        client.__enter__()
        entered.append(client)
        arm = Arm(client, contract, tmp_path / "logs")
        assert client.wait_until(lambda: client.status is not None and len(arm.path) > 10)
        arm.wait(0.3)
        return arm

    yield start
    for context in reversed(entered):
        context.__exit__(None, None, None)


def go(arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """Send one smooth chunk that moves all joints by `WAY` and closes the hand; start and end (7,) each."""
    start = arm.path[-1][1]
    share = np.linspace(0, 1, round(SECONDS * arm.contract.rate_hz))[:, None]
    smooth = 3 * share**2 - 2 * share**3
    arm.send(np.hstack([start + smooth * WAY, np.where(share < 0.5, 1.0, 0.0)]))
    arm.wait(SECONDS / 2)
    assert arm.client.status.state == "running" and arm.client.status.control_source == "policy"
    arm.wait(SECONDS / 2 + 1.5)
    assert arm.client.status.state == "holding" and "no action chunk" in arm.client.status.reason
    limits = np.array([arm.contract.limits[joint].velocity for joint in arm.contract.arm_joints])
    assert (np.abs(arm.velocity()) < 1.1 * limits).all()
    assert np.abs(arm.velocity()[-20:]).max() < 0.01
    assert arm.fingers < 0.005
    arm.no_complaints()
    return start, arm.path[-1][1]


@pytest.mark.parametrize(
    ("command", "gripper"),
    [
        ("joint_trajectory", "joint_trajectory"),
        ("forward_position", "forward_position"),
        ("forward_velocity", "forward_position"),
        ("cartesian_pose", "forward_position"),
        ("cartesian_twist", "joint_trajectory"),
    ],
)
def test_the_arm_gets_there(moved, command, gripper):
    arm = moved(
        command={"type": command, "topic": "/arm/command"},
        grippers=[GRIPPER | {"type": gripper}],
        kinematics=KINEMATICS,
    )
    start, end = go(arm)
    if command.startswith("cartesian"):  # the posture of a redundant arm is its own affair
        kinematics = Kinematics(build_model())
        (wanted, frame), (here, turned) = kinematics.forward(start + WAY), kinematics.forward(end)
        assert np.abs(here - wanted).max() < 0.004
        assert np.abs(turned - frame).max() < 0.01
    else:
        assert np.abs(end - start - WAY).max() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("command", ["joint_trajectory", "cartesian_twist"])
def test_small_motions_of_the_tool(moved, command):
    arm = moved("franka_sim_ee", command={"type": command, "topic": "/arm/command"})
    kinematics = Kinematics(build_model())
    begin, frame = kinematics.forward(arm.path[-1][1])
    rows = np.zeros((25, 7))
    softly = np.sin(np.linspace(0, np.pi, 20))
    rows[:20, 1] = 0.12 * softly / softly.sum()
    rows[:, 6] = 1.0
    arm.send(rows)
    arm.wait(4.5)
    end, turned = kinematics.forward(arm.path[-1][1])
    assert np.abs(end - begin - [0.0, 0.12, 0.0]).max() < 0.004
    assert np.abs(turned - frame).max() < 0.01
    assert arm.client.status.state == "holding"
    arm.no_complaints()


ACTION = """GripperCommand command
---
float64 position
float64 effort
bool stalled
bool reached_goal
---
float64 position
float64 effort
bool stalled
bool reached_goal
"""
CMAKE = """cmake_minimum_required(VERSION 3.16)
project(control_msgs)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
rosidl_generate_interfaces(control_msgs
  "msg/GripperCommand.msg" "action/GripperCommand.action" DEPENDENCIES action_msgs)
ament_package()
"""
PACKAGE = """<package format="3">
<name>control_msgs</name><version>0.0.0</version><description>Interfaces of one gripper action.</description>
<maintainer email="maintainers@vla-adapter-ros.example">maintainers</maintainer><license>Apache-2.0</license>
<buildtool_depend>ament_cmake</buildtool_depend>
<buildtool_depend>rosidl_default_generators</buildtool_depend>
<depend>action_msgs</depend><exec_depend>rosidl_default_runtime</exec_depend>
<member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export>
</package>
"""


@pytest.fixture
def control_msgs(tmp_path, monkeypatch):
    """The package control_msgs; where ROS comes from wheels, which lack it, its gripper action is built."""
    if subprocess.run([sys.executable, "-c", "import control_msgs.action"], capture_output=True).returncode:
        source, install = tmp_path / "source", tmp_path / "install"
        files = {
            "msg/GripperCommand.msg": "float64 position\nfloat64 max_effort\n",
            "action/GripperCommand.action": ACTION,
            "CMakeLists.txt": CMAKE,
            "package.xml": PACKAGE,
        }
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        wheels = Path(__file__).resolve().parents[2] / "cmake" / "wheels.cmake"
        build = str(tmp_path / "build")
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "BUILD_TESTING": "OFF",
            "CMAKE_PREFIX_PATH": sys.prefix,
            "CMAKE_INSTALL_PREFIX": str(install),
            "Python3_EXECUTABLE": sys.executable,
            "CMAKE_PROJECT_INCLUDE": str(wheels),
        }
        defines = [f"-D{key}={value}" for key, value in options.items()]
        for step in (["-S", str(source), "-B", build, *defines], ["--build", build], ["--install", build]):
            ended = subprocess.run(["cmake", *step], capture_output=True, text=True)
            if ended.returncode:
                pytest.skip(f"control_msgs can neither be imported nor built: {ended.stderr[-300:]}")
        for variable, path in (
            ("PYTHONPATH", next(install.rglob("control_msgs/__init__.py")).parents[1]),
            ("LD_LIBRARY_PATH", install / "lib"),
        ):
            monkeypatch.setenv(variable, f"{path}{os.pathsep}{os.environ.get(variable, '')}")


@pytest.mark.slow
def test_the_gripper_action_closes_the_hand(control_msgs, moved):
    arm = moved(grippers=[GRIPPER | {"type": "gripper_command", "topic": "/gripper/gripper_cmd"}])
    start, end = go(arm)
    assert np.abs(end - start - WAY).max() < 0.01
