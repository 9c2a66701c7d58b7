"""Writes LeRobot v3.0 data sets while recording.

Images go to one encoder thread per camera at once; a saved episode is complete
and flushed to disk, and a crash at any time leaves all earlier ones intact.
Files get their names in an order in which the data set can be read at every
step; info.json, which says how many episodes count, comes last.

An episode can be detached and saved in another thread while the next one is
being recorded.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import __version__, files
from vla_adapter_ros.contract import Contract, write_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.card import write_card
from vla_adapter_ros.dataset.episode_buffer import EpisodeBuffer
from vla_adapter_ros.dataset.folder import WrittenFolder
from vla_adapter_ros.dataset.journal import TABLE_TEMPORARIES, TABLES, Journal, episode_names
from vla_adapter_ros.dataset.proof import prove_writable, take_file
from vla_adapter_ros.dataset.resume import Totals, read_recordings, resume
from vla_adapter_ros.dataset.statistics import column_statistics, histogram_statistics
from vla_adapter_ros.dataset.video import VideoSettings
from vla_adapter_ros.errors import DatasetError, RecordingError
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.paths import locate
from vla_adapter_ros.texts import visible
from vla_adapter_ros.untrusted import read_json


@dataclass(frozen=True)
class EpisodeSummary:
    """What was saved.

    Attributes:
        index: Number of the episode, from 0.
        frames: Number of rows.
        tasks: What was to be done, one sentence after the other.
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


