"""What the network gets of rows. All draws follow from the seed and the step.

A batch is made in two halves. `prepare_arrays` takes rows out of memory or videos and draws all that is
random; it needs no network and can run in another process. `make_tensors` does the arithmetic on images, on
the device that trains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.preprocessing import Preprocessor
from vla_adapter_ros.training.augmentation import (
    Draws,
    augment,
    draw,
    evaluation_preprocessing,
    resolve_augmentation,
)
from vla_adapter_ros.training.data import Samples
from vla_adapter_ros.training.images import ImageStore
from vla_adapter_ros.training.settings import Augmentation, FinetuneSettings, Padding
from vla_adapter_ros.training.sources import OpenSource


def prepare_preprocessing(policy: VlaAdapterPolicy, settings: FinetuneSettings) -> VlaAdapterPolicy:
    """The policy with the preprocessing that it needs after training with the settings' augmentation."""
    config = policy.config
    name = resolve_augmentation(settings.augmentation, config)
    preprocessing = evaluation_preprocessing(name, config.preprocessing)
    if preprocessing == config.preprocessing:
        return policy
    return VlaAdapterPolicy(
        policy.network, dataclasses.replace(config, preprocessing=preprocessing), policy.tokenizer,
        policy.statistics, policy.contract, kept_files=policy.kept_files,
    )  # fmt: skip


def training_images(
    sources: Sequence[OpenSource],
    contract: Contract,
    policy: VlaAdapterPolicy,
    settings: FinetuneSettings,
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImageStore:
    """Images of data sets for training a policy that `prepare_preprocessing` gave; see `ImageStore`."""
    preprocessing = policy.config.preprocessing
    crop = 1.0
    if resolve_augmentation(settings.augmentation, policy.config) == Augmentation.OFFICIAL:
        crop = preprocessing.center_crop  # left to later: random crops need the whole image
        preprocessing = dataclasses.replace(preprocessing, center_crop=1.0)
    return ImageStore(
        [source.data for source in sources], contract.camera_names, Preprocessor(preprocessing).resize,
        preprocessing.size, crop=crop, limit=limit, progress=progress,
    )  # fmt: skip


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
    """Normalized, noise included, float32 (P, S)."""
    target: np.ndarray
    """Normalized chunks, float32 (P, H, A)."""
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
        self._pixel_values, self._pad = policy.pixel_values, policy.tokenizer.pad_id
        self._samples, self._settings, self._horizon = samples, settings, policy.config.chunk
        self._cameras = policy.config.num_images
        used = np.unique(samples.task).tolist()
        policy.tokenize([samples.tasks[n] for n in used])  # none is empty or too long
        self._ids = {n: policy.tokenizer.ids(samples.tasks[n]) for n in used}
        self._state = policy.normalize_proprio(samples.state).astype(np.float32)
        self._action = policy.normalize_actions(samples.action).astype(np.float32)

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
        counts = samples.inside(rows, self._horizon)
        if settings.padding != Padding.MASK:
            counts[:] = True
        waypoints = int((samples.waypoint[rows] >= 0).sum())
        rows, valid = rows[part], counts[part]
        ids = [self._ids[task] for task in samples.task[rows].tolist()]
        length = max(map(len, ids))
        ahead = samples.waypoint[rows]
        after = np.minimum(rows[:, None] + np.arange(self._horizon), samples.until[rows][:, None])
        return PreparedBatch(
            images=samples.images.uncropped(rows) if official else samples.images[rows],
            draws={name: values[part].numpy() for name, values in draws.items()},
            ids=np.array([[self._pad] * (length - len(row)) + row for row in ids], dtype=np.int64),
            mask=np.array([[0] * (length - len(row)) + [1] * len(row) for row in ids], dtype=np.int64),
            proprio=self._state[rows] + noise,
            target=self._action[after],
            valid=valid,
            waypoint=self._state[ahead],
            before=ahead >= 0,
            fraction=float(valid.sum() / counts.sum()),
            waypoints=waypoints,
        )

    def make_tensors(self, prepared: PreparedBatch, device: torch.device | str = "cpu") -> Batch:
        """The second half: everything on the device, images augmented and turned into pixel values."""

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(device)

        draws = {name: tensor(values) for name, values in prepared.draws.items()}
        name = self.augmentation if draws else Augmentation.NONE
        pixels = self._pixel_values(augment(name, tensor(prepared.images), draws))
        ids, mask, *others = (tensor(values) for values in prepared[2:-2])
        return Batch(ids, mask, pixels, *others, prepared.fraction, prepared.waypoints)
