"""The node graph as data: one list serves the launch file and the runner. No rclpy here."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.choices import Table
from vla_adapter_ros.contract import config_folder, read_contract
from vla_adapter_ros.contract.shipped import shipped_checkpoint_fits
from vla_adapter_ros.nodes.parameters import NO_CHECKPOINT, ControllerMode

# Key of the files that hold a node's own arguments. ROS 2 takes, of several keys that fit a node, the
# values under the last one, and a key keeps the place where it was first met, on the whole command
# line. `/**` or the node's name may have been met early, in what a parent launch file sets, and would
# then lose against a later key. This one fits every node too, and nobody else writes it.
ARGUMENTS_KEY = "/**/**"

OWN_CLOCK = "/clock:=clock"
"""Remapping of every node of a simulation: each namespace has a world, and so a clock, of its own."""

_TEXT = "tag:yaml.org,2002:str"

# The user's variables: how far ROS looks for others, where else it looks, and how Fast DDS sends.
RANGE, LOOPBACK = "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"
ELSEWHERE = ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER")
# Set by our launch files: `ros2 launch` leaves its processes behind when it is told to end by SIGTERM.
END_WITH_PARENT = "VLA_ADAPTER_END_WITH_PARENT"
TRANSPORTS = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")


class _Quoted(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Writes every text in quotes: to ROS 2 a folder called 1e5 or nan is a number, unlike to PyYAML."""


_Quoted.add_multi_representer(str, lambda dumper, text: dumper.represent_scalar(_TEXT, str(text), style='"'))
_Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar(_TEXT, text, style='"'))


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

    @property
    def is_vital(self) -> bool:
        """Whether nothing makes sense without this node: the robot, or who moves it."""
        return self.kind in ("simulator", "controller")

    def ends_all(self, status: int, starts: int) -> bool:
        """Whether the other nodes must end when this one has; else it is started again.

        All end with a vital node. What ends by itself with an error at its first
        start, such as a policy without its checkpoint, would do so again.

        Args:
            status: Exit status; negative: the signal that killed it.
            starts: How often it has been started, 1 or more.
        """
        return self.is_vital or (starts == 1 and status > 0)

    def write_arguments(self, folder: Path) -> Path:
        """Write `parameters` as a file that wins over every parameter named before it.

        It holds whatever the node's name and namespace are.
        """
        return write_parameters({ARGUMENTS_KEY: {"ros__parameters": self.parameters}}, folder, self.name)


def write_parameters(content: Mapping[str, Any], folder: Path, name: str) -> Path:
    """Write a new parameter file for ROS.

    Args:
        content: By key, such as the name of a node.
        folder: Where to.
        name: What the file's name begins with.
    """
    descriptor, path = tempfile.mkstemp(prefix=f"{name}_", suffix=".yaml", dir=folder)
    with open(descriptor, "w", encoding="utf-8") as file:
        yaml.dump(dict(content), file, _Quoted, allow_unicode=True, sort_keys=False)
    return Path(path)


