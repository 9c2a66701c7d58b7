"""Topics as ROS resolves them: in a namespace, and shared between namespaces."""

from __future__ import annotations

import dataclasses

import pytest

from vla_adapter_ros.contract import (
    contract_differences,
    full_name,
    in_namespace,
    read_contract,
    relative_name,
    robots_folder,
)

SHIPPED = sorted(path.stem for path in robots_folder().glob("*.yaml"))


@pytest.mark.parametrize(
    ("topic", "namespace", "full"),
    [
        ("joint_states", "", "/joint_states"),
        ("joint_states", "/", "/joint_states"),
        ("arm/joint_states", "left", "/left/arm/joint_states"),
        ("joint_states", "/left/arm/", "/left/arm/joint_states"),
        ("/joint_states", "/left", "/joint_states"),
    ],
)
def test_a_relative_name_lies_in_the_namespace_and_an_absolute_one_where_it_is(topic, namespace, full):
    assert full_name(topic, namespace) == full
    assert full_name(relative_name(full, namespace), namespace) == full


def test_what_lies_elsewhere_keeps_its_absolute_name():
    assert relative_name("/left/joint_states", "/left") == "joint_states"
    assert relative_name("/leftover/joint_states", "/left") == "/leftover/joint_states"
    assert relative_name("/clock", "/left") == "/clock"


def topics(contract) -> set[str]:
    its = {camera.topic for camera in contract.recorded_cameras.values()} | set(contract.topics)
    its |= {dimension.topic for dimension in contract.state} | set(contract.command_topics)
    its |= {group.topic for group in contract.teleop_groups} | set(contract.driven_topics)
    return its | {t for t in (contract.teleop.takeover_topic, contract.safety.deadman_topic) if t}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_contracts_are_relative_so_that_two_robots_share_no_topic(name):
    contract = read_contract(name)
    left, right = topics(in_namespace(contract, "/left")), topics(in_namespace(contract, "/right"))
    assert all(topic.startswith("/left/") for topic in left) and not left & right
    assert len(left) == len(topics(contract))


def test_a_contract_that_differs_in_the_names_of_its_topics_alone_is_the_same_robot():
    contract = read_contract("franka_sim")
    assert contract_differences(contract, in_namespace(contract, "")) == []
    teleop = dataclasses.replace(contract.teleop, route="direct", publishers=("leader_node", "/shared"))
    direct = in_namespace(dataclasses.replace(contract, teleop=teleop), "left")
    assert direct.teleop.publishers == ("/left/leader_node", "/shared")
    assert direct.safety.deadman_topic == "" == direct.teleop.takeover_topic
