"""Which nodes run, and the environment that they get: decided in one place."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import two_hands

from vla_adapter_ros.contract import parse_contract, write_contract
from vla_adapter_ros.nodes.graph import graph_environment, node_list, recording_nodes

RANGE, PROFILE = "ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_DEFAULT_PROFILES_FILE"
NETWORK = (RANGE, "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "ROS_LOCALHOST_ONLY", "ROS_DOMAIN_ID")


def profile(simulate, **given):
    return Path(graph_environment(simulate, given)[PROFILE])


def of_profile(path, tag):
    return [found.text for found in ElementTree.parse(path).iter() if found.tag.endswith(f"}}{tag}")]


def test_only_a_dry_run_of_a_robot_without_a_checkpoint_loads_none():
    def checkpoint(contract, **options):
        nodes = node_list(contract=contract, simulate=False, **options)
        return next(node.parameters["checkpoint"] for node in nodes if node.kind == "policy")

    assert checkpoint("ur5e_sim", mode="dry_run") == "none"
    assert checkpoint("ur5e_sim", mode="dry_run", checkpoint="mine") == "mine"
    assert checkpoint("ur5e_sim") == ""  # the policy then says how the robot differs
    assert checkpoint("franka_sim", mode="dry_run") == ""


def test_a_simulation_is_for_this_computer_alone():
    assert graph_environment(True, {})[RANGE] == "LOCALHOST"
    assert of_profile(profile(True), "address") == ["127.0.0.1"]


@pytest.mark.parametrize("given", [{}, {RANGE: "SUBNET"}, {RANGE: "LOCALHOST"}, {"ROS_STATIC_PEERS": "a;b"}])
def test_with_a_real_robot_the_network_is_what_the_user_has_set(given):
    assert not set(NETWORK) & set(graph_environment(False, given))
    assert of_profile(profile(False, **given), "address") == []
    # Shared memory that holds images, and UDP as Fast DDS has it by default.
    assert max(int(size) for size in of_profile(profile(False, **given), "segment_size")) >= 16 * 2**20
    assert of_profile(profile(False, **given), "type") == ["SHM", "UDPv4"]


@pytest.mark.parametrize(
    "given", [{RANGE: "SUBNET"}, {"ROS_STATIC_PEERS": "10.0.0.2"}, {"ROS_DISCOVERY_SERVER": "10.0.0.2"}]
)
def test_a_user_who_asks_for_a_network_gets_it_in_simulation_too(given):
    assert not set(NETWORK) & set(graph_environment(True, given))
    assert of_profile(profile(True, **given), "address") == []


@pytest.mark.parametrize("name", [PROFILE, "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"])
@pytest.mark.parametrize("simulate", [True, False])
def test_transports_that_the_user_has_chosen_stay(simulate, name):
    assert PROFILE not in graph_environment(simulate, {name: "mine"})


def test_what_a_parent_has_decided_is_kept():
    given = graph_environment(True, {})
    assert graph_environment(True, given) == graph_environment(False, given) == {}


def test_an_arm_that_is_guided_by_hand_gets_no_controller(tmp_path):
    data = two_hands.raw()
    data["action"] |= {"source": "next_state"}
    write_contract(parse_contract(data), tmp_path / "guided.yaml")
    nodes = recording_nodes(dataset="x", contract=str(tmp_path / "guided.yaml"), simulate=False)
    assert [node.kind for node in nodes] == ["recorder"]
    assert [n.kind for n in recording_nodes(dataset="x", simulate=False)] == ["controller", "recorder"]


def test_nodes_can_be_left_out():
    def kinds(**options):
        return [node.kind for node in node_list(**options)]

    assert kinds(policy=False) == ["simulator", "controller"]
    assert kinds(simulate=False, controller=False) == ["policy"]
    assert kinds(simulate=False, policy=False, record="x") == ["controller", "recorder"]
    simulator = node_list(controller=False, lock_step=True, client=True)[0]
    assert simulator.parameters["awaited"] == "policy,client"


def test_a_teleoperation_node_is_started_for_a_device_and_awaited_in_lock_step():
    simulator, controller, teleop = node_list(policy=False, teleop="spacemouse", lock_step=True)
    assert (controller.kind, teleop.kind) == ("controller", "teleop")
    assert teleop.parameters["device"] == "spacemouse" and not teleop.is_vital
    assert simulator.parameters["awaited"] == "controller,teleop"
    recorded = recording_nodes(dataset="x", teleop="xbox")
    assert [node.kind for node in recorded] == ["simulator", "controller", "recorder", "teleop"]
