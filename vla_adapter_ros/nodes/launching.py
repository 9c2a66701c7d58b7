"""How our launch files start nodes, and what they do when one ends. Needs `launch` and `launch_ros`."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction
from launch.events import matches_action
from launch.events.process import ShutdownProcess
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from vla_adapter_ros.nodes.graph import NodeSpec, graph_environment, is_simulated
from vla_adapter_ros.nodes.launch_arguments import LaunchArgument, read_arguments
from vla_adapter_ros.nodes.parameter_rules import parameters_of
from vla_adapter_ros.nodes.parameters import KINDS

RESTART_S = 5.0  # launch knows no growing pauses, so this one is long


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vla_adapter_launch_")  # removed when launch ends


def describe(
    arguments: Mapping[str, LaunchArgument], make_nodes: Callable[[dict[str, Any]], list[NodeSpec]]
) -> LaunchDescription:
    """What a launch file is: its arguments, and the nodes that follow from their values.

    Args:
        arguments: By name.
        make_nodes: Gives the nodes for the values by name.
    """
    given: set[str] = set()

    def note_given(context: Any) -> None:
        given.update(context.launch_configurations)

    def start_nodes(context: Any) -> list[LifecycleNode]:
        texts = {name: LaunchConfiguration(name).perform(context) for name in arguments}
        return launch_nodes(make_nodes(read_arguments(arguments, texts)), arguments.keys() - given)

    declared = [
        DeclareLaunchArgument(
            name, default_value=argument.default, description=argument.text, choices=argument.choices or None
        )
        for name, argument in arguments.items()
    ]
    return LaunchDescription(
        [OpaqueFunction(function=note_given), *declared, OpaqueFunction(function=start_nodes)]
    )


def launch_nodes(nodes: list[NodeSpec], not_given: Collection[str] = ()) -> list[LifecycleNode]:
    """The actions that start a graph.

    A policy or recorder that dies is started again. When robot or controller die, the others of these
    nodes end too, and nothing else of the launch: drivers and the environment of a parent launch file are
    left alone.

    Args:
        nodes: What to start.
        not_given: Launch arguments with which nobody set a value. Where such a value is the
            node's own default too, it is left to the parameter files.
    """
    environment = graph_environment(is_simulated(nodes))
    actions: list[LifecycleNode] = []
    for node in nodes:
        actions.append(
            LifecycleNode(
                **_options(node, not_given),
                additional_env=environment,
                on_exit=_when_ended(node, actions),
                respawn=not node.is_vital,
                respawn_delay=RESTART_S,
            )
        )
    return actions


def _when_ended(node: NodeSpec, actions: list[LifecycleNode]) -> Callable[[Any, Any], list[Any]]:
    """What follows when a node's process ends: nothing, as launch restarts it, or the end of `actions`."""
    starts = 0

    def ended(event: Any, context: Any) -> list[Any]:
        nonlocal starts
        starts += 1
        if context.is_shutdown or not node.ends_all(event.returncode, starts):
            return []
        why = LogInfo(msg=f"{node.name} has ended: nothing runs without it")
        ends = [EmitEvent(event=ShutdownProcess(process_matcher=matches_action(a))) for a in actions]
        return [why, *ends]

    return ended


def _options(node: NodeSpec, not_given: Collection[str]) -> dict[str, Any]:
    """What a node is started with.

    The shipped file comes first, so that parameters set by a parent launch file
    hold, and the arguments of the launch file come last, so that nothing
    overrides them.
    """
    known = parameters_of(KINDS[node.kind])
    arguments = {
        name: value
        for name, value in node.parameters.items()
        if name not in not_given or name not in known or value != known[name].default
    }
    file = NodeSpec(node.kind, arguments).write_arguments(Path(_scratch().name))
    return {
        "package": "vla_adapter_ros",
        "executable": node.name,
        "name": node.name,
        "namespace": "",  # that of the launch file that includes this one
        "output": "screen",
        "ros_arguments": ["--params-file", str(node.defaults)],
        "parameters": [str(file)],
    }
