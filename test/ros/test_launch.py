"""The launch files: arguments, nodes, parameters; and one real start and Ctrl-C."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml

# not "launch" alone: run from the repository's root, that is found as our own folder of this name
pytest.importorskip("launch.actions", reason="no `launch` on this machine")
pytest.importorskip("launch_ros", reason="no `launch_ros` on this machine")

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import LifecycleNode

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes import launching
from vla_adapter_ros.nodes.graph import RANGE, TRANSPORTS

FOLDER = Path(__file__).resolve().parents[2] / "launch"
# A launch file that includes ours; what it sets is told as JSON.
START = """
import json, sys
from launch import LaunchDescription, LaunchService
from launch.actions import EmitEvent, ExecuteProcess, IncludeLaunchDescription, LogInfo, RegisterEventHandler
from launch.actions import SetLaunchConfiguration
from launch.launch_description_sources import PythonLaunchDescriptionSource as Source
from launch_ros.actions import PushRosNamespace, SetParameter, SetParametersFromFile
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState, StateTransition
from lifecycle_msgs.msg import Transition

file, options = sys.argv[1], json.loads(sys.argv[2])
entities = []
if "prefix" in options:
    entities.append(SetLaunchConfiguration("launch-prefix", options["prefix"]))
if "namespace" in options:
    entities.append(PushRosNamespace(options["namespace"]))
for name, value in options.get("set", {}).items():
    entities.append(SetParameter(name, value))
if "file" in options:
    entities.append(SetParametersFromFile(options["file"]))
entities.append(IncludeLaunchDescription(Source(file), launch_arguments=options.get("arguments", {}).items()))
def guided(node):
    def change(transition):
        match = lambda action: action.node_name == node
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=match, transition_id=transition))
    def reached(state, *entities):
        match = lambda event: (
            isinstance(event, StateTransition)
            and event.action.node_name == node
            and event.goal_state == state
        )
        entities = [LogInfo(msg=f"{node} is {state}"), *entities]
        return RegisterEventHandler(OnStateTransition(matcher=match, entities=entities))
    activate = change(Transition.TRANSITION_ACTIVATE)
    return [reached("active"), reached("inactive", activate), change(Transition.TRANSITION_CONFIGURE)]
if "beside" in options:
    entities.append(ExecuteProcess(cmd=options["beside"].split()))
for node in options.get("guided", []):
    entities += guided(node)
service = LaunchService()
service.include_launch_description(LaunchDescription(entities))
sys.exit(service.run())
"""
# Stands in for a node: prints the parameters that a node of this command line gets.
PRINT_PARAMETERS = """
import json, sys
import rclpy

rclpy.init(args=sys.argv[1:])
node = rclpy.create_node("unnamed", automatically_declare_parameters_from_overrides=True)
print(json.dumps({node.get_fully_qualified_name(): {n: p.value for n, p in node._parameters.items()}}))
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


def started(name: str, **values: str) -> list[SimpleNamespace]:
    """The options with which the launch file would start each node."""
    description = load(name).generate_launch_description()
    context = LaunchContext()
    context.launch_configurations.update(values)
    *first, last = description.entities
    for entity in first:
        entity.execute(context)
    # as launch_ros accepts them
    assert all(isinstance(node, LifecycleNode) for node in last.execute(context))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "LifecycleNode", lambda **options: SimpleNamespace(**options))
        return last.execute(context)


def planned(name: str, **values: str) -> dict[str, dict]:
    """The arguments with which the launch file would start each node, by executable."""
    nodes = started(name, **values)
    for node in nodes:
        assert node.package == "vla_adapter_ros" and node.name == node.executable
        option, defaults, *level = node.ros_arguments
        assert option == "--params-file" and Path(defaults).is_file() and level == ["--log-level", "info"]
        assert node.remappings == [("/clock", "clock")] * (nodes[0].executable == "simulator_node")
    return {node.executable: arguments_of(node.parameters) for node in nodes}


def arguments_of(parameters: list[str]) -> dict:
    (text,) = (Path(file).read_text() for file in parameters)
    ((_, content),) = yaml.safe_load(text).items()
    return content["ros__parameters"]


