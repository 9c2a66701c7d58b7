"""An episode that is complete but not in the data set yet, and what the tables of the data set say of it.

`EpisodeBuffer` gives one that was recorded, `DatasetImporter` makes one that was copied; `DatasetStore` saves
both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import column_statistics, histogram_statistics
from vla_adapter_ros.dataset.outcome import INTERVENTION, SUCCESS, intervention_rows, success_rows
from vla_adapter_ros.dataset.video import count_frames
from vla_adapter_ros.errors import RecordingError


@dataclass(frozen=True)
class FinishedEpisode:
    """An episode of T rows, all of it written or in memory.

    Attributes:
        tasks: Instruction of each row, T texts.
        columns: What was recorded: state (T, S), action (T, A), ages (T, streams), stamps and control sources
            (T,); of a copy also which rows are interventions (T,). The columns of numbers that a data set
            counts itself are not among them.
        videos: Camera -> finished file with T images, still under its temporary name.
        histograms: Camera -> counts over its images, as of `image_histogram`.
        encode_cpu_s: Processor time that encoding took [s], all cameras together.
        finish_s: Time that it took to encode what still waited when the episode ended [s].
    """

    tasks: list[str]
    columns: Mapping[str, np.ndarray]
    videos: Mapping[str, Path]
    histograms: Mapping[str, np.ndarray]
    encode_cpu_s: float = 0.0
    finish_s: float = 0.0

    @property
    def length(self) -> int:
        """Number of rows."""
        return len(self.tasks)

    @property
    def different_tasks(self) -> tuple[str, ...]:
        """Its instructions, each once, in the order in which they were given."""
        return tuple(dict.fromkeys(self.tasks))

    def require_images(self) -> None:
        """Count the images in the videos.

        Raises:
            RecordingError: a video has not one image per row.
            DatasetError: a video cannot be read.
        """
        for path in self.videos.values():
            if (count := count_frames(path)) != self.length:
                raise RecordingError(f"{path}: {count} images but {self.length} rows")


@dataclass(frozen=True)
class EpisodePlace:
    """Where an episode stands in its data set.

    Attributes:
        episode: Its number, from 0.
        first_row: Number of its first row in the data set.
        file: Number of the files that hold it.
        fps: Rows per second [Hz].
    """

    episode: int
    first_row: int
    file: int
    fps: int


@dataclass(frozen=True)
class EpisodeSummary:
    """What was saved.

    Attributes:
        index: Number of the episode, from 0.
        frames: Number of rows.
        tasks: What was to be done, one instruction after the other.
        duration_s: From the first to the last frame, by their stamps [s].
        rate_hz: True rate by the stamps [Hz], whatever the contract says; NaN for one frame.
        encode_cpu_s: Processor time that encoding took [s], all cameras together.
    """

    index: int
    frames: int
    tasks: tuple[str, ...]
    duration_s: float
    rate_hz: float
    encode_cpu_s: float = 0.0

    @property
    def task(self) -> str:
        """What was to be done at first."""
        return self.tasks[0]


@dataclass(frozen=True)
class EpisodeContent:
    """What is stored of an episode beside its videos.

    Attributes:
        columns: All its columns, (T, D) or (T,), in the types in which they are stored.
        rows: Content of its data file.
        facts: Content of its file in meta/episodes: place, instructions and statistics.
        summary: What is said of it.
    """

    columns: dict[str, np.ndarray]
    rows: pa.Table
    facts: pa.Table
    summary: EpisodeSummary


def content_of(
    episode: FinishedEpisode,
    place: EpisodePlace,
    tasks: list[str],
    features: layout.Features,
    outcome: Outcome | None = None,
) -> EpisodeContent:
    """All that is stored of an episode beside its videos.

    Args:
        episode: What was recorded.
        place: Where it stands in the data set.
        tasks: Instructions of the data set in the order of their task_index; its own are among them.
        features: Declares the columns.
        outcome: How it ended; None: nobody said so.

    Raises:
        RecordingError: a video has not one image per row.
        DatasetError: a video cannot be read.
    """
    episode.require_images()
    frame_index = np.arange(episode.length)
    number_of = {task: number for number, task in enumerate(tasks)}
    values = {
        INTERVENTION: intervention_rows(episode.columns[layout.CONTROL_SOURCE]),
        SUCCESS: success_rows(episode.length, outcome),
        **episode.columns,
        "timestamp": frame_index / place.fps,
        "frame_index": frame_index,
        "episode_index": np.full(episode.length, place.episode),
        "index": place.first_row + frame_index,
        "task_index": np.array([number_of[task] for task in episode.tasks]),
    }
    known = {name: column for name, column in values.items() if name in features}
    columns = {name: column.astype(features[name]["dtype"]) for name, column in known.items()}
    schema = layout.data_schema(features)
    rows = pa.table([_array(columns[field.name], field.type) for field in schema], schema=schema)
    facts = _facts_table(episode, place, columns, features)
    return EpisodeContent(columns, rows, facts, _summarize(episode, place))


def _summarize(episode: FinishedEpisode, place: EpisodePlace) -> EpisodeSummary:
    stamps = episode.columns[layout.STAMP]
    if not np.isfinite(stamps).all():  # an import of rows whose real times nobody knows
        stamps = np.arange(episode.length) / place.fps
    duration = float(stamps[-1] - stamps[0])
    rate = (len(stamps) - 1) / duration if len(stamps) > 1 else math.nan
    return EpisodeSummary(
        place.episode, episode.length, episode.different_tasks, duration, rate, episode.encode_cpu_s
    )


def _facts_table(
    episode: FinishedEpisode,
    place: EpisodePlace,
    columns: Mapping[str, np.ndarray],
    features: layout.Features,
) -> pa.Table:
    numbers, length = layout.locate(place.file), episode.length
    row: dict[str, Any] = {
        "episode_index": place.episode,
        "tasks": list(episode.different_tasks),
        "length": length,
    }
    row |= {f"data/{key}": value for key, value in numbers.items()}
    row |= {"dataset_from_index": place.first_row, "dataset_to_index": place.first_row + length}
    for camera in episode.videos:
        key = layout.image_key(camera)
        row |= {f"videos/{key}/{name}": value for name, value in numbers.items()}
        row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": length / place.fps}
    statistics = {name: column_statistics(columns[name]) for name in layout.numeric_features(features)}
    for camera, histogram in episode.histograms.items():
        statistics[layout.image_key(camera)] = histogram_statistics(histogram, length)
    for feature, values in statistics.items():
        row |= {f"stats/{feature}/{name}": value for name, value in values.items()}
    row |= {f"meta/episodes/{key}": value for key, value in numbers.items()}
    return layout.episode_table(row, features)


def _array(column: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Column (T,) or (T, D) as an arrow array of the wanted type."""
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel(), kind.value_type), kind.list_size)
    return pa.array(column.ravel(), kind)
