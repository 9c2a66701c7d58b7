"""Images to another size, as torch operators on any device.

Resizing is linear in rows and in columns, so it is two products with matrices that are zero away from their
diagonal. On a CPU they are taken in bands, which leaves most zeros out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

LANCZOS_RADIUS = 3.0
BAND = 8
"""Output rows or columns of one product on a CPU."""

Weights = Callable[[int, int], np.ndarray]


class Band(NamedTuple):
    """Some outputs of a resampling along one axis, and the inputs that they are made of."""

    outputs: slice
    inputs: slice
    weights: Tensor
    """float32 (outputs, inputs)."""


def lanczos(images: Tensor, size: int) -> Tensor:
    """Lanczos-3 with antialiasing in float32, rounded half to even; aspect ratio is not kept.

    Within 1 level of TensorFlow's `resize(..., "lanczos3", antialias=True)` on less than 0.1 % of values.

    Args:
        images: uint8 (B, H, W, C).
        size: Of the result, uint8 (B, size, size, C).
    """
    return _bytes(_resample(images, size, lanczos_weights).round_().clamp_(0, 255))


def area(images: Tensor, size: int) -> Tensor:
    """Average over the area of each output pixel, rounded half to even; shapes as in `lanczos`."""
    sums = _resample(images, size, _area_weights)  # exact: whole numbers below 2**24
    return _bytes(sums.div_(_pixel_counts(*images.shape[1:3], size, images.device)).round_())


def crop_center(images: Tensor, share: float) -> Tensor:
    """Keep the central box of this share of the area and stretch it back, bilinear with aligned corners.

    Float32 in the order of TensorFlow's `crop_and_resize`, so the bytes are equal.

    Args:
        images: uint8 (B, n, n, C).
        share: In (0, 1).

    Returns:
        uint8 (B, n, n, C).
    """
    b, size, _, channels = images.shape
    low, high, weights = _crop_places(size, share, images.device)
    unit = images.reshape(b, size, size * channels).float().mul_(float(np.float32(1 / 255)))
    for axis, step, factor in ((2, channels, weights.repeat_interleave(channels)), (1, 1, weights[:, None])):
        first, second = (_take(unit, axis, places, step) for places in (low, high))
        unit = second.sub_(first).mul_(factor).add_(first)
    # Up to rounding these are in [0, 1]; what is beyond 1 becomes 255 as well.
    return unit.mul_(255.5).clamp_max_(255).to(torch.uint8).view(images.shape)


def _bytes(values: Tensor) -> Tensor:
    return values.to(torch.uint8).contiguous()


def _resample(images: Tensor, size: int, weights: Weights) -> Tensor:
    """uint8 (B, H, W, C) to float32 (B, size, size, C): rows first, as TensorFlow does."""
    b, height, width, channels = images.shape
    band = BAND if images.device.type == "cpu" else size  # a GPU is faster with the zeros
    # The images side by side: one product resizes all of them.
    source = torch.empty(height, b, width * channels, device=images.device)
    for number, image in enumerate(images):
        source[:, number] = image.reshape(height, -1)
    flat = source.view(height, -1)
    tall = flat.new_empty(size, flat.shape[1])
    for outputs, inputs, matrix in _bands(height, size, 1, weights, band, images.device):
        torch.mm(matrix, flat[inputs], out=tall[outputs])
    rows = tall.view(size * b, width * channels)
    small = flat.new_empty(size * b, size * channels)
    for outputs, inputs, matrix in _bands(width, size, channels, weights, band, images.device):
        torch.mm(rows[:, inputs], matrix.T, out=small[:, outputs])
    return small.view(size, b, size, channels).transpose(0, 1)


@lru_cache(maxsize=32)
def _bands(
    before: int, after: int, channels: int, weights: Weights, band: int, device: torch.device
) -> tuple[Band, ...]:
    """The products along an axis of pixels of interleaved channels."""
    matrix, bands = weights(before, after), []
    for start in range(0, after, band):
        part = matrix[start : start + band]
        used = np.flatnonzero(part.any(axis=0))
        first, end = int(used[0]), int(used[-1]) + 1
        spread = np.kron(part[:, first:end], np.eye(channels, dtype=np.float32))
        bands.append(
            Band(
                slice(start * channels, (start + len(part)) * channels),
                slice(first * channels, end * channels),
                torch.from_numpy(spread).to(device),
            )
        )
    return tuple(bands)


def lanczos_weights(before: int, after: int) -> np.ndarray:
    """Weights float32 (after, before): Lanczos-3, half-pixel centers, stretched when shrinking."""
    scale = before / after
    stretch = max(scale, 1.0)
    centers = (np.arange(after)[:, None] + 0.5) * scale
    x = np.abs((np.arange(before)[None, :] + 0.5 - centers) / stretch)
    weights = np.where(x < LANCZOS_RADIUS, np.sinc(x) * np.sinc(x / LANCZOS_RADIUS), 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _area_weights(before: int, after: int) -> np.ndarray:
    """Ones, float32 (after, before), for each input that an output touches."""
    places = np.arange(after)[:, None]
    first, end = places * before // after, -(-(places + 1) * before // after)
    inputs = np.arange(before)[None, :]
    return ((inputs >= first) & (inputs < end)).astype(np.float32)


@lru_cache(maxsize=32)
def _pixel_counts(height: int, width: int, size: int, device: torch.device) -> Tensor:
    """How many pixels each output of `area` averages, float32 (size, size, 1)."""
    counts = [_area_weights(before, size).sum(axis=1) for before in (height, width)]
    return torch.from_numpy(np.outer(*counts)[..., None]).to(device)


@lru_cache(maxsize=32)
def _crop_places(size: int, share: float, device: torch.device) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """Of each output pixel the inputs around it, and how near it is to the second, (size,) each."""
    one = np.float32(1.0)
    side = np.clip(np.sqrt(np.float32(share)), np.float32(0), one)
    start = (one - side) / np.float32(2)
    end = start + side
    step = (end - start) * np.float32(size - 1) / np.float32(size - 1)
    at = start * np.float32(size - 1) + np.arange(size, dtype=np.float32) * step
    low = np.floor(at).astype(int)
    high = np.minimum(np.ceil(at).astype(int), size - 1)
    return low, high, torch.from_numpy((at - low).astype(np.float32)).to(device)


def _take(values: Tensor, axis: int, places: np.ndarray, step: int) -> Tensor:
    """What lies at these places, `step` values each; runs of neighbors are taken together."""
    cuts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    return torch.cat(
        [
            values.narrow(axis, int(places[start]) * step, (end - start) * step)
            for start, end in pairwise(cuts)
        ],
        dim=axis,
    )
