"""Predicted chunks against recorded ones: errors, two baselines, and what another instruction does.

Letters: R rows, H steps of a chunk, A action dimensions. Steps past the end of an episode do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data.samples import Samples

MIN_GAIN = 0.2
"""A policy listens if wrong instructions raise its error by at least this fraction. Measured: 0.06 at most
for one that was trained on random instructions, 1.5 after the first 150 steps of a usual training."""
WRONG_INSTRUCTIONS = 3  # at most, per row
CONSTANT = 1e-5  # a dimension that moves less, of its size or of 1, is constant
_BATCH = 64


@dataclass(frozen=True)
class Errors:
    """Mean absolute errors over some rows, in the robot's units.

    Attributes:
        rows: How many.
        episodes: Theirs.
        policy, repeat, mean: Of the policy; of keeping the action before; of the mean action of the
            training rows: (A,) each.
        policy_steps, repeat_steps, mean_steps: The same by step of the chunk, (H, A).
    """

    rows: int
    episodes: tuple[int, ...]
    policy: tuple[float, ...]
    repeat: tuple[float, ...]
    mean: tuple[float, ...]
    policy_steps: tuple[tuple[float, ...], ...]
    repeat_steps: tuple[tuple[float, ...], ...]
    mean_steps: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class InstructionTest:
    """The same rows with the instructions of other tasks.

    Only rows before a gripper first closes count, where there are any: later the scene itself tells
    what to do.

    Attributes:
        obstacle: Why this cannot be measured; empty if it can.
        rows, episodes: How many were compared.
        change: Mean absolute change of the chunks, (A,), in the robot's units.
        right, wrong: Mean absolute errors with the recorded and with other instructions, (A,).
        gain: By how much wrong instructions raise the error, relative to it; over all dimensions that move,
            each in units of its standard deviation.
        fraction: Fraction of the episodes in which they do.
    """

    obstacle: str
    rows: int = 0
    episodes: int = 0
    change: tuple[float, ...] | None = None
    right: tuple[float, ...] | None = None
    wrong: tuple[float, ...] | None = None
    gain: float | None = None
    fraction: float | None = None

    @property
    def blind(self) -> bool | None:
        """Whether the policy does not listen; None if that cannot be measured."""
        if self.obstacle or self.gain is None:
            return None
        return self.gain < MIN_GAIN


@dataclass(frozen=True)
class ActionStatistics:
    """What the training rows give to compare with.

    Attributes:
        mean: Mean action, float64 (A,).
        std: Standard deviation, float64 (A,).
        constant: Dimensions that never move, bool (A,).
    """

    mean: np.ndarray
    std: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(cls, actions: np.ndarray) -> ActionStatistics:
        """From the actions of the training rows (N, A), N >= 1."""
        size = np.maximum(np.abs(actions).max(axis=0), 1.0)
        return cls(actions.mean(axis=0), actions.std(axis=0), np.ptp(actions, axis=0) <= CONSTANT * size)


def predict_chunks(
    policy: VlaAdapterPolicy, samples: Samples, rows: np.ndarray, tasks: np.ndarray | None = None
) -> np.ndarray:
    """What `policy.predict` predicts for rows (R,), in batches.

    Args:
        policy: In the type and on the device in which it runs.
        samples: The data set.
        rows: int64 (R,).
        tasks: Tasks whose instructions are given, int64 (R,); default: those of the rows.

    Returns:
        Actions in the robot's units, float64 (R, H, A).
    """
    tasks = samples.task[rows] if tasks is None else tasks
    network, chunks = policy.network, []
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            ids, mask = policy.tokenize([samples.tasks[task] for task in tasks[part]])
            pixels = policy.pixel_values(samples.images[rows[part]])
            proprio = torch.from_numpy(policy.network_state(samples.state[rows[part]]))
            inputs = (tensor.to(network.device) for tensor in (ids, mask, pixels, proprio))
            chunks.append(network(*inputs).float().cpu().numpy())
    return policy.to_robot_units(np.concatenate(chunks), samples.state[rows])


def measure_errors(
    predicted: np.ndarray, samples: Samples, rows: np.ndarray, reference: ActionStatistics
) -> Errors:
    """Compare chunks (R, H, A) that were predicted for rows (R,) with the recorded ones, R >= 1.

    The baseline that repeats knows the action before; at the first row of an episode, which has none, it
    knows that row's own.
    """
    horizon = predicted.shape[1]
    wanted, counts = samples.chunks(rows, horizon), samples.inside(rows, horizon)
    repeated = samples.action[np.maximum(rows - 1, samples.first[rows])][:, None]
    differences = [np.abs(given - wanted) for given in (predicted, repeated, reference.mean)]
    whole = [_vector(d[counts].mean(axis=0)) for d in differences]
    weights = counts.astype(float)[:, :, None]
    seen = np.maximum(weights.sum(axis=0), 1e-9)
    steps = [tuple(map(_vector, (d * weights).sum(axis=0) / seen)) for d in differences]
    episodes = tuple(np.unique(samples.episode[rows]).tolist())
    return Errors(len(rows), episodes, whole[0], whole[1], whole[2], steps[0], steps[1], steps[2])


def swap_instructions(
    policy: VlaAdapterPolicy,
    samples: Samples,
    rows: np.ndarray,
    predicted: np.ndarray,
    reference: ActionStatistics,
    seed: int,
) -> InstructionTest:
    """Give the same rows (R,) the instructions of other tasks.

    Args:
        policy: See `predict_chunks`.
        samples: The data set.
        rows: int64 (R,).
        predicted: Chunks with the recorded instructions (R, H, A).
        reference: Statistics of the training rows.
        seed: Draws the other instructions.
    """
    tasks = len(samples.tasks)
    if tasks < 2:
        return InstructionTest("the data set has one instruction only")
    if reference.constant.all():
        return InstructionTest("no action ever moves")
    if (samples.waypoint >= 0).any():
        early = samples.waypoint[rows] >= 0
        if not early.any():
            return InstructionTest("no row lies before a gripper closes")
        rows, predicted = rows[early], predicted[early]
    counts = samples.inside(rows, predicted.shape[1])
    wanted = samples.chunks(rows, predicted.shape[1])
    right = np.abs(predicted - wanted)
    change, wrong = np.zeros_like(right), np.zeros_like(right)
    shifts = _other_tasks(len(rows), tasks, seed)
    for shift in shifts:
        other = predict_chunks(policy, samples, rows, (samples.task[rows] + shift) % tasks)
        change += np.abs(other - predicted) / len(shifts)
        wrong += np.abs(other - wanted) / len(shifts)
    moving = ~reference.constant
    scaled = [(e / np.where(moving, reference.std, 1.0))[:, :, moving].mean(axis=2) for e in (right, wrong)]
    by_episode = [
        [float(e[here][counts[here]].mean()) for e in scaled]
        for here in (samples.episode[rows] == number for number in np.unique(samples.episode[rows]))
    ]
    before, after = (float(e[counts].mean()) for e in scaled)
    return InstructionTest(
        obstacle="",
        rows=len(rows),
        episodes=len(by_episode),
        change=_vector(change[counts].mean(axis=0)),
        right=_vector(right[counts].mean(axis=0)),
        wrong=_vector(wrong[counts].mean(axis=0)),
        gain=(after - before) / max(before, 1e-12),
        fraction=float(np.mean([b > a for a, b in by_episode])),
    )


def _other_tasks(rows: int, tasks: int, seed: int) -> np.ndarray:
    """Shifts to other tasks, no two alike for a row: int64 (K, R), 1 to tasks - 1."""
    rng = np.random.default_rng(seed)
    shifts = rng.permuted(np.tile(np.arange(1, tasks), (rows, 1)), axis=1)
    return shifts[:, :WRONG_INSTRUCTIONS].T


def _vector(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
