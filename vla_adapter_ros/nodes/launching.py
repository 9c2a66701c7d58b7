"""How our launch files start nodes, and what they do when one ends. Needs `launch` and `launch_ros`."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction
from launch.events import matches_action
from launch.events.process import ShutdownProcess
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from vla_adapter_ros.nodes.graph import END_WITH_PARENT, NodeSpec, graph_environment, is_simulated
from vla_adapter_ros.nodes.launch_arguments import START, LaunchArgument, misspelt, read_arguments
from vla_adapter_ros.nodes.start_options import StartOptions, leave_to_files

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
        make_nodes: Gives the nodes for the values by name, but for those of `START`.
    """
    given: set[str] = set()

    def note_given(context: Any) -> None:
        given.update(context.launch_configurations)

    def start_nodes(context: Any) -> list[Any]:
        texts = {name: LaunchConfiguration(name).perform(context) for name in arguments}
        values = read_arguments(arguments, texts)
        start = StartOptions(**{name: values.pop(name) for name in START})
        nodes = launch_nodes(leave_to_files(make_nodes(values), arguments.keys() - given), start)
        return [*(LogInfo(msg=line) for line in misspelt(sorted(given), arguments)), *nodes]

    declared = [
        DeclareLaunchArgument(
            name, default_value=argument.default, description=argument.text, choices=argument.choices or None
        )
        for name, argument in arguments.items()
    ]
    return LaunchDescription(
        [OpaqueFunction(function=note_given), *declared, OpaqueFunction(function=start_nodes)]
    )


def launch_nodes(nodes: list[NodeSpec], start: StartOptions) -> list[LifecycleNode]:
    """The actions that start a graph.

    A policy or recorder that dies is started again. When robot or controller die, the others of these
    nodes end too, and nothing else of the launch: drivers and the environment of a parent launch file are
    left alone.

    Args:
        nodes: What to start.
        start: What holds for all of them.
    """
    simulated = is_simulated(nodes)
    environment = graph_environment(simulated) | {END_WITH_PARENT: "1"}
    actions: list[LifecycleNode] = []
    for node in nodes:
        actions.append(
            LifecycleNode(
                **_options(node, start, simulated),
                additional_env=environment,
                on_exit=_when_ended(node, actions),
                respawn=start.respawn and not node.is_vital,
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


def _options(node: NodeSpec, start: StartOptions, simulated: bool) -> dict[str, Any]:
    """What a node is started with.

    The shipped file comes first, so that parameters set by a parent launch file
    hold, and the arguments of the launch file come last, so that nothing
    overrides them.
    """
    files = start.write_files(node, Path(_scratch().name))
    rules = [rule.split(":=") for rule in start.remappings(simulated)]
    return {
        "package": "vla_adapter_ros",
        "executable": node.name,
        "name": node.name,
        "namespace": start.namespace,  # below that of the launch file that includes this one, unless absolute
        "output": "screen",
        "ros_arguments": ["--params-file", str(node.defaults), "--log-level", str(start.log_level)],
        "parameters": [str(file) for file in files],
        "remappings": [tuple(rule) for rule in rules],
    }
