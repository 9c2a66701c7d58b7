"""Batches in the order of training, made ahead by worker processes where images have to be decoded.

What a batch holds follows from the seed and the step, whatever the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vla_adapter_ros.training.batches import Batch, BatchMaker, PreparedBatch
from vla_adapter_ros.training.settings import FinetuneSettings

_AHEAD = 3  # batches that each worker makes ahead
_MAX_WORKERS = 8


class Loaded(NamedTuple):
    """A part of a step's batch, and the rows of the whole step, int64 (B,)."""

    rows: np.ndarray
    batch: Batch


def draws_of(settings: FinetuneSettings, step: int) -> torch.Generator:
    """Generator of all that is drawn for the rows of a step."""
    return torch.Generator().manual_seed((settings.seed * 1_000_003 + step) * 65_537)


def worker_count(settings: FinetuneSettings, *, in_memory: bool) -> int:
    """Worker processes: as set, or none for images in memory, else as many as there are spare cores."""
    if settings.workers >= 0:
        return settings.workers
    cores = len(os.sched_getaffinity(0)) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return 0 if in_memory else max(1, min(_MAX_WORKERS, cores - 1))


def load_batches(
    maker: BatchMaker,
    pick: Callable[[int], np.ndarray],
    parts: Sequence[slice],
    steps: range,
    settings: FinetuneSettings,
    *,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Iterator[Loaded]:
    """Give out the parts of every step's batch, in order.

    Args:
        maker: Makes them.
        pick: Number of a step to its rows, int64 (B,).
        parts: Which of them this process takes, one after the other.
        steps: Steps to make.
        settings: Their seed.
        device: Where the batches go.
        workers: Processes that make the first half ahead; 0: it is made here when it is wanted.

    Raises:
        DatasetError: a video is damaged.
    """
    work = _Work(maker, pick, tuple(parts), settings)
    order = range(steps.start * len(work.parts), steps.stop * len(work.parts))
    loader = DataLoader(
        work, sampler=order, batch_size=None, num_workers=workers, collate_fn=_unchanged,
        prefetch_factor=_AHEAD if workers else None,
    )  # fmt: skip
    for rows, prepared in loader:
        yield Loaded(rows, maker.make_tensors(prepared, device))


class _Work(Dataset):
    """Item n is part n % P of step n // P."""

    def __init__(
        self,
        maker: BatchMaker,
        pick: Callable[[int], np.ndarray],
        parts: tuple[slice, ...],
        settings: FinetuneSettings,
    ) -> None:
        self.maker, self.pick, self.parts, self.settings = maker, pick, parts, settings

    def __getitem__(self, item: int) -> tuple[np.ndarray, PreparedBatch]:
        step, part = divmod(item, len(self.parts))
        rows = self.pick(step)
        return rows, self.maker.prepare_arrays(rows, self.parts[part], draws_of(self.settings, step))


def _unchanged(item: tuple[np.ndarray, PreparedBatch]) -> tuple[np.ndarray, PreparedBatch]:
    return item  # arrays go through a pipe; tensors would need shared memory, of which containers have little
