"""Measures images: a few numbers, taken from a thinned copy, stay of each.

While recording nothing has to be decoded: each image is measured when it comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from vla_adapter_ros.dataset.quality.settings import QualitySettings

CHANGE, MEAN, BRIGHTEST, SATURATED = range(4)  # columns of measured images
_THINNED_WIDTH = 64  # images are thinned to at most this width before they are measured
_BLOCKS = 8  # an image is summed up in 8 x 8 blocks


def summarize_image(image: np.ndarray, saturated_level: float = 250.0) -> tuple[np.ndarray, float]:
    """Sum up an image, uint8 (H, W, 3).

    Returns:
        Mean level of 8 x 8 blocks and 3 channels, float32 (8, 8, 3) (fewer blocks in images of less than
        8 pixels), and the fraction of values that are saturated.
    """
    step = max(1, -(-image.shape[1] // _THINNED_WIDTH))
    thinned = image[::step, ::step]
    rows, columns = min(_BLOCKS, thinned.shape[0]), min(_BLOCKS, thinned.shape[1])
    height, width = thinned.shape[0] // rows, thinned.shape[1] // columns
    values = thinned[: rows * height, : columns * width].astype(np.float32)
    # Two sums over one axis each are several times faster than one mean over two.
    blocks = values.reshape(rows, height, columns * width * 3).sum(axis=1)
    blocks = blocks.reshape(rows, columns, width, 3).sum(axis=2) / (height * width)
    return blocks, np.count_nonzero(values >= saturated_level) / values.size


def measure_image(blocks: np.ndarray, saturated: float, before: np.ndarray | None) -> np.ndarray:
    """Four numbers that stay of an image: float64 (4,).

    Largest change of a block since the image before (inf without one), mean level, level of the
    brightest block, fraction of saturated values. Arguments as `summarize_image` returns them.
    """
    change = math.inf if before is None else float(np.abs(blocks - before).max())
    return np.array([change, float(blocks.mean()), float(blocks.max()), saturated])


class ImageMeter:
    """Measures the images of one camera, one after the other.

    Attributes:
        measurements: Four numbers of each image, as of `measure_image`.
    """

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings
        self._before: np.ndarray | None = None
        self._sum: np.ndarray | None = None
        self.measurements: list[np.ndarray] = []

    def add_image(self, image: np.ndarray) -> None:
        """Measure the next image, uint8 (H, W, 3)."""
        blocks, saturated = summarize_image(image, self._settings.saturated_level)
        if self._before is not None and self._before.shape != blocks.shape:
            self._before = self._sum = None
        self.measurements.append(measure_image(blocks, saturated, self._before))
        self._before = blocks
        self._sum = blocks if self._sum is None else self._sum + blocks

    def forget_image(self) -> None:
        """Forget the image before: the next one does not follow it."""
        self._before = None

    @property
    def measured(self) -> np.ndarray:
        """Four numbers of each image, float64 (M, 4)."""
        return np.array(self.measurements).reshape(-1, 4)

    @property
    def mean_image(self) -> np.ndarray | None:
        """Mean of all images, in blocks: float32 (8, 8, 3); None without images."""
        return None if self._sum is None else self._sum / max(len(self.measurements), 1)


def measure_images(images: Iterable[np.ndarray], settings: QualitySettings) -> np.ndarray:
    """Measure images one after the other, uint8 (H, W, 3) each: float64 (M, 4)."""
    meter = ImageMeter(settings)
    for image in images:
        meter.add_image(image)
    return meter.measured
