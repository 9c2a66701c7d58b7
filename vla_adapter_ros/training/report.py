"""What a policy has learned, on episodes that it was not trained on.

The training loss does not tell whether a policy listens to its sentence: a policy that
ignores it can have the lower loss. So the same scene is also shown with another sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data import Samples

_BATCH = 64


@dataclass(frozen=True)
class Report:
    """Mean absolute errors over held-out rows and whole chunks, in the robot's units.

    Attributes:
        names: Action dimensions (A,).
        rows: Rows looked at.
        held_out: Whether they were kept out of training (a data set of few episodes has none to spare).
        error: Of the policy, (A,).
        repeat_error: Of repeating the action before, (A,).
        mean_error: Of always giving the data set's mean action, (A,).
        sentence_change: Mean change of the chunk when another task's sentence is given in the same scene
            before the gripper closes, (A,); None if the data set has one task only.
    """

    names: tuple[str, ...]
    rows: int
    held_out: bool
    error: tuple[float, ...]
    repeat_error: tuple[float, ...]
    mean_error: tuple[float, ...]
    sentence_change: tuple[float, ...] | None


def make_report(
    policy: VlaAdapterPolicy,
    samples: Samples,
    rows: np.ndarray,
    names: tuple[str, ...],
    *,
    held_out: bool,
    seed: int,
) -> Report:
    """Compare the policy's chunks with what was recorded.

    Args:
        policy: In the type and on the device in which it runs.
        samples: The data set.
        rows: Rows to look at, int64 (R,), R >= 1.
        names: Action dimensions.
        held_out: Whether the rows were kept out of training.
        seed: Draws the other sentences.
    """
    horizon = policy.config.chunk
    wanted = samples.chunks(rows, horizon)  # (R, H, A)
    predicted = _predict(policy, samples, rows, samples.task[rows])
    before = np.maximum(rows - 1, samples.first[rows])
    repeated = samples.action[before][:, None]
    mean = samples.action[samples.usable].mean(axis=0)
    return Report(
        names=names,
        rows=len(rows),
        held_out=held_out,
        error=_mean(np.abs(predicted - wanted)),
        repeat_error=_mean(np.abs(repeated - wanted)),
        mean_error=_mean(np.abs(mean - wanted)),
        sentence_change=_sentence_change(policy, samples, rows, predicted, seed),
    )


def _sentence_change(
    policy: VlaAdapterPolicy, samples: Samples, rows: np.ndarray, predicted: np.ndarray, seed: int
) -> tuple[float, ...] | None:
    open_yet = samples.waypoint[rows] >= 0
    if len(samples.tasks) < 2 or not open_yet.any():
        return None
    rng = np.random.default_rng(seed)
    rows, predicted = rows[open_yet], predicted[open_yet]
    shift = rng.integers(1, len(samples.tasks), size=len(rows))
    other = _predict(policy, samples, rows, (samples.task[rows] + shift) % len(samples.tasks))
    return _mean(np.abs(other - predicted))


def _predict(policy: VlaAdapterPolicy, samples: Samples, rows: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """Chunks for rows (R,) with the sentences of tasks (R,): float64 (R, H, A)."""
    network, chunks = policy.network, []
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            ids, mask = policy.tokenize([samples.tasks[task] for task in tasks[part]])
            pixels = policy.pixel_values(samples.images[rows[part]])
            proprio = torch.from_numpy(policy.normalize_proprio(samples.state[rows[part]])).float()
            inputs = (tensor.to(network.device) for tensor in (ids, mask, pixels, proprio))
            chunks.append(network(*inputs).cpu().numpy())
    return policy.unnormalize_actions(np.concatenate(chunks))


def _mean(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values.mean(axis=(0, 1)))


def format_report(report: Report) -> str:
    """The report as a table for people."""
    what = (
        "held-out rows"
        if report.held_out
        else "rows of the training itself (too few episodes to hold any out)"
    )
    lines = [
        f"Mean absolute error over {report.rows} {what}, in the robot's units:",
        f"{'':>16}  {'policy':>9}  {'repeat':>9}  {'mean':>9}  {'other sentence':>14}",
    ]
    columns = (report.error, report.repeat_error, report.mean_error)
    for i, name in enumerate(report.names):
        numbers = "  ".join(f"{column[i]:9.4f}" for column in columns)
        change = f"{report.sentence_change[i]:14.4f}" if report.sentence_change else f"{'-':>14}"
        lines.append(f"{name:>16}  {numbers}  {change}")
    lines.append("repeat: the action before, kept; mean: always the mean action;")
    lines.append("other sentence: how much the policy's own actions change when another task is named.")
    return "\n".join(lines)
