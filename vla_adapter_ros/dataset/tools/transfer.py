"""Brings episodes of one data set into another: columns by name, videos copied where that is possible."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros import files
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.depth import DepthCoding, coding_of
from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.remux import CODECS, copy_video, video_codec
from vla_adapter_ros.dataset.statistics import image_histogram
from vla_adapter_ros.dataset.video import VideoEncoder, count_frames
from vla_adapter_ros.dataset.writer import DatasetWriter, EpisodeSummary
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.observation.frame import FLOAT32_MAX, fits_float32
from vla_adapter_ros.texts import visible
from vla_adapter_ros.untrusted import leaves

_GRID_TOLERANCE_S = 1e-3  # LeRobot's own times are float32 and stand on the grid of the rate


@dataclass(frozen=True)
class Transfer:
    """What became of an episode.

    Attributes:
        summary: The new episode.
        encoded_again: Camera -> why its video could not be copied; empty: all were.
        timing: What is to be said about its times; empty: nothing.
    """

    summary: EpisodeSummary
    encoded_again: dict[str, str]
    timing: str

    @property
    def remarks(self) -> list[str]:
        """What is to be said of its videos and its tasks."""
        return [
            *(f"{camera} encoded again: {reason}" for camera, reason in self.encoded_again.items()),
            *describe_tasks(self.summary.tasks),
        ]


class EpisodeCopy:
    """An episode of another data set that `DatasetWriter.commit` takes as it takes one that was recorded.

    Args:
        tasks: What was to be done in each row, T sentences.
        columns: Columns that are recorded, (T, D) or (T,).
        videos: Camera -> finished video, T images each.
        histograms: Camera -> counts, as of `image_histogram`.
    """

    encode_cpu_s = 0.0

    def __init__(
        self,
        tasks: list[str],
        columns: dict[str, np.ndarray],
        videos: dict[str, Path],
        histograms: dict[str, np.ndarray],
    ) -> None:
        self.tasks, self.videos = tasks, videos
        self.rows = range(len(columns[layout.STAMP]))
        self._columns, self._histograms = columns, histograms

    def finish_camera(self, camera: str, histogram: np.ndarray) -> None:
        """Note that a camera's video is complete."""
        self._histograms[camera] = histogram

    def finish(self) -> dict[str, np.ndarray]:
        """Camera -> histogram.

        Raises:
            DatasetError: images and rows differ in number.
        """
        for path in self.videos.values():
            if count_frames(path) != len(self.rows):
                raise DatasetError(f"{path}: {count_frames(path)} images but {len(self.rows)} rows")
        return self._histograms

    def columns(self) -> dict[str, np.ndarray]:
        """What was recorded, as columns."""
        return self._columns

    def discard(self) -> None:
        """Remove the videos."""
        for path in self.videos.values():
            path.unlink(missing_ok=True)


