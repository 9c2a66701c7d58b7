"""Which rows are trained on, which are kept for validation, and which of them a step sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vla_adapter_ros.contract.enums import ActionSpace, DeltaReference
from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.training.data.samples import Rows, is_closed
from vla_adapter_ros.training.setting_words import Padding
from vla_adapter_ros.training.settings import FinetuneSettings

_REPORT_ROWS = 2000
_ENOUGH = 10  # episodes from which on one can be spared


class RowSplit(NamedTuple):
    """Rows of a training."""

    train: np.ndarray
    """To train on, int64 (T,)."""
    evaluated: np.ndarray
    """To evaluate afterwards, int64 (R,): of validation episodes, or of the training if there are none."""
    is_validation: bool
    """Whether the latter are kept out of the training."""
    learned: np.ndarray
    """Rows whose state and action are learned from, in a chunk at least, int64 (L,)."""

    @property
    def validation(self) -> np.ndarray | None:
        """Rows of the validation loss; None if no episode is kept for it."""
        return self.evaluated if self.is_validation else None


def split_rows(samples: Rows, settings: FinetuneSettings, horizon: int = 1) -> RowSplit:
    """Which rows train, and which are evaluated.

    Whole episodes are kept for validation, the same fraction of every data set, and of ten or more at least
    one. Rows near the end of an episode (`padding` = `drop`) and rows in which nothing moves
    (`idle_threshold`) are left out of training only.

    Args:
        samples: The data sets.
        settings: `holdout`, `seed`, `padding`, `idle_threshold`.
        horizon: Rows H of a chunk.

    Raises:
        TrainingError: no row is left to train on.
    """
    rows = np.flatnonzero(samples.usable)
    validation: list[int] = []
    for number in np.unique(samples.dataset[rows]):
        episodes = np.unique(samples.episode[rows[samples.dataset[rows] == number]])
        seed = settings.seed if number == 0 else [settings.seed, number]
        count = round(settings.holdout * len(episodes))
        if settings.holdout > 0 and len(episodes) >= _ENOUGH:
            count = max(1, count)
        validation.extend(np.random.default_rng(seed).permutation(episodes)[:count])
    apart = np.isin(samples.episode[rows], validation)
    train = learned = rows[~apart]
    if settings.padding == Padding.DROP:
        train = train[train + horizon - 1 <= samples.until[train]]
    if settings.idle_threshold > 0:
        train = train[~is_idle(samples, train, horizon, settings.idle_threshold)]
    if not len(train):
        raise TrainingError(
            f"no row is left to train on: of {len(samples.weight)} rows {int(samples.usable.sum())} may be "
            f"learned from, {len(validation)} episodes are kept for validation, "
            f"padding = {settings.padding!r} with chunks of {horizon} rows, "
            f"idle_threshold = {settings.idle_threshold:g}"
        )
    return RowSplit(train, _thin(rows[apart] if apart.any() else train), bool(apart.any()), learned)


def is_idle(samples: Rows, rows: np.ndarray, horizon: int, threshold: float) -> np.ndarray:
    """Whether a whole chunk commands no motion: bool (B,).

    In absolute spaces no command of the chunk is farther than `threshold` from the command before it
    began, in spaces of deltas they do not add up to more; no gripper opens or closes.

    Args:
        samples: The data sets.
        rows: Rows in which the chunks begin, int64 (B,).
        horizon: Rows H of a chunk.
        threshold: Largest displacement that counts as none, in any dimension of the arm [rad or m].
    """
    action = samples.contract.action
    arm = samples.contract.arm_places
    scale = np.array([action.dimensions[n].scale for n in arm])
    chunks = samples.chunks(rows, horizon)[:, :, arm] * scale  # (B, H, arm)
    before = np.maximum(rows - 1, samples.first[rows])
    if action.space is ActionSpace.JOINT_DELTA and action.delta_reference is DeltaReference.CHUNK_START:
        displacement = chunks
    elif action.space.is_delta:
        chunks = chunks * samples.inside(rows, horizon)[:, :, None]
        displacement = np.cumsum(chunks, axis=1)
    else:
        displacement = chunks - samples.action[before][:, None, arm] * scale
    still = (np.abs(displacement) <= threshold).all(axis=(1, 2))
    closed = is_closed(samples.action, samples.contract)
    ahead = np.minimum(rows[:, None] + np.arange(horizon), samples.until[rows][:, None])
    return still & (closed[ahead] == closed[before][:, None]).all(axis=(1, 2))


def pick_rows(
    rows: np.ndarray, step: int, settings: FinetuneSettings, weight: np.ndarray | None = None
) -> np.ndarray:
    """Rows of a step's batch, in a new order in each pass through the data.

    Args:
        rows: Rows to train on, int64 (R,).
        step: Number of the step, from 0.
        settings: `batch_size` and `seed`.
        weight: How often each row is drawn, float64 (R,), all above 0; None: equally often.

    Returns:
        int64 (batch_size,). A pass has R draws. With equal weights each row comes once per pass; otherwise
        the expected number of times follows the weight, and the true one is that number rounded up or down.
    """
    places = step * settings.batch_size + np.arange(settings.batch_size)
    if weight is not None and bool((weight == weight[0]).all()):
        weight = None
    orders = {}
    for n in set(places // len(rows)):
        rng = np.random.default_rng([settings.seed, int(n)])
        orders[n] = rng.permutation(rows if weight is None else _draw_pass(rows, weight, rng))
    return np.array([orders[n][at] for n, at in zip(places // len(rows), places % len(rows), strict=True)])


def _draw_pass(rows: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many rows as there are, by systematic sampling over a random order."""
    order = rng.permutation(len(rows))
    upper = np.cumsum(weight[order]) * (len(rows) / weight.sum())
    marks = rng.uniform() + np.arange(len(rows))
    return rows[order[np.minimum(np.searchsorted(upper, marks, side="right"), len(rows) - 1)]]


def _thin(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(1, len(rows) // _REPORT_ROWS)]
