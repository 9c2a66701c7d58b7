"""Exact statistics of a data set's columns, and those of its images from histograms.

Formulas as LeRobot v3.0 stores them: population standard deviation, linear
interpolation between neighbors for quantiles, images scaled to [0, 1].
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.dataset.depth import CODES, DepthCoding

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_IMAGE_WIDTH = 150  # images are thinned to about this width before they are counted


def column_statistics(values: np.ndarray) -> dict[str, list[Any]]:
    """Statistics of a column (N, D), N >= 1: min, max, mean, std, count and quantiles, (D,) each.

    min and max of whole numbers stay whole numbers, true counts as 1.0; count is (1,). NaN means unknown and
    is left out; a value that is unknown in all rows has statistics of 0.
    """
    columns = values.reshape(len(values), -1)
    if columns.dtype.kind == "b":
        columns = columns.astype(np.float64)
    if columns.dtype.kind == "f" and np.isnan(columns).any():
        return _known_statistics(columns)
    floats = columns.astype(np.float64)
    statistics: dict[str, list[Any]] = {
        "min": columns.min(axis=0).tolist(),
        "max": columns.max(axis=0).tolist(),
        "mean": floats.mean(axis=0).tolist(),
        "std": floats.std(axis=0).tolist(),
        "count": [len(columns)],
    }
    quantiles = np.quantile(floats, list(QUANTILES.values()), axis=0)
    statistics.update((name, row.tolist()) for name, row in zip(QUANTILES, quantiles, strict=True))
    return statistics


def _known_statistics(columns: np.ndarray) -> dict[str, list[Any]]:
    """As `column_statistics`, of columns (N, D) that are unknown in some rows."""
    parts = []
    for column in columns.T:
        known = column[~np.isnan(column)]
        parts.append(column_statistics(known if len(known) else np.zeros(1)))
    joined = {name: [part[name][0] for part in parts] for name in parts[0]}
    return joined | {"count": [len(columns)]}


def empty_histogram(depth: bool) -> np.ndarray:
    """Counts of no image: int64 (3, 256) of colors, (1, 4096) of depth."""
    return np.zeros((1, CODES) if depth else (3, 256), dtype=np.int64)


def image_histogram(image: np.ndarray) -> np.ndarray:
    """Count the values of an image.

    Returns:
        int64 (3, 256) of uint8 (H, W, 3), per channel; int64 (1, 4096) of depth, uint16 (H, W) [mm], by code.
    """
    step = max(1, image.shape[1] // _IMAGE_WIDTH)
    if image.ndim == 2:
        codes = DepthCoding().encode(image[::step, ::step])
        return np.bincount(codes.ravel(), minlength=CODES)[np.newaxis].astype(np.int64)
    thinned = np.ascontiguousarray(image[::step, ::step])
    # OpenCV 4 gives (256, 1), OpenCV 5 (256,).
    counts = [cv2.calcHist([thinned], [channel], None, [256], [0, 256]).ravel() for channel in range(3)]
    return np.stack(counts).astype(np.int64)


def exact_statistics(dataset: Any) -> dict[str, dict[str, list[Any]]]:
    """Statistics of the columns of numbers that all episodes of an open data set have."""
    parts = [dataset.rows(episode.index) for episode in dataset.episodes]
    return {
        name: column_statistics(np.concatenate([rows[name] for rows in parts]))
        for name in (parts[0] if parts else ())
        if all(name in rows and rows[name].dtype.kind in "iuf" for rows in parts)
    }


def histogram_statistics(histogram: np.ndarray, frames: int) -> dict[str, list[Any]]:
    """Statistics of a camera over `frames` images, (C, 1, 1) each, of its histogram.

    Colors, (3, 256), in [0, 1]; depth, (1, 4096), in mm.
    """
    channels, count = histogram.shape
    levels = DepthCoding().levels.astype(np.float64) if count == CODES else np.arange(256) / 255.0
    fraction = histogram / histogram.sum(axis=1, keepdims=True)
    mean = fraction @ levels
    variance = fraction @ levels**2 - mean**2
    cumulative = np.cumsum(fraction, axis=1)
    used = histogram > 0
    values = {
        "min": levels[used.argmax(axis=1)],
        "max": levels[count - 1 - used[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(variance, 0.0)),
    }
    for name, q in QUANTILES.items():
        # Rounding may leave the last sum just below 1.
        values[name] = levels[np.minimum((cumulative < q - 1e-12).sum(axis=1), count - 1)]
    statistics: dict[str, list[Any]] = {key: v.reshape(channels, 1, 1).tolist() for key, v in values.items()}
    statistics["count"] = [frames]
    return statistics
