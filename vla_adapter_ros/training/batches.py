"""Which rows a step sees, and what the network gets of them. All draws follow from seed and step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.training.data import Samples
from vla_adapter_ros.training.settings import FinetuneSettings

_REPORT_ROWS = 2000


def pick_rows(rows: np.ndarray, step: int, settings: FinetuneSettings) -> np.ndarray:
    """Rows of a step's batch: each row once per pass through the data, in a new order each time."""
    places = step * settings.batch + np.arange(settings.batch)
    orders = {
        n: np.random.default_rng([settings.seed, n]).permutation(rows) for n in set(places // len(rows))
    }
    return np.array([orders[n][at] for n, at in zip(places // len(rows), places % len(rows), strict=True)])


def make_batch(
    policy: VlaAdapterPolicy,
    samples: Samples,
    rows: np.ndarray,
    settings: FinetuneSettings,
    part: slice = slice(None),
) -> tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor]:
    """Inputs with augmentation, target chunks, waypoint states, and where there is a waypoint.

    Args:
        policy: Its preprocessing, tokenizer and statistics.
        samples: The data set.
        rows: Rows of the whole step, int64 (B,).
        settings: Strength of the augmentation.
        part: Which of the rows to make, `P` in number. What is drawn for a row does not depend on it: draws
            are made for the whole step, from torch's global generator.

    Returns:
        (ids, mask, pixel values, proprioception), targets (P, H, A), waypoints (P, S), bool (P,).
    """
    size = len(rows)
    shape = (size, policy.config.num_images, 1, 1, 1)
    gain = 1 + settings.gain * (2 * torch.rand(shape)[part] - 1)
    offset = settings.offset * (2 * torch.rand(shape)[part] - 1)
    rows = rows[part]
    images = torch.from_numpy(samples.images[rows]).float() / 255.0  # (P, C, h, w, 3)
    pixels = policy.pixel_values((images * gain + offset).clamp(0, 1))
    ids, mask = policy.tokenize([samples.tasks[task] for task in samples.task[rows]])
    proprio = torch.from_numpy(policy.normalize_proprio(samples.state[rows])).float()
    noise = torch.randn(size, proprio.shape[1])[part]
    proprio = proprio + settings.state_noise * noise
    target = torch.from_numpy(policy.normalize_actions(samples.chunks(rows, policy.config.chunk))).float()
    ahead = samples.waypoint[rows]
    waypoint = torch.from_numpy(policy.normalize_proprio(samples.state[ahead])).float()
    return (ids, mask, pixels, proprio), target, waypoint, torch.from_numpy(ahead >= 0)


def split_rows(samples: Samples, settings: FinetuneSettings) -> tuple[np.ndarray, np.ndarray, bool]:
    """Rows to train on, rows to report on, and whether the latter are held out (whole episodes)."""
    rows = np.flatnonzero(samples.usable)
    episodes = np.unique(samples.episode[rows])
    count = round(settings.holdout * len(episodes))
    if count == 0:
        return rows, _thin(rows), False
    kept = np.random.default_rng(settings.seed).permutation(episodes)[:count]
    apart = np.isin(samples.episode[rows], kept)
    return rows[~apart], _thin(rows[apart]), True


def _thin(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(1, len(rows) // _REPORT_ROWS)]
