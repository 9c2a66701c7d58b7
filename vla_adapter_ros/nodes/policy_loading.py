"""Loads the policy that a node runs, for its robot and this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vla_adapter_ros.choices import LinearKind
from vla_adapter_ros.contract import Contract, checkpoints_folder, require_same
from vla_adapter_ros.contract.shipped import SHIPPED_CHECKPOINT
from vla_adapter_ros.control.lateness import lateness
from vla_adapter_ros.control.pacing import budget_complaint
from vla_adapter_ros.errors import CheckpointError, ParameterError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.certificate import FILE, certificate_problem, describe_setup
from vla_adapter_ros.model.checkpoint_files import checkpoint_name
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.device import describe_device, resolve_device, torch_type
from vla_adapter_ros.model.familiarity import Familiarity, read_familiarity
from vla_adapter_ros.model.timing import measure_predictions
from vla_adapter_ros.nodes.graph_status import CERTIFICATE, CHECKPOINT, CHUNK_MS, DEVICE, WEIGHTS
from vla_adapter_ros.nodes.parameters import PolicyParameters
from vla_adapter_ros.scene_check.scene import SceneMemory


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy, and what is told of it.

    Attributes:
        policy: Ready to predict.
        path: Where it was read from.
        chunk_s: 99th percentile of its inference on this machine [s]; None where it was not measured.
        scene: What the checkpoint knows of the scenes that its demonstrations began with.
        name: What its chunks and logs of trials call the checkpoint: see `checkpoint_name`.
        familiarity: By which it tells how unsure it is; None where the checkpoint was never calibrated.
        certificate: `none`, `holds`, or `does not hold`.
        uncertified: Why its certificate does not hold; empty where it does, or where there is none.
    """

    policy: VlaAdapterPolicy
    path: str
    chunk_s: float | None
    scene: SceneMemory
    name: str
    familiarity: Familiarity | None = None
    certificate: str = ""
    uncertified: str = ""

    def __str__(self) -> str:
        took = "" if self.chunk_s is None else f", {1e3 * self.chunk_s:.3g} ms per chunk"
        values = self.describe()
        return f"checkpoint {self.path} {values[DEVICE]}, {values[WEIGHTS]}{took}"

    def describe(self) -> dict[str, str]:
        """As values of /diagnostics."""
        network = self.policy.network
        return {
            CHECKPOINT: self.path,
            DEVICE: describe_device(network.device),
            WEIGHTS: str(network.dtype).removeprefix("torch."),
            CERTIFICATE: self.certificate,
            CHUNK_MS: "" if self.chunk_s is None else f"{1e3 * self.chunk_s:.3g}",
        }


def checkpoint_path(parameters: PolicyParameters) -> str:
    """The checkpoint that is asked for, or the shipped one."""
    return parameters.checkpoint or str(checkpoints_folder() / SHIPPED_CHECKPOINT)


def load_policy(parameters: PolicyParameters, contract: Contract) -> LoadedPolicy:
    """Load a checkpoint for a robot, predict once, and measure inference where time does not wait for it.

    Raises:
        CheckpointError: it cannot be read, or does not say which robot it is for.
        CheckpointError: its certificate does not hold, and one is required.
        ContractMismatch: it is for another robot.
        ParameterError: there is no such device, or inference cannot serve the execution horizon.
    """
    path = checkpoint_path(parameters)
    policy, robot = open_policy(parameters)
    require_same(contract, robot, f"checkpoint {path}")
    folder = find_checkpoint(path)
    certificate, uncertified = _look_at_certificate(folder, policy, parameters)
    policy.warm_up()
    chunk_s = None if parameters.lock_step else _require_budget(policy, contract, parameters)
    scene = SceneMemory.from_checkpoint(folder, contract)
    return LoadedPolicy(
        policy,
        path,
        chunk_s,
        scene,
        checkpoint_name(folder),
        read_familiarity(folder),
        certificate,
        uncertified,
    )


def _look_at_certificate(
    folder: Path, policy: VlaAdapterPolicy, parameters: PolicyParameters
) -> tuple[str, str]:
    """What there is to say of a checkpoint's certificate, and why it does not hold.

    Raises:
        CheckpointError: it does not hold, or there is none, and one is required.
    """
    required = parameters.require_certificate
    if not required and not (folder / FILE).exists():
        return "none", ""
    network = policy.network
    setup = describe_setup(network.device, network.dtype, compiled=parameters.compile)
    problem = certificate_problem(folder, setup)
    if problem and required:
        raise CheckpointError(f"require_certificate = True: {problem}")
    return ("does not hold" if problem else "holds"), problem


def replay_facts(policy: VlaAdapterPolicy) -> dict[str, object]:
    """What decides, besides the machine's other facts, whether the same frame gives the same chunk."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": describe_device(policy.network.device),
        "dtype": str(policy.network.dtype).removeprefix("torch."),
        "kernels": policy.engine.describe(),
    }


def open_policy(parameters: PolicyParameters) -> tuple[VlaAdapterPolicy, Contract]:
    """Open a checkpoint on the device, in the type and with the threads that a node is given.

    Returns:
        The policy, and the contract of the robot that it is for.

    Raises:
        CheckpointError: it cannot be read, or does not say which robot it is for.
        ParameterError: there is no such device.
    """
    path = checkpoint_path(parameters)
    if parameters.threads:
        torch.set_num_threads(parameters.threads)
    device = resolve_device(parameters.device)
    policy = VlaAdapterPolicy.from_pretrained(path, device=device, dtype=torch_type(parameters.dtype))
    if parameters.compile:
        policy.compile()
    elif policy.network.dtype == torch.bfloat16 or parameters.linear == LinearKind.INT8:
        policy.use_linear(parameters.linear)
    if policy.contract is None:
        raise CheckpointError(f"{path} has no contract.yaml: it does not say which robot it is for")
    return policy, policy.contract


def _require_budget(policy: VlaAdapterPolicy, contract: Contract, parameters: PolicyParameters) -> float:
    """Measure inference on blank images [s], and refuse an execution horizon that it cannot serve."""
    slow = float(np.percentile(measure_predictions(policy, contract), 99))
    full = parameters.full_pace_rows or math.inf
    late = lateness(slow, contract.rate_hz, policy.config.max_delay_rows, full_pace_rows=full)
    rate_hz, horizon = contract.rate_hz * late.pace, parameters.execution_horizon
    if problem := budget_complaint(rate_hz, policy.config.chunk, horizon, slow, late.delay_s):
        raise ParameterError(problem)
    return slow
