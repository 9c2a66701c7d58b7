"""How unsure a policy is: how far its ActionQuery features lie from familiar ones, and how its chunks differ.

Features are compared with those of episodes that succeeded: their distance is Mahalanobis' within the
main directions, and beside them what is left over. Limits are chosen so that few successful episodes ever
exceed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from vla_adapter_ros.errors import CheckpointError

FILE = "uncertainty.safetensors"
_DIRECTIONS = 48  # at most
_EXPLAINED = 0.99  # of the variance
_LEVELS = 200  # tried for the limits


class Signs(NamedTuple):
    """What was seen of one episode, chunk by chunk (N,)."""

    distances: np.ndarray
    """Of the features, see `Familiarity.distance`."""
    disagreements: np.ndarray
    """With the chunk before, see `control.disagreement`; NaN: nothing to compare with."""


@dataclass(frozen=True)
class Familiarity:
    """What familiar features are, and how much is usual.

    Attributes:
        mean: Of familiar features, float32 (F,).
        directions: Into whitened main directions, float32 (K, F).
        residual: Standard deviation of what is left over beside them.
        limits: Largest usual distance, and disagreement.
    """

    mean: np.ndarray
    directions: np.ndarray
    residual: float
    limits: tuple[float, float] = (1.0, 1.0)

    def distance(self, features: np.ndarray) -> float:
        """How far features (F,) lie from familiar ones; about 1 for these."""
        centered = np.asarray(features, np.float64).reshape(-1) - self.mean
        inside = self.directions @ centered
        basis = self.directions / np.linalg.norm(self.directions, axis=1, keepdims=True)
        outside = np.linalg.norm(centered - basis.T @ (basis @ centered)) / self.residual
        return float(np.sqrt((np.mean(inside**2) + outside**2) / 2.0))

    def uncertainty(self, distance: float, disagreement: float) -> float:
        """The larger of both as a fraction of its limit: above 1, a successful episode would be unusual."""
        return float(np.nanmax([distance / self.limits[0], disagreement / self.limits[1]]))

    def save(self, folder: Path) -> None:
        """Write `FILE` into a checkpoint."""
        arrays = {
            "mean": self.mean.astype(np.float32),
            "directions": np.ascontiguousarray(self.directions, np.float32),
            "residual": np.array([self.residual], np.float32),
            "limits": np.array(self.limits, np.float32),
        }
        save_file(arrays, folder / FILE)


def read_familiarity(folder: Path) -> Familiarity | None:
    """That of a checkpoint; None where it was never calibrated.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = load_file(path)
        mean, directions = found["mean"], found["directions"]
        residual, limits = float(found["residual"][0]), tuple(map(float, found["limits"]))
        whole = directions.ndim == 2 and directions.shape[1:] == mean.shape and len(limits) == 2
        if not (whole and residual > 0 and min(limits) > 0 and np.isfinite(directions).all()):
            raise ValueError("its arrays do not fit together")
    except (SafetensorError, OSError, KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path}: {error}; `vla-adapter checkpoint calibrate` writes it anew") from None
    return Familiarity(mean, directions, residual, (limits[0], limits[1]))


def learn_features(features: np.ndarray) -> Familiarity:
    """What is familiar, from features (N, F) of successful episodes; limits are yet to be chosen.

    Raises:
        CheckpointError: too few, or all alike.
    """
    if len(features) < 20:
        raise CheckpointError(f"{len(features)} chunks of successful episodes: needed are at least 20")
    mean = features.mean(axis=0, dtype=np.float64)
    centered = features - mean
    _, spread, rows = np.linalg.svd(centered, full_matrices=False)
    variance = spread**2 / max(len(features) - 1, 1)
    if not variance.sum() > 0:
        raise CheckpointError("all features are alike: the policy sees nothing")
    most = min(_DIRECTIONS, len(features) // 4)
    kept = min(int(np.searchsorted(np.cumsum(variance) / variance.sum(), _EXPLAINED)) + 1, most)
    directions = rows[:kept] / np.sqrt(variance[:kept, None])
    left = np.linalg.norm(centered - (centered @ rows[:kept].T) @ rows[:kept], axis=1)
    residual = max(float(np.sqrt(np.mean(left**2))), 1e-6)
    return Familiarity(mean.astype(np.float32), directions.astype(np.float32), residual)


def choose_limits(episodes: Sequence[Signs], alarms: float = 0.05) -> tuple[float, float]:
    """Limits that at most so many of the successful episodes ever exceed.

    Both signs are as strict as each other: each is exceeded by equally many episodes.

    Args:
        episodes: Successful ones, others than the features were learned from.
        alarms: Share of them that may exceed either limit.
    """
    distances = np.array([episode.distances.max() for episode in episodes])
    apart = np.array([np.nanmax([0.0, *episode.disagreements]) for episode in episodes])
    limits = float(distances.max()), float(max(apart.max(), 1e-6))
    for level in np.linspace(1.0, 0.0, _LEVELS):
        tried = float(np.quantile(distances, level)), float(max(np.quantile(apart, level), 1e-6))
        if np.mean((distances > tried[0]) | (apart > tried[1])) > alarms:
            break
        limits = tried
    return limits