class DatasetWriter:
    """Records episodes into a data set; goes on with one that is there.

    Args:
        root: Folder of the data set. It is made, must be empty, or hold a data set of the same contract.
        contract: The robot's contract; stored with the data.
        codec: h264, hevc or av1.
        crf: Quality of the videos, smaller is better.
        gop: Images from one key image to the next.
        preset: The encoder's effort, by the encoder's own name; empty: a fast one.

    Raises:
        ContractMismatch: the data set there was recorded with another contract.
        DatasetError: the folder holds something else, a damaged data set, one that is being written, or no
            episode can be written there.
    """

    def __init__(
        self,
        root: str | Path,
        contract: Contract,
        *,
        codec: str = "h264",
        crf: int = 23,
        gop: int = 10,
        preset: str = "",
    ) -> None:
        self.root = locate(root)
        self._contract = contract
        self._settings = VideoSettings(codec, crf, gop, preset)
        self._fps = layout.whole_rate(contract)
        self._features = layout.build_features(contract, self._settings)
        made = files.missing_folders(self.root / "meta")
        self._folder = WrittenFolder(self.root)
        try:
            self._journal = Journal(self.root)
            self._totals: Totals = resume(self.root, contract, self._features, self._folder, self._journal)
            prove_writable(self.root, contract, self._settings, self._totals.next_file, self._journal)
            if not (self.root / layout.CONTRACT).is_file():
                files.write_file(self.root / layout.CONTRACT, lambda path: write_contract(contract, path))
        except BaseException:
            self._folder.close()
            files.remove_empty(made)
            raise
        self._recordings = read_recordings(self.root, self._totals.episodes)
        self._episode: EpisodeBuffer | None = None
        self._numbers = itertools.count()
        self._saving = threading.Lock()
        self._undo: Totals | None = None

    @property
    def num_episodes(self) -> int:
        """Episodes saved."""
        return self._totals.episodes

    @property
    def num_frames(self) -> int:
        """Rows in the episode being recorded."""
        return len(self._episode.rows) if self._episode else 0

    @property
    def recording(self) -> bool:
        """Whether an episode is being recorded."""
        return self._episode is not None

    @property
    def queue_depth(self) -> int:
        """Images of the episode being recorded that wait for an encoder, over all cameras."""
        return self._episode.queue_depth if self._episode else 0

    @property
    def bytes_recorded(self) -> int:
        """Size on disk of the episode being recorded, so far [byte]."""
        return self._episode.bytes_on_disk if self._episode else 0

    def start_episode(self, task: str) -> None:
        """Begin an episode.

        Args:
            task: What is to be done, in words; frames may say something else later.

        Raises:
            RecordingError: an episode is being recorded already, the task is empty, the writer is closed,
                no file can be made, or the folder is no longer the one that was opened.
        """
        if not self._folder.is_open:
            raise RecordingError("the data set is closed")
        if self.recording:
            raise RecordingError(f"episode {self.num_episodes} is being recorded: save or discard it first")
        if not (said := visible(task)):
            raise RecordingError(f"task = {task!r}: allowed is a text that says what is to be done")
        # The episode's number is not known before it is saved, so that the videos have names of their own.
        folder, number = self._totals.next_file, next(self._numbers)
        videos = {c: take_file(self.root, c, folder, number) for c in self._contract.recorded_cameras}
        try:
            self._require_same()
            self._list_unfinished(videos.values())
            self._episode = EpisodeBuffer(said, self._contract, self._fps, self._settings, videos)
        except OSError as error:
            raise RecordingError(f"the episode cannot begin: {error}") from error

    def begin_again(self) -> None:
        """Drop the rows of the episode being recorded, which goes on with the same task.

        Raises:
            RecordingError: as in `start_episode`, or no episode is being recorded.
        """
        task = self._current().task
        self.discard_episode()
        self.start_episode(task)

    def add(self, frame: Frame, control_source: int, *, wait: bool = True, task: str = "") -> None:
        """Append a frame: all of it or, if it is refused, nothing of it.

        Args:
            frame: A good frame with an action, later than the one before it.
            control_source: Who was in control: 0 nobody, 1 a human, 2 the policy.
            wait: Whether to wait for an encoder that is behind; if not, the frame is refused.
            task: What is to be done from this frame on, a text that can be read; empty: as before.

        Raises:
            FrameError: the frame is not good, or an encoder is behind; the episode goes on without it.
            RecordingError: no episode is being recorded, or an encoder failed, which discards the episode.
        """
        try:
            self._current().add(frame, control_source, wait=wait, task=task)
        except RecordingError:
            self.discard_episode()
            raise

    def detach_episode(self) -> EpisodeBuffer:
        """End the episode and hand it out; it is then for `commit` or `discard`, and the next may begin.

        Raises:
            RecordingError: no episode is being recorded.
        """
        take, self._episode = self._current(), None
        return take

    def commit(self, take: EpisodeBuffer, notes: Mapping[str, Any] | None = None) -> EpisodeSummary:
        """Put a detached episode into the data set; when this returns, it is on disk for good.

        May be called from another thread; episodes get their numbers in the order of the calls.

        Args:
            take: From `detach_episode`.
            notes: Facts to keep with the episode in meta/recordings.json, as plain JSON values.

        Raises:
            RecordingError: the episode has no frames, or something could not be written. The episode is
                discarded then; all earlier ones stay.
        """
        with self._saving:
            try:
                return self._save(take, dict(notes or {}))
            except (OSError, pa.ArrowException, DatasetError, RecordingError) as error:
                self._clean_up(take)
                if isinstance(error, RecordingError):
                    raise
                raise RecordingError(f"episode {self.num_episodes} could not be saved: {error}") from error
            except BaseException:
                self._clean_up(take)
                raise

    def discard(self, take: EpisodeBuffer) -> None:
        """Drop a detached episode."""
        take.discard()
        self._journal.remove(self._names(take.videos.values()))

    def save_episode(self, notes: Mapping[str, Any] | None = None) -> EpisodeSummary:
        """Finish the episode; when this returns, it is on disk for good. Errors as in `commit`."""
        return self.commit(self.detach_episode(), notes)

    def discard_episode(self) -> None:
        """Drop the episode being recorded; without one, nothing happens."""
        if self._episode is not None:
            self.discard(self._episode)
            self._episode = None

    def undo_episode(self) -> int:
        """Take back the episode that was saved last; returns its number.

        Raises:
            RecordingError: this writer has saved none since it was made or since the last undo.
        """
        with self._saving:
            if self._undo is None:
                raise RecordingError("no episode was saved that could be taken back")
            self._require_same()
            totals = self._undo
            self._list_episode(totals)
            # From here on it does not count; what follows only clears up, and a resume would do the same.
            if totals.episodes:
                files.write_json(self.root / layout.INFO, self._info(totals))
            else:
                (self.root / layout.INFO).unlink()
            self._totals, self._undo = totals, None
            self._recordings = self._recordings[: totals.episodes]
            self._remove(totals)
            return totals.episodes

    def close(self) -> None:
        """Discard an episode that is being recorded and let others write to the data set.

        A data set with episodes gets its README.md, unless it has one.
        """
        self.discard_episode()
        with self._saving:
            if self._folder.is_open and self.num_episodes and self._folder.is_same:
                write_card(self.root)
            self._folder.close()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _current(self) -> EpisodeBuffer:
        if self._episode is None:
            raise RecordingError("no episode is being recorded: start one first")
        return self._episode

    def _require_same(self) -> None:
        """Refuse to write into another folder than the one that was opened, or beside lost episodes."""
        self._folder.require_same()
        if self._totals.episodes and not self._counts(self._totals.episodes):
            raise RecordingError(
                f"{self.root / layout.INFO} does not say {self._totals.episodes} episodes any more: "
                "somebody else changed the data set; close it and start again"
            )

    def _names(self, paths: Iterable[Path]) -> list[str]:
        return [path.relative_to(self.root).as_posix() for path in paths]

    def _list_unfinished(self, videos: Iterable[Path]) -> None:
        self._journal.add(self._names(videos))

    def _list_episode(self, totals: Totals) -> None:
        """List the files that a crash may leave while the episode after `totals` is put into place."""
        names = [*episode_names(self._contract.recorded_cameras, totals.next_file), *TABLE_TEMPORARIES]
        names += TABLES if not totals.episodes else ()
        self._journal.add(names)

    def _remove(self, totals: Totals) -> None:
        """Remove the files of the episode after `totals`, as far as they are listed, and write the tables."""
        names = episode_names(self._contract.recorded_cameras, totals.next_file)
        for name in self._journal.names.intersection(names):
            (self.root / name).unlink(missing_ok=True)
        try:
            self._write_tables(totals)
        finally:
            self._journal.remove([*names, *TABLES, *TABLE_TEMPORARIES])

    def _save(self, take: EpisodeBuffer, notes: dict[str, Any]) -> EpisodeSummary:
        """Steps in the only safe order: videos, data, tasks, episode, statistics, info."""
        if not self._folder.is_open:
            raise RecordingError("the data set is closed")
        self._require_same()
        totals, number, features = self._totals, self._totals.next_file, self._features
        started, cpu = time.monotonic(), time.thread_time()
        tasks = list(dict.fromkeys((*totals.tasks, *take.tasks)))
        histograms = take.finish()
        columns = self._columns(take, tasks)
        self._list_episode(totals)
        for name, source in take.videos.items():
            target = layout.video_file(self.root, name, number)
            target.parent.mkdir(parents=True, exist_ok=True)
            files.commit_file(target, source)
        statistics = {name: column_statistics(columns[name]) for name in layout.numeric_features(features)}
        for name, histogram in histograms.items():
            statistics[layout.image_key(name)] = histogram_statistics(histogram, len(take.rows))

        schema = layout.data_schema(features)
        table = pa.table([_array(columns[field.name], field.type) for field in schema], schema=schema)
        files.write_file(layout.data_file(self.root, number), lambda path: pq.write_table(table, path))
        if tasks != totals.tasks:
            self._write_tasks(tasks)
        episode = layout.episode_table(self._episode_row(take, statistics), features)
        files.write_file(layout.episode_file(self.root, number), lambda path: pq.write_table(episode, path))

        new = totals.plus(columns, histograms, tasks)
        stamps = columns[layout.STAMP]
        if not np.isfinite(stamps).all():  # an import of rows whose real times nobody knows
            stamps = columns["timestamp"]
        duration = float(stamps[-1] - stamps[0])
        rate = (len(stamps) - 1) / duration if len(stamps) > 1 else math.nan
        said = tuple(dict.fromkeys(take.tasks))
        summary = EpisodeSummary(totals.episodes, len(stamps), said, duration, rate, take.encode_cpu_s)
        entry = {"episode": summary.index, "software": f"vla_adapter_ros {__version__}"}
        entry |= {"encode_cpu_s": summary.encode_cpu_s, "save_cpu_s": time.thread_time() - cpu}
        entry |= {"save_s": time.monotonic() - started}
        recordings = [*self._recordings, entry | notes]
        files.write_json(self.root / layout.STATS, new.statistics())
        files.write_json(self.root / layout.HISTOGRAMS, new.histograms_as_json())
        files.write_json(self.root / layout.RECORDINGS, {"episodes": recordings})
        self._folder.require_same()
        try:
            files.write_json(self.root / layout.INFO, self._info(new))
        except OSError:
            if not self._counts(new.episodes):
                raise
        self._totals, self._undo, self._recordings = new, totals, recordings
        done = episode_names(self._contract.recorded_cameras, number)
        self._journal.remove([*done, *TABLES, *TABLE_TEMPORARIES, *self._names(take.videos.values())])
        return summary

    def _counts(self, episodes: int) -> bool:
        """Whether info.json on disk already speaks of so many episodes."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return read_json(self.root / layout.INFO)["total_episodes"] == episodes
        return False

    def _clean_up(self, take: EpisodeBuffer) -> None:
        """Free the disk from an episode that could not be saved, and bring the tables back."""
        self.discard(take)
        with contextlib.suppress(OSError, RecordingError):
            self._require_same()
            self._remove(self._totals)

    def _write_tables(self, totals: Totals) -> None:
        """Write the tables that go with `totals`, or remove them where there is no episode."""
        if not totals.episodes:
            for name in (layout.STATS, layout.HISTOGRAMS, layout.RECORDINGS, layout.TASKS):
                (self.root / name).unlink(missing_ok=True)
            return
        files.write_json(self.root / layout.STATS, totals.statistics())
        files.write_json(self.root / layout.HISTOGRAMS, totals.histograms_as_json())
        files.write_json(self.root / layout.RECORDINGS, {"episodes": self._recordings[: totals.episodes]})
        self._write_tasks(totals.tasks)

    def _write_tasks(self, tasks: list[str]) -> None:
        table = layout.tasks_table(tasks)
        files.write_file(self.root / layout.TASKS, lambda path: pq.write_table(table, path))

    def _columns(self, take: EpisodeBuffer, tasks: list[str]) -> dict[str, np.ndarray]:
        """The episode's columns in the types in which they are stored."""
        count, place = len(take.rows), {task: number for number, task in enumerate(tasks)}
        frame_index = np.arange(count)
        columns = take.columns() | {
            "timestamp": frame_index / self._fps,
            "frame_index": frame_index,
            "episode_index": np.full(count, self._totals.episodes),
            "index": self._totals.frames + frame_index,
            "task_index": np.array([place[task] for task in take.tasks]),
        }
        return {name: column.astype(self._features[name]["dtype"]) for name, column in columns.items()}

    def _episode_row(
        self, take: EpisodeBuffer, statistics: dict[str, dict[str, list[Any]]]
    ) -> dict[str, Any]:
        totals, count = self._totals, len(take.rows)
        place = layout.locate(totals.next_file)
        tasks = list(dict.fromkeys(take.tasks))
        row: dict[str, Any] = {"episode_index": totals.episodes, "tasks": tasks, "length": count}
        row |= {f"data/{key}": value for key, value in place.items()}
        row |= {"dataset_from_index": totals.frames, "dataset_to_index": totals.frames + count}
        for camera in self._contract.recorded_cameras:
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


def _array(column: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Column (T,) or (T, D) as an arrow array of the wanted type."""
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel(), kind.value_type), kind.list_size)
    return pa.array(column.ravel(), kind)
