"""Compares the engine with the reference path on rows of a data set: `vla-adapter checkpoint certify`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import CheckpointError, TrainingError
from vla_adapter_ros.evaluation.open_loop import require_match
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.certificate import Certificate, Deviation, describe_setup, hash_files
from vla_adapter_ros.training.data.data_sources import OpenSource
from vla_adapter_ros.training.data.samples import load_samples

TOLERANCE = 0.05
"""Largest difference that is certified, as a fraction of an action value's range."""


def certify(
    folder: Path,
    source: OpenSource,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    compiled: bool = False,
    rows: int = 32,
    threads: int = 0,
    platform: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Certificate:
    """Predict rows of a data set with the engine and by the reference path, and compare the actions.

    The engine runs as the policy node runs it: with its preprocessing, device, type of weights, and kernels.
    The reference is the network as it is written, in float32 on the CPU, on observations that were prepared
    one by one.

    Args:
        folder: The checkpoint.
        source: The user's own recordings.
        device, dtype, compiled: How the policy node is to run it; dtype None: its own choice.
        rows: How many rows, evenly over all that may be learned from.
        threads: CPU threads of torch from now on; 0 leaves them as they are.
        platform: For an official checkpoint.
        progress: Called with (rows done, rows).

    Raises:
        CheckpointError: it is a backbone, or damaged.
        ContractMismatch, TrainingError: checkpoint and data set do not belong together.
    """
    if threads:
        torch.set_num_threads(threads)
    policy = VlaAdapterPolicy.from_pretrained(folder, platform=platform, device=device, dtype=dtype)
    if policy.statistics is None:
        raise CheckpointError(f"{folder} is a backbone without a trained head: fine-tune it first")
    if compiled:
        policy.compile()
    robot = source.data.contract
    if robot is None:
        raise TrainingError(f"{source.data.root} carries no contract: name the robot's")
    require_match(policy, robot, folder, source.data.root)
    reference = VlaAdapterPolicy.from_pretrained(folder, platform=platform)
    samples = load_samples([source], robot, policy.resize_images, policy.config.preprocessing.size, limit=0)
    usable = np.flatnonzero(samples.usable)
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, min(rows, len(usable))).round().astype(int))]
    differences, sums = [], hashlib.sha256()
    for done, row in enumerate(chosen.tolist(), start=1):
        images = [samples.images.original(row, camera) for camera in range(len(robot.cameras))]
        words, state = samples.tasks[samples.task[row]], samples.state[row]
        for part in (*images, state):
            sums.update(np.ascontiguousarray(part).tobytes())
        sums.update(words.encode())
        predicted = policy.predict(images, words, state)
        differences.append(np.abs(predicted - predict_reference(reference, images, words, state)))
        progress(done, len(chosen))
    return Certificate(
        files=hash_files(folder),
        setup=describe_setup(device, policy.network.dtype, compiled=compiled),
        dataset=samples.names[0],
        rows=len(chosen),
        rows_hash=sums.hexdigest(),
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        deviations=_deviations(np.concatenate(differences), policy, robot),
    )


@torch.inference_mode()
def predict_reference(
    policy: VlaAdapterPolicy, images: list[np.ndarray], instruction: str, state: np.ndarray
) -> np.ndarray:
    """What `predict` computes, without the engine; arguments and result are its own."""
    observation = policy.prepare(images, instruction, state)
    pixels = policy.pixel_values(observation.images)
    actions = policy.network(
        observation.input_ids[None], None, pixels[None].to(policy.network.device), observation.proprio[None]
    )
    return policy.to_robot_units(actions[0].float().numpy(), state)


def too_far(certificate: Certificate, tolerance: float = TOLERANCE) -> list[Deviation]:
    """The action values that were farther from the reference than this fraction of their range."""
    return [found for found in certificate.deviations if not found.largest <= tolerance * found.spread]


def _deviations(differences: np.ndarray, policy: VlaAdapterPolicy, robot: Contract) -> tuple[Deviation, ...]:
    """Of all rows (N, A)."""
    ends = np.array([np.full(policy.config.action_dim, end) for end in (-1.0, 1.0)])
    low, high = policy.unnormalize_actions(ends)
    found = []
    for at, dimension in enumerate(robot.action.dimensions):
        is_gripper = at in robot.gripper_places
        values = differences[:, at] * (1.0 if is_gripper else dimension.scale)
        spread = float(high[at] - low[at]) * (1.0 if is_gripper else dimension.scale)
        unit = "gripper" if is_gripper else str(dimension.unit.si)
        worst, p99 = float(values.max()), float(np.percentile(values, 99))
        found.append(Deviation(dimension.name, unit, worst, p99, spread))
    return tuple(found)
