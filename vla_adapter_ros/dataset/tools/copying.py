"""An episode of another data set as it is stored here: columns by name, videos copied or encoded again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.column_statistics import empty_histogram, image_histogram
from vla_adapter_ros.dataset.depth import DepthCoding, coding_of
from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.outcome import INTERVENTION
from vla_adapter_ros.dataset.remux import CODECS, copy_video, video_codec
from vla_adapter_ros.dataset.video import VideoEncoder, VideoSettings
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.observation.frame import FLOAT32_MAX, fits_float32

_GRID_TOLERANCE_S = 1e-3  # LeRobot's own times are float32 and stand on the grid of the rate


def recorded_columns(
    dataset: Dataset, episode: int, rows: range, contract: Contract, control_source: int
) -> tuple[dict[str, np.ndarray], str]:
    """The columns that a recorder would have written of some rows of an episode, and a remark on its times.

    Args:
        dataset: With the names of the contract.
        episode: Its number there.
        rows: Which of its rows.
        contract: Of the new data set.
        control_source: For data sets that do not say who was in control.

    Returns:
        State (T, S) and action (T, A), float64; stamps (T,) [s] and ages (T, streams) [s], NaN where they
        were not recorded; control sources (T,); interventions, bool (T,), where they were recorded. Then what
        is to be said about its times; empty: nothing.

    Raises:
        DatasetError: a column is missing, or holds what the contract does not allow.
    """
    source = {name: column[rows.start : rows.stop] for name, column in dataset.rows(episode).items()}
    number = dataset.episodes[episode].number  # as messages call it
    columns = {}
    wanted = {layout.STATE: contract.state_names, layout.ACTION: contract.action_names}
    for name, names in wanted.items():
        if name not in source:
            raise DatasetError(f"{dataset.root}: no column {name}; it has {sorted(source)}")
        values = source[name].reshape(len(rows), -1).astype(np.float64)
        if values.shape[1] != len(names) or not fits_float32(values):
            bad = int((~(np.abs(values) <= FLOAT32_MAX)).sum())
            raise DatasetError(
                f"{dataset.root}: {name} of episode {number}: {values.shape[1]} values, "
                f"{bad} not finite as float32: allowed are {len(names)} finite ones"
            )
        columns[name] = values
    stamps, timing = _stamps(source, dataset.fps)
    if not np.isnan(stamps).all() and not (np.diff(stamps) > 0).all():
        raise DatasetError(f"{dataset.root}: times of episode {number} run back or stand still")
    columns[layout.STAMP] = stamps
    columns[layout.AGE] = _ages(dataset, source, contract, len(rows))
    leaders = source.get(layout.CONTROL_SOURCE, np.full(len(rows), control_source))
    if not np.isin(leaders, list(layout.CONTROL_SOURCES)).all():
        raise DatasetError(
            f"{dataset.root}: {layout.CONTROL_SOURCE} of episode {number}: allowed are "
            f"{layout.CONTROL_SOURCES}"
        )
    columns[layout.CONTROL_SOURCE] = leaders
    if INTERVENTION in source:
        columns[INTERVENTION] = source[INTERVENTION].astype(bool)
    return columns, timing


def write_video(
    dataset: Dataset,
    camera: str,
    episode: int,
    rows: range,
    path: Path,
    contract: Contract,
    settings: VideoSettings,
) -> tuple[str, np.ndarray]:
    """Copy a camera's images as they are encoded or, where that cannot be, encode them again.

    Args:
        dataset: With the names of the contract.
        camera: Which of the contract's.
        episode: Its number there.
        rows: Which of its images.
        path: File to write.
        contract: Sizes and rate.
        settings: For images that are encoded again.

    Returns:
        Why they were encoded again, in words, empty if they were copied; and their histogram.

    Raises:
        DatasetError: no such images, or of another size.
        RecordingError: they could not be encoded.
    """
    size, depth = contract.recorded_cameras[camera], camera in contract.depth_cameras
    shape = (size.height, size.width) if depth else (size.height, size.width, 3)
    fps = layout.whole_rate(contract)
    reason = _why_not_copied(dataset, camera, episode, depth=depth)
    part = dataset.episodes[episode].videos.get(camera)
    if part is not None and not reason:
        start = part.start_s + rows.start / dataset.fps
        reason = copy_video(part.path, start, len(rows), fps, path, depth=depth)
    images = _of_shape(itertools.islice(dataset.images(camera, episode), rows.start, rows.stop), shape,
                       f"{dataset.root}: camera {camera}")  # fmt: skip
    if not reason:
        histogram = empty_histogram(depth)
        for image in images:
            histogram += image_histogram(image)
        return "", histogram
    encoder = VideoEncoder(path, fps, size.width, size.height, settings, depth=depth)
    try:
        for image in images:
            encoder.add_image(image)
    except BaseException:
        encoder.cancel()
        raise
    encoder.finish_video()
    return reason, encoder.histogram


def usual_codec(dataset: Dataset, contract: Contract) -> str:
    """Codec of a data set's videos, where they can be copied; h264 otherwise."""
    for camera in contract.cameras:
        part = dataset.episodes[0].videos.get(camera) if dataset.episodes else None
        codec = video_codec(part.path) if part is not None else ""
        if codec in CODECS:
            return codec
    return "h264"


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


def _why_not_copied(dataset: Dataset, camera: str, episode: int, *, depth: bool) -> str:
    """What forbids to copy a camera's video, before anybody looks into it; empty if nothing does."""
    if depth and coding_of(dataset.features[layout.image_key(camera)]) != DepthCoding():
        return "its depth has other codes"
    reason = dataset.why_changed(camera) if isinstance(dataset, MappedDataset) else ""
    return reason or ("it is no video" if camera not in dataset.episodes[episode].videos else "")


def _of_shape(images: Iterator[np.ndarray], shape: tuple[int, ...], where: str) -> Iterator[np.ndarray]:
    for image in images:
        if image.shape != shape:
            raise DatasetError(f"{where}: {image.shape}, allowed is {shape}")
        yield image


def _ages(dataset: Dataset, source: Mapping[str, np.ndarray], contract: Contract, count: int) -> np.ndarray:
    """Ages by stream, (T, streams); NaN where they were not recorded."""
    names = layout.age_names(contract)
    ages = np.full((count, len(names)), np.nan)
    known = dataset.features.get(layout.AGE, {}).get("names") or []
    for column, name in enumerate(names):
        if layout.AGE in source and name in known:
            ages[:, column] = source[layout.AGE].reshape(count, -1)[:, known.index(name)]
    return ages


def _stamps(source: Mapping[str, np.ndarray], fps: float) -> tuple[np.ndarray, str]:
    """Real times of the rows [s], NaN where they were not recorded, and what is to be said about them."""
    unknown = np.full(len(source["timestamp"]), np.nan), "real times were not recorded"
    if layout.STAMP in source:
        stamps = source[layout.STAMP].astype(np.float64)
        return unknown if np.isnan(stamps).all() else (stamps, describe_timing(stamps, fps))
    stamps = source["timestamp"].astype(np.float64)
    grid = (np.arange(len(stamps))) / fps
    if np.abs(stamps - stamps[0] - grid).max() <= _GRID_TOLERANCE_S:
        return unknown
    return stamps, describe_timing(stamps, fps)