def test_an_argument_that_is_nearly_one_of_ours_is_told():
    description = load("record").generate_launch_description()
    context = LaunchContext()
    context.launch_configurations.update({"contrat": "my_arm.yaml", "robot_ip": "10.0.0.2"})
    *first, last = description.entities
    for entity in first:
        entity.execute(context)
    told, *nodes = last.execute(context)
    assert "".join(part.text for part in told.msg) == (
        "launch argument 'contrat' is ignored: is 'contract' meant?"
    )
    assert all(isinstance(node, LifecycleNode) for node in nodes)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "bringup",
            "contract checkpoint simulate controller policy record lock_step renderer seed device mode"
            " namespace params_file log_level respawn",
        ),
        (
            "record",
            "dataset contract simulate controller instruction joy_buttons on_fail verdict"
            " namespace params_file log_level respawn",
        ),
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
    # What nobody asked for is left to the parameter files.
    assert nodes["controller_node"] == {"use_sim_time": True, "armed": True}
    assert nodes["policy_node"] == {"use_sim_time": True}
    assert nodes["simulator_node"] == {"use_sim_time": False, "awaited": "controller,policy"}


@pytest.mark.parametrize("off", ["false", "False"])
def test_bringup_of_a_real_robot_starts_no_simulator_and_moves_nothing(off):
    nodes = planned("bringup", simulate=off, checkpoint="somewhere", mode="dry_run", device="auto")
    assert list(nodes) == ["controller_node", "policy_node"]
    assert nodes["controller_node"] == {"armed": False, "mode": "dry_run"}
    assert nodes["policy_node"] == {"checkpoint": "somewhere", "device": "auto"}


def test_bringup_in_lock_step_waits_for_every_node_that_runs():
    nodes = planned("bringup", record="demonstrations", lock_step="True", seed="7", renderer="raycast")
    assert list(nodes) == ["simulator_node", "controller_node", "policy_node", "recorder_node"]
    simulator = nodes["simulator_node"]
    assert simulator["awaited"] == "controller,policy,recorder"
    assert simulator["seed"] == 7 and simulator["renderer"] == "raycast"
    assert all(node["lock_step"] is True for node in nodes.values())
    assert nodes["recorder_node"]["dataset"] == "demonstrations"


def test_record_starts_no_policy():
    nodes = planned("record", dataset="mine")
    assert list(nodes) == ["simulator_node", "controller_node", "recorder_node"]
    assert nodes["recorder_node"]["dataset"] == "mine"
    nodes = planned("record", simulate="false")
    assert list(nodes) == ["controller_node", "recorder_node"]
    # The default of the argument is not the one of the node, so it is passed on.
    assert nodes["recorder_node"] == {"lock_step": False, "dataset": "demonstrations"}


@pytest.mark.parametrize("name", ["bringup", "record"])
def test_a_switch_that_is_neither_true_nor_false_is_refused(name):
    with pytest.raises(RuntimeError, match="maybe"):
        declared(load(name).generate_launch_description(), simulate="maybe")


def test_single_nodes_can_be_left_out():
    assert list(planned("bringup", policy="false")) == ["simulator_node", "controller_node"]
    assert list(planned("bringup", simulate="false", controller="False")) == ["policy_node"]
    assert list(planned("record", simulate="false", controller="false")) == ["recorder_node"]


@pytest.mark.parametrize("name", ["bringup", "record"])
@pytest.mark.parametrize("simulate", ["true", "false"])
def test_processes_get_the_environment_they_need_and_nobody_else_does(name, simulate, monkeypatch):
    for variable in (RANGE, *TRANSPORTS):
        monkeypatch.delenv(variable, raising=False)
    before = dict(os.environ)
    environments = [node.additional_env for node in started(name, simulate=simulate)]
    assert dict(os.environ) == before
    for given in environments:
        assert Path(given[TRANSPORTS[0]]).is_file()
        assert given.get(RANGE) == ("LOCALHOST" if simulate == "true" else None)


def test_only_what_may_die_without_harm_is_started_again():
    again = {node.executable: node.respawn for node in started("bringup", record="x")}
    assert again == {
        "simulator_node": False, "controller_node": False, "policy_node": True, "recorder_node": True,
    }  # fmt: skip
    assert not any(node.respawn for node in started("bringup", record="x", respawn="false"))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("namespace", "two words", "namespace = 'two words': allowed are letters, digits, _ and /"),
        ("params_file", "/no/file.yaml", "params_file = '/no/file.yaml': allowed is a YAML file"),
        ("seed", "-1", "seed = -1: allowed is at least 0"),
    ],
)
def test_an_argument_that_is_wrong_is_named(name, text, told):
    with pytest.raises(ParameterError) as caught:
        started("bringup", **{name: text})
    assert told in str(caught.value)