class DatasetImporter(DatasetWriter):
    """A data set that takes in episodes of others.

    Args:
        root: Its folder: new, empty, or a data set of the same contract.
        contract: Names, order, units, sizes and rate that all episodes have.
        codec: For videos that cannot be copied.
        copied: Whether videos are mostly copies, so that nothing is to be said about an encoder.
        crf, gop: Of videos that cannot be copied.

    Raises:
        As `DatasetWriter`.
    """

    def __init__(
        self,
        root: str | Path,
        contract: Contract,
        *,
        codec: str = "h264",
        copied: bool = True,
        crf: int = 18,
        gop: int = 10,
    ) -> None:
        super().__init__(root, contract, codec=codec, crf=crf, gop=gop)
        if copied:
            for camera in contract.cameras:
                info = self._features[layout.image_key(camera)]["info"]
                for name in ("video.g", "video.crf", "video.preset"):
                    info.pop(name)

    def receive(
        self,
        dataset: Dataset,
        episode: int,
        rows: range | None = None,
        *,
        task: str = "",
        control_source: int = layout.HUMAN,
        notes: Mapping[str, Any] | None = None,
    ) -> Transfer:
        """Take in an episode; when this returns, it is on disk for good.

        Args:
            dataset: With the names of this one's contract.
            episode: Its number there.
            rows: Which of its rows, without gaps; all if None.
            task: What was to be done; as the data set says of each row if empty.
            control_source: For data sets that do not say who was in control.
            notes: Facts to keep, as plain JSON values.

        Raises:
            DatasetError: the episode does not fit, or is damaged. Nothing of it is kept.
            RecordingError: it could not be written.
        """
        facts = dataset.episodes[episode]
        rows = range(facts.length) if rows is None else rows
        if not (len(rows) and 0 <= rows.start and rows.stop <= facts.length and rows.step == 1):
            raise DatasetError(
                f"{dataset.root}: rows {rows} of episode {facts.number}: it has {facts.length}"
            )
        for path in (facts.data, *(part.path for part in facts.videos.values())):
            if leaves(path, dataset.root):
                raise DatasetError(f"{path} is a link out of the data set: links are not followed")
        columns, timing = self._take_columns(dataset, episode, rows, control_source)
        given = [task] * len(rows) if task else dataset.row_tasks(episode)[rows.start : rows.stop]
        tasks = [visible(text) for text in given]
        if not all(tasks):
            raise DatasetError(
                f"{dataset.root}: episode {facts.number} has no task in row {rows[tasks.index('')]}: allowed "
                "is a text that can be read"
            )
        copy = EpisodeCopy(tasks, columns, {}, {})
        self._require_same()
        reasons: dict[str, str] = {}
        try:
            for camera in self._contract.recorded_cameras:
                path = files.temporary_path(layout.video_file(self.root, camera, self._totals.next_file))
                self._list_unfinished([path])
                path.parent.mkdir(parents=True, exist_ok=True)
                copy.videos[camera] = path
                reason, histogram = self._take_video(dataset, camera, episode, rows, path)
                copy.finish_camera(camera, histogram)
                if reason:
                    reasons[camera] = reason
        except BaseException:
            self.discard(copy)
            raise
        given = {
            "source": f"{dataset.root.name}, episode {facts.number}, rows {rows.start} to {rows.stop - 1}"
        }
        given |= {"timing": timing} if timing else {}
        return Transfer(self.commit(copy, given | dict(notes or {})), reasons, timing)

    def _take_columns(
        self, dataset: Dataset, episode: int, rows: range, control_source: int
    ) -> tuple[dict[str, np.ndarray], str]:
        theirs = {name: column[rows.start : rows.stop] for name, column in dataset.rows(episode).items()}
        episode = dataset.episodes[episode].number  # as messages call it
        columns = {}
        ours = {layout.STATE: self._contract.state_names, layout.ACTION: self._contract.action_names}
        for name, names in ours.items():
            if name not in theirs:
                raise DatasetError(f"{dataset.root}: no column {name}; it has {sorted(theirs)}")
            values = theirs[name].reshape(len(rows), -1).astype(np.float64)
            if values.shape[1] != len(names) or not fits_float32(values):
                bad = int((~(np.abs(values) <= FLOAT32_MAX)).sum())
                raise DatasetError(
                    f"{dataset.root}: {name} of episode {episode}: {values.shape[1]} values, "
                    f"{bad} not finite as float32: allowed are {len(names)} finite ones"
                )
            columns[name] = values
        stamps, timing = _stamps(theirs, dataset.fps)
        if not np.isnan(stamps).all() and not (np.diff(stamps) > 0).all():
            raise DatasetError(f"{dataset.root}: times of episode {episode} run back or stand still")
        columns[layout.STAMP] = stamps
        columns[layout.AGE] = self._ages(dataset, theirs, len(rows))
        source = theirs.get(layout.CONTROL_SOURCE, np.full(len(rows), control_source))
        if not np.isin(source, list(layout.CONTROL_SOURCES)).all():
            raise DatasetError(
                f"{dataset.root}: {layout.CONTROL_SOURCE} of episode {episode}: allowed are "
                f"{layout.CONTROL_SOURCES}"
            )
        columns[layout.CONTROL_SOURCE] = source
        return columns, timing

    def _ages(self, dataset: Dataset, theirs: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Ages by stream, (T, streams); NaN where they were not recorded."""
        names = layout.stream_names(self._contract)
        ages = np.full((count, len(names)), np.nan)
        known = dataset.features.get(layout.AGE, {}).get("names") or []
        for column, name in enumerate(names):
            if layout.AGE in theirs and name in known:
                ages[:, column] = theirs[layout.AGE].reshape(count, -1)[:, known.index(name)]
        return ages

    def _take_video(
        self, dataset: Dataset, camera: str, episode: int, rows: range, path: Path
    ) -> tuple[str, np.ndarray]:
        """Copy or encode a camera's images; returns why it was encoded, and the histogram."""
        part = dataset.episodes[episode].videos.get(camera)
        ours = self._contract.recorded_cameras[camera]
        depth = camera in self._contract.depth_cameras
        shape = (ours.height, ours.width) if depth else (ours.height, ours.width, 3)
        reason = dataset.why_changed(camera) if isinstance(dataset, MappedDataset) else ""
        reason = reason or ("it is no video" if part is None else "")
        if depth and coding_of(dataset.features[layout.image_key(camera)]) != DepthCoding():
            reason = "its depth has other codes"
        if part is not None and not reason:
            start = part.start_s + rows.start / dataset.fps
            reason = copy_video(part.path, start, len(rows), self._fps, path, depth=depth)
        images = itertools.islice(dataset.images(camera, episode), rows.start, rows.stop)
        histogram: np.ndarray | int = 0
        encoder = None
        if reason:
            encoder = VideoEncoder(path, self._fps, ours.width, ours.height, self._settings, depth=depth)
        try:
            for image in images:
                if image.shape != shape:
                    raise DatasetError(f"{dataset.root}: camera {camera}: {image.shape}, allowed is {shape}")
                if encoder is None:
                    histogram = histogram + image_histogram(image)
                else:
                    encoder.add(image)
        except BaseException:
            if encoder is not None:
                encoder.cancel()
            raise
        if encoder is not None:
            encoder.finish()
            histogram = encoder.histogram
        return reason, histogram


def usual_codec(dataset: Dataset, contract: Contract) -> str:
    """Codec of a data set's videos, where they can be copied; h264 otherwise."""
    for camera in contract.cameras:
        part = dataset.episodes[0].videos.get(camera) if dataset.episodes else None
        codec = video_codec(part.path) if part is not None else ""
        if codec in CODECS:
            return codec
    return "h264"


def describe_tasks(tasks: tuple[str, ...]) -> list[str]:
    """What is to be said of an episode whose task changes on the way; empty if it does not."""
    return [f"its task changes on the way: {', '.join(map(repr, tasks))}"] if len(tasks) > 1 else []


def describe_timing(stamps: np.ndarray, rate_hz: float) -> str:
    """What is odd about the times (T,) [s] of an episode's rows, in words; empty if nothing is."""
    steps = np.diff(stamps)
    if not len(steps) or not steps.mean() > 0:
        return ""
    rate, late = 1.0 / steps.mean(), int((steps > 1.5 / rate_hz).sum())
    if abs(rate / rate_hz - 1) < 0.02 and steps.min() > 0.75 / rate_hz and not late:
        return ""
    return (
        f"{rate:.2f} Hz instead of {rate_hz:g}, {steps.min() * 1e3:.0f} to {steps.max() * 1e3:.0f} ms "
        f"from row to row, {late} steps longer than {1.5e3 / rate_hz:.0f} ms"
    )


def _stamps(theirs: Mapping[str, np.ndarray], fps: float) -> tuple[np.ndarray, str]:
    """Real times of the rows [s], NaN where they were not recorded, and what is to be said about them."""
    unknown = np.full(len(theirs["timestamp"]), np.nan), "real times were not recorded"
    if layout.STAMP in theirs:
        stamps = theirs[layout.STAMP].astype(np.float64)
        return unknown if np.isnan(stamps).all() else (stamps, describe_timing(stamps, fps))
    stamps = theirs["timestamp"].astype(np.float64)
    grid = (np.arange(len(stamps))) / fps
    if np.abs(stamps - stamps[0] - grid).max() <= _GRID_TOLERANCE_S:
        return unknown
    return stamps, describe_timing(stamps, fps)
