"""Writes LeRobot v3.0 data sets while recording.

Images go to one encoder thread per camera at once; a saved episode is complete
and flushed to disk, and a crash at any time leaves all earlier ones intact.
Files get their names in an order in which the data set can be read at every
step; info.json, which says how many episodes count, comes last.
"""

from __future__ import annotations

import fcntl
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros.contract import Contract, write_contract
from vla_adapter_ros.errors import DatasetError, FrameError, RecordingError
from vla_adapter_ros.recording import files, layout
from vla_adapter_ros.recording.frame import Frame
from vla_adapter_ros.recording.resume import Totals, resume
from vla_adapter_ros.recording.statistics import column_statistics, histogram_statistics
from vla_adapter_ros.recording.video import VideoEncoder, VideoSettings, count_frames


@dataclass(frozen=True)
class EpisodeSummary:
    """What was saved.

    Attributes:
        index: Number of the episode, from 0.
        frames: Number of rows.
        task: What was to be done.
        duration_s: From the first to the last frame, by their stamps [s].
        rate_hz: True rate by the stamps [Hz], whatever the contract says; NaN for one frame.
    """

    index: int
    frames: int
    task: str
    duration_s: float
    rate_hz: float


class DatasetWriter:
    """Records episodes into a data set; goes on with one that is there.

    Args:
        root: Folder of the data set. It is made, must be empty, or hold a data set of the same contract.
        contract: The robot's contract; stored with the data.
        codec: h264, hevc or av1.
        crf: Quality of the videos, smaller is better.
        gop: Images from one key image to the next.
        preset: The encoder's effort, by the encoder's own name.

    Raises:
        ContractMismatch: the data set there was recorded with another contract.
        DatasetError: the folder holds something else, a damaged data set, or one that is being written.
    """

    def __init__(
        self,
        root: str | Path,
        contract: Contract,
        *,
        codec: str = "h264",
        crf: int = 18,
        gop: int = 10,
        preset: str = "veryfast",
    ) -> None:
        self.root = Path(root)
        self._contract = contract
        self._settings = VideoSettings(codec, crf, gop, preset)
        self._fps = layout.whole_rate(contract)
        self._features = layout.build_features(contract, self._settings)
        self._lock: int | None = _lock(self.root)
        try:
            self._totals: Totals = resume(self.root, contract, self._features)
            if not (self.root / layout.CONTRACT).is_file():
                files.write_file(self.root / layout.CONTRACT, lambda path: write_contract(contract, path))
        except BaseException:
            self._unlock()
            raise
        self._task: str | None = None
        self._encoders: dict[str, VideoEncoder] = {}
        self._rows: list[dict[str, Any]] = []

    @property
    def num_episodes(self) -> int:
        """Episodes saved."""
        return self._totals.episodes

    @property
    def num_frames(self) -> int:
        """Rows in the episode being recorded."""
        return len(self._rows)

    @property
    def recording(self) -> bool:
        """Whether an episode is being recorded."""
        return self._task is not None

    @property
    def queue_depth(self) -> int:
        """Images that wait for an encoder, over all cameras."""
        return sum(encoder.queue_depth for encoder in self._encoders.values())

    def start_episode(self, task: str) -> None:
        """Begin an episode.

        Args:
            task: What is to be done, in words.

        Raises:
            RecordingError: an episode is being recorded already, the task is empty, or the writer is closed.
        """
        if self._lock is None:
            raise RecordingError("the data set is closed")
        if self.recording:
            raise RecordingError(f"episode {self.num_episodes} is being recorded: save or discard it first")
        if not task.strip():
            raise RecordingError(f"task = {task!r}: allowed is a text that says what is to be done")
        self._task, self._rows = task.strip(), []
        for name, camera in self._contract.cameras.items():
            path = files.temporary_path(self._video(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (camera.width, camera.height)
            self._encoders[name] = VideoEncoder(path, self._fps, *size, self._settings)

    def add(self, frame: Frame, control_source: int) -> None:
        """Append a frame: all of it or, if it is refused, nothing of it.

        Args:
            frame: A good frame with an action, later than the one before it.
            control_source: Who was in control: 0 nobody, 1 a human, 2 the policy.

        Raises:
            FrameError: the frame is not good; the episode goes on without it.
            RecordingError: no episode is being recorded, or an encoder failed, which discards the episode.
        """
        if not self.recording:
            raise RecordingError("no episode is being recorded: start one first")
        self._check(frame, control_source)
        try:
            for encoder in self._encoders.values():
                encoder.check()
            for name, encoder in self._encoders.items():
                encoder.add(frame.images[name])
        except RecordingError:
            self.discard_episode()
            raise
        self._rows.append(
            {
                layout.ACTION: frame.action,
                layout.STATE: frame.state,
                layout.STAMP: frame.stamp,
                layout.AGE: [frame.ages.get(name, 0.0) for name in layout.stream_names(self._contract)],
                layout.CONTROL_SOURCE: control_source,
            }
        )

    def save_episode(self) -> EpisodeSummary:
        """Finish the episode; when this returns, it is on disk for good.

        Raises:
            RecordingError: no episode is being recorded, it has no frames, or something could not be
                written. The episode is discarded then; all earlier ones stay.
        """
        if not self.recording:
            raise RecordingError("no episode is being recorded: start one first")
        try:
            if not self._rows:
                raise RecordingError("the episode has no frames")
            summary = self._save()
        except RecordingError:
            self.discard_episode()
            raise
        except (OSError, pa.ArrowException, DatasetError) as error:
            self.discard_episode()
            raise RecordingError(f"episode {self.num_episodes} could not be saved: {error}") from error
        self._task, self._rows = None, []
        self._encoders.clear()
        return summary

    def discard_episode(self) -> None:
        """Drop the episode being recorded; without one, nothing happens."""
        for name, encoder in self._encoders.items():
            encoder.cancel()
            files.temporary_path(self._video(name)).unlink(missing_ok=True)
        self._encoders.clear()
        self._task, self._rows = None, []

    def close(self) -> None:
        """Discard an episode that is being recorded and let others write to the data set."""
        self.discard_episode()
        self._unlock()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _video(self, camera: str) -> Path:
        return layout.video_file(self.root, camera, self._totals.next_file)

    def _check(self, frame: Frame, control_source: int) -> None:
        if frame.problem:
            raise FrameError(frame.problem)
        if control_source not in layout.CONTROL_SOURCES:
            raise FrameError(f"control_source = {control_source!r}: allowed are {layout.CONTROL_SOURCES}")
        for name, camera in self._contract.cameras.items():
            shape = frame.images[name].shape if name in frame.images else None
            if shape != (camera.height, camera.width, 3):
                raise FrameError(f"camera {name}: {shape}, allowed is {(camera.height, camera.width, 3)}")
        for what, values, names in (
            ("state", frame.state, self._contract.state_names),
            ("action", frame.action, self._contract.action_names),
        ):
            if values is None or values.shape != (len(names),) or not np.isfinite(values).all():
                raise FrameError(f"{what} = {values}: allowed are {len(names)} finite values")
        if self._rows and not frame.stamp > self._rows[-1][layout.STAMP]:
            raise FrameError(f"stamp {frame.stamp} does not come after {self._rows[-1][layout.STAMP]}")

    def _save(self) -> EpisodeSummary:
        """Steps in the only safe order: videos, data, tasks, episode, statistics, info."""
        totals, number = self._totals, self._totals.next_file
        task = self._task or ""
        tasks = totals.tasks if task in totals.tasks else [*totals.tasks, task]
        columns = self._columns(tasks.index(task))
        histograms = self._finish_videos()
        features = self._features
        statistics = {name: column_statistics(columns[name]) for name in layout.numeric_features(features)}
        for name, histogram in histograms.items():
            statistics[layout.image_key(name)] = histogram_statistics(histogram, len(self._rows))

        schema = layout.data_schema(features)
        table = pa.table([_array(columns[field.name], field.type) for field in schema], schema=schema)
        files.write_file(layout.data_file(self.root, number), lambda path: pq.write_table(table, path))
        if tasks is not totals.tasks:
            files.write_file(
                self.root / layout.TASKS, lambda path: pq.write_table(layout.tasks_table(tasks), path)
            )
        episode = layout.episode_table(self._episode_row(task, statistics), features)
        files.write_file(layout.episode_file(self.root, number), lambda path: pq.write_table(episode, path))

        new = totals.plus(columns, histograms, tasks)
        files.write_json(self.root / layout.STATS, new.statistics())
        files.write_json(self.root / layout.HISTOGRAMS, new.histograms_as_json())
        files.write_json(self.root / layout.INFO, self._info(new))
        stamps = columns[layout.STAMP]
        duration = float(stamps[-1] - stamps[0])
        rate = (len(stamps) - 1) / duration if len(stamps) > 1 else math.nan
        summary = EpisodeSummary(totals.episodes, len(stamps), task, duration, rate)
        self._totals = new
        return summary

    def _columns(self, task_index: int) -> dict[str, np.ndarray]:
        """The episode's columns in the types in which they are stored."""
        count = len(self._rows)
        frame_index = np.arange(count)
        columns = {name: np.array([row[name] for row in self._rows]) for name in self._rows[0]}
        columns |= {
            "timestamp": frame_index / self._fps,
            "frame_index": frame_index,
            "episode_index": np.full(count, self._totals.episodes),
            "index": self._totals.frames + frame_index,
            "task_index": np.full(count, task_index),
        }
        return {name: column.astype(self._features[name]["dtype"]) for name, column in columns.items()}

    def _finish_videos(self) -> dict[str, np.ndarray]:
        """Close and name the videos, each checked for one image per row; returns their histograms."""
        for encoder in self._encoders.values():
            encoder.finish()
        for name in self._encoders:
            path = files.temporary_path(self._video(name))
            if count_frames(path) != len(self._rows):
                raise RecordingError(f"{path}: {count_frames(path)} images but {len(self._rows)} rows")
        for name in self._encoders:
            files.commit_file(self._video(name))
        return {name: encoder.histogram for name, encoder in self._encoders.items()}

    def _episode_row(self, task: str, statistics: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
        totals, count = self._totals, len(self._rows)
        place = layout.locate(totals.next_file)
        row: dict[str, Any] = {"episode_index": totals.episodes, "tasks": [task], "length": count}
        row |= {f"data/{key}": value for key, value in place.items()}
        row |= {"dataset_from_index": totals.frames, "dataset_to_index": totals.frames + count}
        for camera in self._contract.cameras:
            key = layout.image_key(camera)
            row |= {f"videos/{key}/{name}": value for name, value in place.items()}
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": count / self._fps}
        for feature, values in statistics.items():
            row |= {f"stats/{feature}/{name}": value for name, value in values.items()}
        return row | {f"meta/episodes/{key}": value for key, value in place.items()}

    def _info(self, totals: Totals) -> dict[str, Any]:
        return {
            "codebase_version": layout.VERSION,
            "robot_type": self._contract.robot_type,
            "total_episodes": totals.episodes,
            "total_frames": totals.frames,
            "total_tasks": len(totals.tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._fps,
            "splits": {"train": f"0:{totals.episodes}"},
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH,
            "features": self._features,
        }


def _lock(root: Path) -> int:
    """Make the folder ours while this process lives; returns what frees it when closed."""
    present = {entry.name for entry in root.iterdir()} if root.is_dir() else set()
    if not present <= {"meta", "data", "videos", "images", "README.md", ".gitattributes", ".cache"}:
        raise DatasetError(f"{root} holds {sorted(present)}: allowed is an empty folder or a data set")
    (root / "meta").mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / "meta", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise DatasetError(f"{root}: another process is recording into this data set") from None
    return descriptor


def _array(column: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Column (T,) or (T, D) as an arrow array of the wanted type."""
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel(), kind.value_type), kind.list_size)
    return pa.array(column.ravel(), kind)