@pytest.fixture
def start(tmp_path):
    """Start a launch file of the folder, included by another: `start("record", arguments={...})`."""
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        packages.get_package_prefix("vla_adapter_ros")
    except packages.PackageNotFoundError:
        pytest.skip("the package is not installed: launch cannot find its executables")
    processes = []

    def start(name: str, **options) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(FOLDER / f"{name}.launch.py"), json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"ROS_LOG_DIR": str(tmp_path / "logs"), "PYTHONUNBUFFERED": "1"},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def received(start, tmp_path):
    """The parameters that the nodes of an included launch file get, by node name."""
    program = tmp_path / "print_parameters.py"
    program.write_text(PRINT_PARAMETERS)

    def received(name: str, **options) -> dict[str, dict]:
        process = start(name, prefix=f"{sys.executable} {program}", **options)
        text, _ = process.communicate(timeout=60)
        nodes: dict[str, dict] = {}
        for line in text.splitlines():
            if line.startswith("[") and "] {" in line:
                nodes |= json.loads(line[line.index("{") :])
        assert nodes, text
        return nodes

    return received


def copied_parameters(path: Path, *keys: str, **changes: object) -> str:
    """The controller's shipped file as a user copies it: under keys of his own, a value changed."""
    shipped = yaml.safe_load((FOLDER.parent / "config" / "nodes" / "controller.yaml").read_text())
    (content,) = shipped.values()
    content["ros__parameters"] |= changes
    path.write_text("\n".join(yaml.safe_dump({key: content}) for key in keys))
    return str(path)


@pytest.mark.parametrize(
    ("namespace", "keys"),
    [
        ("", ()),
        ("left", ()),
        ("", ("controller_node",)),
        ("", ("/controller_node",)),
        ("", ("/**", "/controller_node")),
        ("left", ("/left/controller_node",)),
        ("left", ("/**/controller_node", "/**")),
    ],
)
def test_arguments_win_whatever_a_parent_launch_file_sets(received, tmp_path, namespace, keys):
    options: dict = {"set": {"use_sim_time": True, "publish_every": 7}}
    if namespace:
        options["namespace"] = namespace
    if keys:  # complete, so mode and contract are in it
        options["file"] = copied_parameters(tmp_path / "mine.yaml", *keys, status_every=9)
    arguments = {"simulate": "false", "mode": "dry_run", "contract": "cr5", "device": "cpu"}
    nodes = received("bringup", arguments=arguments, **options)
    prefix = f"/{namespace}" if namespace else ""
    assert set(nodes) == {f"{prefix}/controller_node", f"{prefix}/policy_node"}
    controller, policy = nodes[f"{prefix}/controller_node"], nodes[f"{prefix}/policy_node"]
    assert controller["mode"] == "dry_run" and controller["contract"] == "cr5"
    assert controller["armed"] is False
    assert policy["contract"] == "cr5" and policy["device"] == "cpu"
    # What the parent sets wins over the shipped files in turn, which are there for the rest.
    assert controller["use_sim_time"] is policy["use_sim_time"] is True
    assert controller["status_every"] == (9 if keys else 5)
    assert controller["publish_every"] == (4 if keys else 7)
    assert policy["dtype"] == "auto"


def test_a_parameter_file_reaches_every_parameter_and_loses_against_arguments(received, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "/**": {"ros__parameters": {"publish_every": 3}},
                "policy_node": {"ros__parameters": {"execution_horizon": 2, "device": "cuda"}},
                "/left/controller_node": {"ros__parameters": {"mode": "shadow", "status_every": 9}},
            }
        )
    )
    arguments = {"simulate": "false", "namespace": "left", "params_file": str(file), "device": "cpu"}
    nodes = received("bringup", arguments=arguments, set={"status_every": 7})
    assert set(nodes) == {"/left/controller_node", "/left/policy_node"}
    controller, policy = nodes["/left/controller_node"], nodes["/left/policy_node"]
    assert (controller["mode"], controller["status_every"], controller["publish_every"]) == ("shadow", 9, 3)
    assert (policy["device"], policy["execution_horizon"]) == ("cpu", 2)
    nodes = received("bringup", arguments=arguments | {"mode": "drive"}, namespace="robots")
    assert nodes["/robots/left/controller_node"]["mode"] == "drive"


