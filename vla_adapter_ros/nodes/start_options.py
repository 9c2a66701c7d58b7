"""How the processes of a graph are started, whichever they are. No rclpy here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.errors import ParameterError, PathError
from vla_adapter_ros.nodes.graph import OWN_CLOCK, NodeSpec, write_parameters
from vla_adapter_ros.nodes.parameter_rules import parameters_of
from vla_adapter_ros.nodes.parameters import KINDS
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import read_yaml, short

_OF_EVERY_NODE = ("use_sim_time", "start_type_description_service")  # of ROS itself


class LogLevel(Choice):
    """From which severity on a node's words are printed."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    FATAL = "fatal"


@dataclass(frozen=True)
class StartOptions:
    """What holds for every node of a graph.

    Attributes:
        namespace: Of the nodes, such as left; empty: that of whoever starts them.
        params_file: What a file says, by key: parameters over those of the shipped files; empty: no file.
        log_level: From which severity on the nodes' words are printed.
        respawn: Whether a policy or a recorder that dies is started again.
    """

    namespace: str = ""
    params_file: Mapping[str, Any] = field(default_factory=dict)
    log_level: LogLevel = LogLevel.INFO
    respawn: bool = True

    def remappings(self, simulated: bool) -> list[str]:
        """Remapping rules of every node, as `FROM:=TO`, but for the namespace."""
        return [OWN_CLOCK] if simulated else []

    def write_files(self, node: NodeSpec, folder: Path) -> list[Path]:
        """Write the parameter files of a node over its shipped one; the last one wins.

        Args:
            node: To start.
            folder: Where to.
        """
        own = [write_parameters(self.params_file, folder, "params_file")] if self.params_file else []
        return [*own, node.write_arguments(folder)]

    def ros_arguments(self, node: NodeSpec, files: Sequence[Path], simulated: bool) -> list[str]:
        """What stands behind `--ros-args` where a node is started without `ros2 launch`.

        Args:
            node: To start.
            files: Of `write_files`.
            simulated: Whether the simulator is among the nodes.
        """
        words = [word for file in (node.defaults, *files) for word in ("--params-file", str(file))]
        if self.namespace:
            words += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for rule in self.remappings(simulated):
            words += ["-r", rule]
        return [*words, "--log-level", str(self.log_level)]


PLAIN = StartOptions()


def leave_to_files(nodes: Iterable[NodeSpec], not_given: Collection[str]) -> list[NodeSpec]:
    """The nodes without the arguments that nobody gave, where they are the nodes' own defaults.

    What is left out is for parameter files to say.

    Args:
        nodes: With all their arguments.
        not_given: Names of the arguments that somebody could have given a value, and nobody did.
    """
    return [NodeSpec(node.kind, _said(node, not_given)) for node in nodes]


def _said(node: NodeSpec, not_given: Collection[str]) -> dict[str, Any]:
    known = parameters_of(KINDS[node.kind])
    return {
        name: value
        for name, value in node.parameters.items()
        if name not in not_given or name not in known or value != known[name].default
    }


def read_params_file(text: str) -> dict[str, Any]:
    """What a parameter file says, by key; empty: no file was named.

    Parameters that stand under the name of a node of ours must be known to it; values are checked by the
    nodes, which know the whole of what is set. To ROS a key without a slash in front is a node of the root
    namespace; here it is the node of that name in every namespace, so that one file serves two robots.

    Raises:
        ParameterError: no such file, no YAML, or a parameter that a node does not have.
    """
    if not text:
        return {}
    try:
        content = read_yaml(locate(text))
    except (OSError, ValueError, PathError) as error:
        raise ParameterError(
            f"params_file = {short(text)}: allowed is a YAML file that can be read: {error}"
        ) from None
    if not isinstance(content, dict):
        raise ParameterError(f"params_file = {short(text)}: allowed are nodes with ros__parameters")
    for key, entry in content.items():
        kind = str(key).rpartition("/")[2].removesuffix("_node")
        values = entry.get("ros__parameters") if isinstance(entry, dict) else None
        if kind not in KINDS:
            continue
        if not isinstance(values, dict):
            raise ParameterError(f"params_file = {short(text)}: {key}: allowed is ros__parameters with names")
        known = (*parameters_of(KINDS[kind]), *_OF_EVERY_NODE)
        if unknown := [name for name in values if name not in known and not isinstance(values[name], dict)]:
            raise ParameterError(
                f"params_file = {short(text)}: {key} has no parameter {', '.join(map(str, unknown))}: "
                f"allowed are {', '.join(known)}"
            )
    return {key if str(key).startswith("/") else f"/**/{key}": entry for key, entry in content.items()}
