"""How nodes are started: what reaches them, in which order, and which parameter files are refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from vla_adapter_ros.contract import config_folder
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.graph import NodeSpec, node_list
from vla_adapter_ros.nodes.launch_arguments import BRINGUP, RECORD, misspelt, read_namespace
from vla_adapter_ros.nodes.start_options import LogLevel, StartOptions, leave_to_files, read_params_file


def test_what_is_said_last_wins_shipped_file_own_file_arguments(tmp_path):
    start = StartOptions("left", {"/**": {"ros__parameters": {"threads": 2}}}, LogLevel.DEBUG)
    node = NodeSpec("policy", {"device": "cpu"})
    mine, arguments = start.write_files(node, tmp_path)
    assert yaml.safe_load(mine.read_text()) == start.params_file
    assert yaml.safe_load(arguments.read_text())["/**/**"]["ros__parameters"] == node.parameters
    words = start.ros_arguments(node, [mine, arguments], simulated=True)
    files = [word for before, word in pairwise(words) if before == "--params-file"]
    assert files == [str(node.defaults), str(mine), str(arguments)]
    rules = [word for before, word in pairwise(words) if before == "-r"]
    assert rules == ["__ns:=/left", "/clock:=clock"]
    assert words[-2:] == ["--log-level", "debug"]
    assert len(StartOptions().write_files(node, tmp_path)) == 1
    assert "-r" not in StartOptions().ros_arguments(node, [arguments], simulated=False)


def test_what_nobody_gave_is_left_to_the_files():
    (controller,) = node_list(policy=False, simulate=False, mode="drive", contract="cr5")
    (left,) = leave_to_files([controller], not_given={"mode", "contract", "lock_step", "speed"})
    assert left.parameters == {"contract": "cr5", "armed": False}  # no file arms a real robot
    (kept,) = leave_to_files([controller], not_given={"contract"})
    assert kept.parameters["mode"] == "drive"


@pytest.mark.parametrize("text", ["", "left", "/left", "/cell_2/left"])
def test_names_of_namespaces(text):
    assert read_namespace(text) == text


@pytest.mark.parametrize("text", ["two words", "left/", "2nd", "a//b", "~"])
def test_what_ros_allows_no_namespace_to_be_called(text):
    with pytest.raises(ParameterError, match=r"namespace = .*: allowed are letters"):
        read_namespace(text)


def written(folder: Path, content: object) -> str:
    file = folder / "mine.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return str(file)


@pytest.mark.parametrize(
    "content",
    [
        {"/**": {"ros__parameters": {"anything": 1}}},
        {"camera": {"ros__parameters": {"fps": 30}}, "policy_node": {"ros__parameters": {"threads": 2}}},
        {"/left/policy_node": {"ros__parameters": {"use_sim_time": True, "qos_overrides": {"/x": 1}}}},
    ],
)
def test_a_parameter_file_may_speak_of_other_nodes(tmp_path, content):
    assert list(read_params_file(written(tmp_path, content)).values()) == list(content.values())


def test_a_node_without_a_namespace_is_meant_in_every_namespace(tmp_path):
    text = "\n".join(
        f"{key}: {{ros__parameters: {{threads: 2}}}}" for key in ("policy_node", "/left/policy_node")
    )
    said = read_params_file(written(tmp_path, text))
    assert list(said) == ["/**/policy_node", "/left/policy_node"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: [", "allowed is a YAML file that can be read"),
        ("3", "allowed are nodes with ros__parameters"),
        ({"policy_node": {"threads": 2}}, "policy_node: allowed is ros__parameters"),
        (
            {"/left/policy_node": {"ros__parameters": {"thread": 2}}},
            "has no parameter thread: allowed",
        ),
    ],
)
def test_a_parameter_file_that_would_do_nothing_is_refused(tmp_path, content, told):
    with pytest.raises(ParameterError) as caught:
        read_params_file(written(tmp_path, content))
    assert str(caught.value).startswith("params_file = ") and told in str(caught.value)


def test_no_parameter_file_is_none_and_one_that_is_missing_is_named():
    assert read_params_file("") == {}
    with pytest.raises(ParameterError, match=r"params_file = '/no/such\.yaml'"):
        read_params_file("/no/such.yaml")


def test_the_folder_share_is_read_once_the_package_is_built(tmp_path):
    package = tmp_path / "lib" / "python3" / "site-packages" / "vla_adapter_ros"
    (package / "config").mkdir(parents=True)
    assert config_folder(package) == package / "config"  # a wheel
    shared = tmp_path / "share" / "vla_adapter_ros" / "config"
    shared.mkdir(parents=True)
    assert config_folder(package) == shared
    (package.parent / "package.xml").touch()
    assert config_folder(package) == package.parent / "config"  # a checkout


def test_a_misspelt_launch_argument_is_named_and_those_of_other_launch_files_are_not():
    said = misspelt(["contrat", "simulat", "checkpointt", "params-file", "contract"], BRINGUP)
    assert [line.partition(" is ignored")[2] for line in said] == [
        f": is '{name}' meant?" for name in ("contract", "simulate", "checkpoint", "params_file")
    ]
    assert "'contrat'" in said[0]
    others = ["robot_ip", "use_fake_hardware", "rviz", "launch-prefix", "ur_type", "headless", "camera_name"]
    for arguments in (BRINGUP, RECORD):
        assert misspelt([*others, *arguments], arguments) == []