def test_simulation_keeps_its_clock_under_a_parent_that_sets_one(received):
    nodes = received("bringup", set={"use_sim_time": False, "seed": 3}, arguments={"mode": "dry_run"})
    assert nodes["/controller_node"]["use_sim_time"] is True
    assert nodes["/controller_node"]["mode"] == "dry_run"
    assert nodes["/simulator_node"]["seed"] == 3
    nodes = received("bringup", set={"use_sim_time": True})
    assert nodes["/simulator_node"]["use_sim_time"] is False  # it makes the clock


def test_an_argument_that_is_not_given_leaves_a_parameter_of_the_parent_alone(received):
    nodes = received("bringup", set={"mode": "dry_run"}, arguments={"simulate": "false"})
    assert nodes["/controller_node"]["mode"] == "dry_run"
    nodes = received("bringup", set={"mode": "dry_run"}, arguments={"simulate": "false", "mode": "drive"})
    assert nodes["/controller_node"]["mode"] == "drive"


def read_until(process: subprocess.Popen, *texts: str) -> list[str]:
    """Lines of a launch up to the one with which all texts have come."""
    lines, missing = [], set(texts)
    for line in process.stdout:
        lines.append(line)
        missing = {text for text in missing if text not in line}
        if not missing:
            break
    assert not missing, "".join(lines)
    return lines


def end_with_ctrl_c(process: subprocess.Popen) -> str:
    os.killpg(process.pid, signal.SIGINT)  # like Ctrl-C: everyone in the group gets it
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    return rest


def test_recording_starts_and_ends_cleanly_on_ctrl_c(start, tmp_path):
    process = start("record", arguments={"dataset": str(tmp_path / "data")})
    read_until(process, "real time", "start -> idle", "0 episodes so far")
    rest = end_with_ctrl_c(process)
    assert rest.count("process has finished cleanly") == 3, rest


def test_sigterm_to_launch_alone_ends_every_node(start, tmp_path):
    process = start("record", arguments={"dataset": str(tmp_path / "data"), "simulate": "false"})
    read_until(process, "start -> disarmed", "0 episodes so far")
    nodes = [psutil.Process(pid) for pid in children(process, "_node")]
    assert len(nodes) == 2
    process.terminate()
    _, alive = psutil.wait_procs(nodes, 30)
    assert not alive
    process.communicate(timeout=30)


def test_lifecycle_events_of_launch_guide_the_nodes(start, tmp_path):
    guided = ["/controller_node", "/recorder_node"]
    process = start(
        "record",
        arguments={"dataset": str(tmp_path / "data"), "simulate": "false"},
        set={"autostart": False},
        guided=guided,
    )
    read_until(process, *(f"{node} is {state}" for node in guided for state in ("inactive", "active")))
    rest = end_with_ctrl_c(process)
    assert rest.count("process has finished cleanly") == 2, rest


def test_a_killed_recorder_comes_back_and_the_controllers_death_ends_our_nodes_alone(start, tmp_path):
    process = start(
        "record", arguments={"dataset": str(tmp_path / "data"), "simulate": "false"}, beside="sleep 300"
    )
    read_until(process, "start -> disarmed", "0 episodes so far")
    (recorder,) = children(process, "recorder_node")
    os.kill(recorder, signal.SIGKILL)
    read_until(process, "0 episodes so far")  # again
    (controller,) = children(process, "controller_node")
    os.kill(controller, signal.SIGKILL)
    read_until(process, "controller_node has ended: nothing runs without it", "process has finished cleanly")
    assert children(process, "sleep 300") and not children(process, "recorder_node")
    end_with_ctrl_c(process)


def test_a_recorder_that_fails_at_its_first_start_ends_our_nodes_with_its_reason(start, tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    process = start("record", arguments={"dataset": str(tmp_path / "data"), "simulate": "false"})
    text, _ = process.communicate(timeout=60)
    assert "recorder_node has ended: nothing runs without it" in text
    assert text.count("process started with pid") == 2, text


def children(process: subprocess.Popen, words: str) -> list[int]:
    """Processes of a launch whose command line has these words."""
    running = psutil.Process(process.pid).children()
    return [child.pid for child in running if words in " ".join(child.cmdline())]
