"""Two robots on one graph, each in its namespace: what they share is named, and neither moves the other."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

import numpy as np
import pytest
from asking import insist
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from vla_adapter_ros.nodes.controller import ControllerNode
from vla_adapter_ros.nodes.conversions import joint_positions
from vla_adapter_ros.nodes.graph import OWN_CLOCK, node_list
from vla_adapter_ros.nodes.instruct_client import InstructClient
from vla_adapter_ros.nodes.policy import PolicyNode
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.nodes.recorder import RecorderNode
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.simulator import SimulatorNode
from vla_adapter_ros.nodes.start_options import StartOptions
from vla_adapter_ros.nodes.streams import best_effort

ROBOTS = ("left", "right")
SHARED = {"/diagnostics", "/rosout", "/parameter_events"}
KINDS = {
    "simulator": SimulatorNode,
    "controller": ControllerNode,
    "policy": PolicyNode,
    "recorder": RecorderNode,
}


@pytest.fixture
def context():
    context = Context()
    context.init()
    yield context
    context.try_shutdown()


def names(node) -> set[str]:
    """Every topic and service that a node has in the graph."""
    me = (node.get_name(), node.get_namespace())
    asked = (
        node.get_publisher_names_and_types_by_node,
        node.get_subscriber_names_and_types_by_node,
        node.get_service_names_and_types_by_node,
        node.get_client_names_and_types_by_node,
    )
    return {name for ask in asked for name, _ in ask(*me)}


def robot(context, namespace: str, parameters: dict[str, dict]) -> set[str]:
    """What the nodes of a robot have in the graph while they are active."""
    found = set()
    with ExitStack() as ends:
        for kind, make in KINDS.items():
            values = {"lock_step": True, "use_sim_time": kind != "simulator"} | parameters.get(kind, {})
            node = make(
                namespace=namespace,
                context=context,
                cli_args=["--ros-args", "-r", OWN_CLOCK],
                parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
            )
            ends.callback(node.destroy_node)
            ends.callback(node.end)
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS, kind
            assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS, kind
            found |= names(node)
    return found


def test_two_namespaces_share_nothing_but_what_is_meant_to_be_shared(context, random_checkpoint, tmp_path):
    found = {}
    for name in ROBOTS:
        parameters = {
            "policy": {"checkpoint": str(random_checkpoint)},
            "recorder": {"dataset": str(tmp_path / name)},
            "simulator": {"renderer": "raycast"},
        }
        found[name] = robot(context, name, parameters)
    assert found["left"] & found["right"] <= SHARED
    for name in ROBOTS:
        assert {n for n in found[name] if not n.startswith(f"/{name}/")} <= SHARED
        for expected in ("clock", "joint_states", "controller/command", "action_chunk", "instruct"):
            assert f"/{name}/{expected}" in found[name]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_instruction_for_one_arm_moves_that_arm_alone(tmp_path):
    paths: dict[str, list[np.ndarray]] = {name: [] for name in ROBOTS}

    def note(name: str, message: JointState) -> None:
        paths[name].append(np.array(list(joint_positions(message).values())))

    def moved(name: str, since: int) -> float:
        rows = paths[name][since:]
        return float(np.ptp(np.array(rows), axis=0).max()) if rows else 0.0

    with ExitStack() as stack:
        runners, policies = {}, {}
        for name in ROBOTS:
            start = StartOptions(namespace=name)
            runners[name] = stack.enter_context(
                GraphRunner(node_list(renderer="raycast"), tmp_path / name, start=start)
            )
            client = stack.enter_context(RosClient("watch", name))
            client.subscribe(JointState, "joint_states", partial(note, name), best_effort(10))
            policies[name] = InstructClient(client)
        for name in ROBOTS:
            other = ROBOTS[1 - ROBOTS.index(name)]
            insist(policies[name], "pick up the red cube")
            deadline = time.monotonic() + 60
            since = {robot: len(paths[robot]) for robot in ROBOTS}
            while moved(name, since[name]) < 0.1:
                assert time.monotonic() < deadline, f"{name} does not move"
                time.sleep(0.2)
            assert moved(other, since[other]) < 1e-3, f"{other} moves with {name}"
            insist(policies[name], "")
            since = len(paths[name])
            while len(paths[name]) < since + 150:  # to rest
                time.sleep(0.1)
        for runner in runners.values():
            runner.check_alive()
