"""What the network gets of rows, made ahead by worker processes where images have to be decoded.

All draws follow from the seed and the step, whatever the number of workers. A batch is made in two halves.
`prepare_arrays` takes rows out of memory or videos and draws all that is random; it needs no network and can
run in another process. `make_tensors` does the arithmetic on images, on the device that trains.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.committed_rows import told_rows
from vla_adapter_ros.training.data.augmentation import Draws, augment, draw, resolve_augmentation
from vla_adapter_ros.training.data.samples import Samples
from vla_adapter_ros.training.setting_words import Augmentation, Padding
from vla_adapter_ros.training.settings import FinetuneSettings

_AHEAD = 3  # batches that each worker makes ahead
_MAX_WORKERS = 8
_AT_ONCE = 0.5  # fraction of the samples without a delay, where there are delays
_RESTING = 0.15  # fraction of the delays during which the arm rests


class PreparedBatch(NamedTuple):
    """P rows of a step, C cameras; arrays, which go from process to process through a pipe."""

    images: np.ndarray
    """uint8 (P, C, size, size, 3); not cropped for the official augmentation."""
    draws: dict[str, np.ndarray]
    """Of the augmentation, (P, C) each."""
    ids: np.ndarray
    mask: np.ndarray
    """int64 (P, T), padded on the left."""
    proprio: np.ndarray
    """Normalized, noise included, with what is told of committed rows, float32 (P, state_width)."""
    target: np.ndarray
    """Normalized chunks, from where the network's rows count, float32 (P, H, A)."""
    valid: np.ndarray
    """Chunk rows that count in the loss, bool (P, H)."""
    waypoint: np.ndarray
    """Normalized state in which the gripper closes, float32 (P, S)."""
    before: np.ndarray
    """Whether that lies ahead, bool (P,)."""
    fraction: float
    """Chunk rows of this part that count, as a fraction of those of the whole step."""
    waypoints: int
    """Rows of the whole step in which the gripper's closing lies ahead."""


