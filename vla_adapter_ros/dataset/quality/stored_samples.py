"""An episode of a data set on disk as samples: what was recorded of it, and what is only made up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.info_json import names_of
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.quality.samples import Samples

GRID_S = 1e-3  # timestamps this far from row / fps are no longer rounding [s]


def samples_of(
    dataset: Dataset,
    rows: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
    looked: np.ndarray | None = None,
) -> Samples:
    """What the checks of an episode need, from its rows.

    Args:
        dataset: The data set.
        rows: Columns of the episode.
        images: Camera -> measured images, as of `ImageMeter`.
        looked: Rows whose images were looked at; None: all.

    Returns:
        Stamps and ages are None, or their stream is left out, where they were not recorded: where there is
        no column, where it holds NaN throughout, or where all ages are 0 and all times are row / rate from 0,
        as imports once wrote them.
    """
    count = len(rows["frame_index"])
    values, names = {}, {}
    for feature in (layout.STATE, layout.ACTION):
        column = rows.get(feature, np.empty((count, 0)))
        values[feature] = np.asarray(column, dtype=np.float64).reshape(count, -1)
        known = dataset.features.get(feature)
        names[feature] = names_of(known, feature) if known else ()
    grid = np.arange(count) / dataset.fps
    ages, streams = _known_ages(dataset, rows, count)
    stamps = _known_column(rows.get(layout.STAMP), count)
    made_up = stamps is None or np.abs(stamps - grid).max() < 1e-6
    if ages is None or (made_up and not np.nan_to_num(ages).any()):
        ages, streams = None, ()
        stamps = None if made_up else stamps
    if stamps is None and np.abs(rows["timestamp"] - grid).max() > GRID_S:
        stamps = np.asarray(rows["timestamp"], dtype=np.float64)  # some formats keep real times there
    sources = rows.get(layout.CONTROL_SOURCE)
    return Samples(
        dataset.fps,
        values[layout.STATE],
        values[layout.ACTION],
        names[layout.STATE],
        names[layout.ACTION],
        stamps,
        ages,
        streams,
        images,
        looked,
        sources=None if sources is None else np.asarray(sources).reshape(count),
    )


def _known_column(column: np.ndarray | None, count: int) -> np.ndarray | None:
    """A column of numbers, float64 (T,), or None where it is not there or holds a NaN."""
    if column is None or column.dtype.kind not in "iuf":
        return None
    plain = np.asarray(column, dtype=np.float64).reshape(count)
    return plain if np.isfinite(plain).all() else None


def _known_ages(
    dataset: Dataset, rows: Mapping[str, np.ndarray], count: int
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Ages of the streams that have some, float64 (T, N) [s], and their names."""
    column = rows.get(layout.AGE)
    if column is None or column.dtype.kind not in "iuf":
        return None, ()
    ages = np.asarray(column, dtype=np.float64).reshape(count, -1)
    names = names_of(dataset.features[layout.AGE], "stream") if layout.AGE in dataset.features else ()
    if len(names) != ages.shape[1]:
        names = tuple(f"stream{n}" for n in range(ages.shape[1]))
    known = np.isfinite(ages).any(axis=0)
    if not known.any():
        return None, ()
    return ages[:, known], tuple(np.array(names)[known].tolist())
