"""The node graph as data: one list serves the launch file and the runner. No rclpy here."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.contract import config_folder
from vla_adapter_ros.nodes.parameters import KINDS

# Key of the files that hold a node's own arguments. ROS 2 takes, of several keys that fit a node, the
# values under the last one, and a key keeps the place where it was first met, on the whole command
# line. `/**` or the node's name may have been met early, in what a parent launch file sets, and would
# then lose against a later key. This one fits every node too, and nobody else writes it.
ARGUMENTS_KEY = "/**/**"


@dataclass(frozen=True)
class NodeSpec:
    """One process: module `vla_adapter_ros.nodes.<kind>`, executable and node `<kind>_node`."""

    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Node name, and the executable's name."""
        return f"{self.kind}_node"

    @property
    def module(self) -> str:
        """Python module to run."""
        return f"vla_adapter_ros.nodes.{self.kind}"

    @property
    def defaults(self) -> Path:
        """The shipped parameter file."""
        return config_folder() / "nodes" / f"{self.kind}.yaml"

    def write_arguments(self, folder: Path) -> Path:
        """Write `parameters` as a file that wins over every parameter named before it.

        It holds whatever the node's name and namespace are.
        """
        descriptor, path = tempfile.mkstemp(prefix=f"{self.name}_", suffix=".yaml", dir=folder)
        with open(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump({ARGUMENTS_KEY: {"ros__parameters": self.parameters}}, file)
        return Path(path)


def node_list(
    *,
    contract: str = "franka_sim",
    checkpoint: str = "",
    simulate: bool = True,
    policy: bool = True,
    record: str = "",
    lock_step: bool = False,
    renderer: str = "auto",
    seed: int = 0,
    armed: bool | None = None,
    device: str = "auto",
    mode: str = "drive",
    client: bool = False,
) -> list[NodeSpec]:
    """The processes of a bring-up.

    Args:
        contract: Robot contract, shipped name or path.
        checkpoint: Checkpoint directory; empty is the shipped one.
        simulate: Whether the simulator stands in for the robot.
        policy: Whether the policy runs.
        record: Data set directory for the recorder; empty starts none.
        lock_step: Simulated time waits for the nodes (else real time).
        renderer: Of the simulator: auto, egl, osmesa or raycast.
        seed: First scene of the simulator.
        armed: Whether the controller may move from the start; None: only in simulation.
        device: torch device of the policy.
        mode: Of the controller: drive, dry_run, shadow or row_pass_through.
        client: Whether lock step also waits for a `GraphClient`.
    """
    step = lock_step and simulate
    common = {"contract": contract, "lock_step": step}
    if simulate:  # else it is left to who includes the launch file, as another simulator may run
        common["use_sim_time"] = True
    armed = simulate if armed is None else armed
    nodes = [NodeSpec("controller", common | {"armed": armed, "mode": mode})]
    awaited = ["controller"]
    if policy:
        nodes.append(NodeSpec("policy", common | {"checkpoint": checkpoint, "device": device}))
        awaited.append("policy")
    if record:
        nodes.append(NodeSpec("recorder", common | {"dataset": str(record)}))
        awaited.append("recorder")
    if simulate:
        if client:
            awaited.append("client")
        own = {"use_sim_time": False, "renderer": renderer, "seed": seed, "awaited": ",".join(awaited)}
        nodes.insert(0, NodeSpec("simulator", common | own))
    return nodes


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="vla_adapter_launch_")  # removed when launch ends


def launch_options(node: NodeSpec, not_given: Collection[str] = ()) -> dict[str, Any]:
    """Keyword arguments of the `LifecycleNode` of launch_ros that starts a node.

    The shipped file comes first, so that parameters set by a parent launch file
    hold, and the arguments of the launch file come last, so that nothing
    overrides them.

    Args:
        node: What to start.
        not_given: Launch arguments with which nobody set a value. Where such a value is the
            node's own default too, it is left to the parameter files.
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


def graph_environment() -> dict[str, str]:
    """Variables that all processes of the graph need; what the user has set stays.

    Shared memory large enough for images, discovery on this machine only, and
    the prefix where the package's resources lie.
    """
    wanted = {
        "FASTDDS_DEFAULT_PROFILES_FILE": str(config_folder() / "fastdds_shm.xml"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():
        wanted["AMENT_PREFIX_PATH"] = sys.prefix  # ROS from wheels in a virtual environment
    return {key: value for key, value in wanted.items() if not os.environ.get(key)}