class Batch(NamedTuple):
    """P rows of a step as tensors on one device; see `PreparedBatch`."""

    ids: Tensor
    mask: Tensor
    pixels: Tensor
    """float32 (P, C, channels, size, size)."""
    proprio: Tensor
    target: Tensor
    valid: Tensor
    waypoint: Tensor
    before: Tensor
    fraction: float
    waypoints: int

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The first arguments of `TrainingModule.forward`."""
        return self.ids, self.mask, self.pixels, self.proprio, self.target


class BatchMaker:
    """Makes batches of rows.

    Args:
        policy: Its preprocessing, tokenizer and statistics.
        samples: The data sets; for the official augmentation their images must be kept without the crop
            (`ImageStore`'s `crop`).
        settings: Augmentation, noise and padding.
    """

    def __init__(self, policy: VlaAdapterPolicy, samples: Samples, settings: FinetuneSettings) -> None:
        self.augmentation = resolve_augmentation(settings.augmentation, policy.config)
        assert policy.tokenizer.pad_id is not None
        self._pixel_values, self._pad = policy.pixel_values, policy.tokenizer.pad_id
        self._samples, self._settings, self._horizon = samples, settings, policy.config.chunk
        self._cameras, self._most_delay = policy.config.num_images, policy.config.max_delay_rows
        self._told = policy.config.committed_rows
        self._foreseen = np.array(samples.contract.foreseen_state)
        used = np.unique(samples.task).tolist()
        policy.tokenize([samples.tasks[n] for n in used])  # none is empty or too long
        self._ids = {n: policy.tokenizer.ids(samples.tasks[n]) for n in used}
        self._state = policy.normalize_proprio(samples.state).astype(np.float32)
        self._action = policy.normalize_actions(samples.action).astype(np.float32)
        self._origin = policy.row_origin(samples.state).astype(np.float32)

    def __getstate__(self) -> dict[str, object]:
        """In another process only the first half is made, which needs no preprocessing."""
        return {**self.__dict__, "_pixel_values": None}

    def prepare_arrays(
        self, rows: np.ndarray, part: slice = slice(None), generator: torch.Generator | None = None
    ) -> PreparedBatch:
        """The first half.

        Args:
            rows: Rows of the whole step, int64 (B,).
            part: Which of them to make, P in number. What is drawn for a row does not depend on it: draws
                are made for the whole step.
            generator: Draws come from it; None: nothing is random, and images are as the policy sees them
                when it runs.
        """
        settings, samples = self._settings, self._samples
        official = self.augmentation == Augmentation.OFFICIAL and generator is not None
        draws: Draws = {}
        noise = np.float32(0)
        if generator is not None:
            draws = draw(
                self.augmentation, len(rows), self._cameras, generator, gain=settings.gain,
                offset=settings.offset,
            )  # fmt: skip
            drawn = torch.randn(len(rows), self._state.shape[1], generator=generator)[part]
            noise = (settings.state_noise * drawn).numpy()
        delays, resting = self._delays(len(rows), generator)
        later = np.minimum(rows + np.where(resting, 0, delays), samples.until[rows])
        told = self._tell(rows, delays, resting)[part]
        counts = samples.inside(later, self._horizon)
        if settings.padding != Padding.MASK:
            counts[:] = True
        waypoints = int((samples.waypoint[rows] >= 0).sum())
        rows, later, valid = rows[part], later[part], counts[part]
        state = np.where(self._foreseen, self._state[later], self._state[rows])
        ids = [self._ids[task] for task in samples.task[rows].tolist()]
        length = max(map(len, ids))
        ahead = samples.waypoint[rows]
        after = np.minimum(later[:, None] + np.arange(self._horizon), samples.until[rows][:, None])
        return PreparedBatch(
            images=samples.images.uncropped(rows) if official else samples.images[rows],
            draws={name: values[part].numpy() for name, values in draws.items()},
            ids=np.array([[self._pad] * (length - len(row)) + row for row in ids], dtype=np.int64),
            mask=np.array([[0] * (length - len(row)) + [1] * len(row) for row in ids], dtype=np.int64),
            proprio=np.concatenate([state + noise, told], axis=1),
            target=self._action[after] - self._origin[later][:, None],
            valid=valid,
            waypoint=self._state[ahead],
            before=ahead >= 0,
            fraction=float(valid.sum() / counts.sum()),
            waypoints=waypoints,
        )

    def _delays(self, count: int, generator: torch.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """How many rows after its image the chunk of each sample begins, int64 (B,); none in validation.

        And whether the arm rests where it is until then, bool (B,), as it does before its first chunk.
        """
        most = self._most_delay
        if generator is None or most == 0:
            return np.zeros(count, np.int64), np.zeros(count, bool)
        late = torch.rand(count, generator=generator) >= _AT_ONCE
        delays = torch.randint(1, most + 1, (count,), generator=generator) * late
        resting = torch.rand(count, generator=generator) < _RESTING
        return delays.numpy(), (resting & late).numpy()

    def _tell(self, rows: np.ndarray, delays: np.ndarray, resting: np.ndarray) -> np.ndarray:
        """What the network is told of the rows before each chunk, float32 (B, state_width - S)."""
        if not self._told:
            return np.zeros((len(rows), 0), np.float32)
        samples, back = self._samples, np.arange(self._most_delay)
        at = rows[:, None] + delays[:, None] - 1 - back
        # The arm rests where the command before the image has brought it.
        rest = np.maximum(rows - 1, samples.first[rows])[:, None]
        at = np.where(resting[:, None], rest, np.minimum(at, samples.until[rows][:, None]))
        return told_rows(self._action[at], back < delays[:, None])

    def make_tensors(self, prepared: PreparedBatch, device: torch.device | str = "cpu") -> Batch:
        """The second half: everything on the device, images augmented and turned into pixel values."""

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(device)

        draws = {name: tensor(values) for name, values in prepared.draws.items()}
        name = self.augmentation if draws else Augmentation.NONE
        return Batch(
            ids=tensor(prepared.ids),
            mask=tensor(prepared.mask),
            pixels=self._pixel_values(augment(name, tensor(prepared.images), draws)),
            proprio=tensor(prepared.proprio),
            target=tensor(prepared.target),
            valid=tensor(prepared.valid),
            waypoint=tensor(prepared.waypoint),
            before=tensor(prepared.before),
            fraction=prepared.fraction,
            waypoints=prepared.waypoints,
        )


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
        work, sampler=order, batch_size=None, num_workers=workers, collate_fn=_unchanged,  # type: ignore[arg-type]
        prefetch_factor=_AHEAD if workers else None,
    )  # fmt: skip
    for rows, prepared in loader:
        yield Loaded(rows, maker.make_tensors(prepared, device))


class _Work(Dataset[tuple[np.ndarray, PreparedBatch]]):
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
