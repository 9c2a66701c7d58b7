"""How our launch files start nodes, and what they do when one ends. Needs `launch` and `launch_ros`."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from launch.actions import EmitEvent, LogInfo
from launch.events import matches_action
from launch.events.process import ShutdownProcess
from launch_ros.actions import LifecycleNode

from vla_adapter_ros.nodes.graph import NodeSpec, graph_environment, is_simulated
from vla_adapter_ros.nodes.parameters import KINDS

RESTART_S = 5.0  # launch knows no growing pauses, so this one is long


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="vla_adapter_launch_")  # removed when launch ends


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
    defaults = {name: field.default for name, field in KINDS[node.kind].__dataclass_fields__.items()}
    arguments = {
        name: value
        for name, value in node.parameters.items()
        if name not in not_given or name not in defaults or value != defaults[name]
    }
    file = NodeSpec(node.kind, arguments).write_arguments(Path(_scratch().name))
    return {
        "package": "vla_adapter_ros",
        "executable": node.name,
        "name": node.name,
        "namespace": "",  # that of the launch file which includes ours
        "output": "screen",
        "ros_arguments": ["--params-file", str(node.defaults)],
        "parameters": [str(file)],
    }