def node_list(
    *,
    contract: str = "franka_sim",
    checkpoint: str = "",
    simulate: bool = True,
    controller: bool = True,
    policy: bool = True,
    record: str = "",
    teleop: str = "",
    lock_step: bool = False,
    renderer: str = "auto",
    seed: int = 0,
    armed: bool | None = None,
    device: str = "auto",
    compiled: bool = False,
    mode: str = "drive",
    speed: float = 1.0,
    client: bool = False,
    console: bool = False,
    foxglove: bool = False,
    runs: str = "",
    table: str = Table.CUBES,
) -> list[NodeSpec]:
    """The processes of a bring-up.

    Args:
        contract: Robot contract, shipped name or path.
        checkpoint: Checkpoint directory; empty is the shipped one, in a dry run of a robot that it does not
            fit none.
        simulate: Whether the simulator stands in for the robot.
        controller: Whether the controller runs; not where it runs on another computer.
        policy: Whether the policy runs.
        record: Data set directory for the recorder; empty starts none.
        teleop: What a human holds, for the teleoperation node; empty starts none.
        lock_step: Simulated time waits for the nodes (else real time).
        renderer: Of the simulator: auto, egl, osmesa or raycast.
        seed: First scene of the simulator.
        armed: Whether the controller may move from the start; None: only in simulation.
        device: torch device of the policy.
        compiled: Whether torch.compile fuses the policy's kernels.
        mode: Of the controller: drive, dry_run, shadow or row_pass_through.
        speed: At which the policy's motion is carried out, 0.1 to 1.
        client: Whether lock step also waits for a `GraphClient`.
        console: Whether the operator's pages are served.
        foxglove: Whether they are, and the robot's topics to Foxglove, too.
        runs: Folder of fine-tunings that the pages show; empty: none.
        table: What stands on the simulated table.
    """
    if (
        mode == ControllerMode.DRY_RUN
        and not checkpoint
        and not shipped_checkpoint_fits(read_contract(contract))
    ):
        checkpoint = NO_CHECKPOINT
    step = lock_step and simulate
    common = {"contract": contract, "lock_step": step}
    if simulate:  # else it is left to who includes the launch file, as another simulator may run
        common["use_sim_time"] = True
    nodes = []
    if controller:
        armed = simulate if armed is None else armed
        nodes.append(NodeSpec("controller", common | {"armed": armed, "mode": mode, "speed": speed}))
    if policy:
        loaded = {"checkpoint": checkpoint, "device": device} | ({"compile": True} if compiled else {})
        nodes.append(NodeSpec("policy", common | loaded))
    if record:
        nodes.append(NodeSpec("recorder", common | {"dataset": str(record)}))
    if teleop:
        nodes.append(NodeSpec("teleop", common | {"device": teleop}))
    awaited = [node.kind for node in nodes] + ["client"] * client
    if console or foxglove:  # which nobody waits for: it may hang
        shown = {"lock_step": False, "dataset": str(record), "runs": runs, "foxglove": foxglove}
        nodes.append(NodeSpec("console", common | shown))
    if simulate:
        own = {"use_sim_time": False, "renderer": renderer, "seed": seed, "awaited": ",".join(awaited)}
        own["table"] = str(table)
        nodes.insert(0, NodeSpec("simulator", common | own))
    return nodes


def recording_nodes(
    *,
    dataset: str,
    contract: str = "franka_sim",
    simulate: bool = True,
    controller: bool = True,
    teleop: str = "",
    renderer: str = "auto",
    console: bool = False,
    foxglove: bool = False,
    **recorder: Any,
) -> list[NodeSpec]:
    """The processes of a recording: `node_list` without a policy.

    An arm that is guided by hand gets no controller either, which could only be in the way.

    Args:
        dataset: Data set directory.
        contract, simulate, controller, teleop, renderer, console, foxglove: See `node_list`.
        recorder: Further parameters of the recorder, by name.

    Raises:
        ContractError: see `read_contract`.
    """
    nodes = node_list(
        contract=contract,
        simulate=simulate,
        controller=controller and not read_contract(contract).hand_guided,
        policy=False,
        record=dataset,
        teleop=teleop,
        renderer=renderer,
        console=console,
        foxglove=foxglove,
    )
    for node in nodes:
        if node.kind == "recorder":
            node.parameters.update(recorder)
    return nodes


def nobody_here(what: str, command: str) -> str:
    """What to say when nobody is there to speak to.

    Args:
        what: Who was looked for, such as `no recorder answers`.
        command: That starts it.
    """
    domain = os.environ.get("ROS_DOMAIN_ID") or "0"
    return f"{what} in ROS_DOMAIN_ID {domain}: start the nodes first, such as with `vla-adapter {command}`"


def graph_environment(simulate: bool, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that a process of the graph needs beside what it is given: the one place that decides.

    What the user has set stays. A simulation is for this computer alone: discovery and traffic stay on the
    loopback, unless the user's ROS variables ask for a network. With a real robot, ROS's own settings hold.
    Both get shared memory large enough for images, and the prefix where the package's resources lie.

    Args:
        simulate: Whether the simulator stands in for the robot.
        given: The environment so far.
    """
    wanted = {"PYTHONUNBUFFERED": "1"}
    alone = simulate and given.get(RANGE) in (None, "", LOOPBACK) and not any(map(given.get, ELSEWHERE))
    if alone:
        wanted[RANGE] = LOOPBACK
    if not any(map(given.get, TRANSPORTS)):
        wanted[TRANSPORTS[0]] = str(
            config_folder() / ("fastdds_loopback.xml" if alone else "fastdds_shm.xml")
        )
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():
        wanted["AMENT_PREFIX_PATH"] = sys.prefix  # ROS from wheels in a virtual environment
    return {key: value for key, value in wanted.items() if not given.get(key)}


def is_simulated(nodes: Iterable[NodeSpec]) -> bool:
    """Whether the simulator is among the nodes."""
    return any(node.kind == "simulator" for node in nodes)
