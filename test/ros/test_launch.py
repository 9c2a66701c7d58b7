"""The launch files: arguments, nodes, parameters; and one real start and Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("launch", reason="no `launch` on this machine")
pytest.importorskip("launch_ros", reason="no `launch_ros` on this machine")

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch_ros.actions import Node

from vla_adapter_ros.nodes.graph import graph_environment

FOLDER = Path(__file__).resolve().parents[2] / "launch"
START = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource as Source
pairs = [tuple(argument.split(":=")) for argument in sys.argv[2:]]
service = LaunchService()
include = IncludeLaunchDescription(Source(sys.argv[1]), launch_arguments=pairs)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared(description: LaunchDescription, **values: str) -> LaunchContext:
    """A context in which the arguments have been declared and given these values."""
    context = LaunchContext()
    context.launch_configurations.update(values)
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
    return context


def planned(name: str, **values: str) -> dict[str, SimpleNamespace]:
    """What the launch file would start, by executable."""
    module = load(name)
    context = declared(module.generate_launch_description(), **values)
    assert all(isinstance(node, Node) for node in module.start_nodes(context))  # as launch_ros accepts them
    module.Node = lambda **options: SimpleNamespace(**options)
    nodes = module.start_nodes(context)
    for node in nodes:
        assert node.package == "vla_adapter_ros" and node.name == node.executable
        assert Path(node.parameters[0]).is_file()
    return {node.executable: node for node in nodes}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "bringup",
            "contract checkpoint simulate record lock_step renderer seed device mode",
        ),
        ("record", "dataset contract simulate controller instruction joy_buttons on_fail verdict"),
    ],
)
def test_arguments_are_declared_and_explained(name, expected):
    arguments = load(name).generate_launch_description().get_launch_arguments()
    assert [argument.name for argument in arguments] == expected.split()
    for argument in arguments:
        assert argument.description and argument.default_value is not None


def test_bringup_without_arguments():
    nodes = planned("bringup")
    assert list(nodes) == ["simulator_node", "controller_node", "policy_node"]
    controller, policy = (nodes[n].parameters[1] for n in ("controller_node", "policy_node"))
    assert controller["use_sim_time"] is True and controller["armed"] is True
    assert controller["contract"] == "franka_sim"
    assert policy["checkpoint"] == "" and policy["device"] == "auto"
    assert controller["mode"] == "drive"
    simulator = nodes["simulator_node"].parameters[1]
    assert simulator["use_sim_time"] is False and simulator["seed"] == 0
    assert simulator["lock_step"] is False


@pytest.mark.parametrize("off", ["false", "False"])
def test_bringup_of_a_real_robot_starts_no_simulator_and_moves_nothing(off):
    nodes = planned("bringup", simulate=off, checkpoint="somewhere", mode="dry_run")
    assert nodes["controller_node"].parameters[1]["mode"] == "dry_run"
    assert list(nodes) == ["controller_node", "policy_node"]
    assert nodes["controller_node"].parameters[1]["armed"] is False
    assert nodes["policy_node"].parameters[1] == {
        "contract": "franka_sim",
        "use_sim_time": False,
        "lock_step": False,
        "checkpoint": "somewhere",
        "device": "auto",
    }


def test_bringup_in_lock_step_waits_for_every_node_that_runs():
    nodes = planned("bringup", record="demonstrations", lock_step="True", seed="7", renderer="raycast")
    assert list(nodes) == ["simulator_node", "controller_node", "policy_node", "recorder_node"]
    simulator = nodes["simulator_node"].parameters[1]
    assert simulator["awaited"] == "controller,policy,recorder"
    assert simulator["seed"] == 7 and simulator["renderer"] == "raycast"
    assert all(node.parameters[1]["lock_step"] is True for node in nodes.values())
    assert nodes["recorder_node"].parameters[1]["dataset"] == "demonstrations"


def test_record_starts_no_policy():
    nodes = planned("record", dataset="mine")
    assert list(nodes) == ["simulator_node", "controller_node", "recorder_node"]
    assert nodes["recorder_node"].parameters[1]["dataset"] == "mine"
    assert list(planned("record", simulate="false")) == ["controller_node", "recorder_node"]


@pytest.mark.parametrize("name", ["bringup", "record"])
def test_a_switch_that_is_neither_true_nor_false_is_refused(name):
    with pytest.raises(RuntimeError, match="maybe"):
        declared(load(name).generate_launch_description(), simulate="maybe")


@pytest.mark.parametrize("name", ["bringup", "record"])
def test_processes_get_the_environment_they_need(name, monkeypatch):
    for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.delenv(variable, raising=False)
    context = LaunchContext()
    wanted = graph_environment()
    assert Path(wanted["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()
    for entity in load(name).generate_launch_description().entities:
        if isinstance(entity, SetEnvironmentVariable):
            entity.execute(context)
    assert wanted.items() <= context.environment.items()
    for variable in wanted:  # launch sets the variables of this very process
        monkeypatch.setenv(variable, wanted[variable])


def test_recording_starts_and_ends_cleanly_on_ctrl_c(tmp_path):
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        packages.get_package_prefix("vla_adapter_ros")
    except packages.PackageNotFoundError:
        pytest.skip("the package is not installed: launch cannot find its executables")
    command = [sys.executable, "-c", START, str(FOLDER / "record.launch.py"), f"dataset:={tmp_path / 'data'}"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"ROS_LOG_DIR": str(tmp_path / "logs"), "PYTHONUNBUFFERED": "1"},
    )
    try:
        lines, missing = [], {"real time", "start -> idle", "0 episodes so far"}
        for line in process.stdout:
            lines.append(line)
            missing = {text for text in missing if text not in line}
            if not missing or "process has died" in line:
                break
        assert not missing, "".join(lines)
        os.killpg(process.pid, signal.SIGINT)  # like Ctrl-C: everyone in the group gets it
        rest, _ = process.communicate(timeout=60)
        assert rest.count("process has finished cleanly") == 3, rest
        assert process.returncode == 0
        assert "Traceback" not in rest
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
