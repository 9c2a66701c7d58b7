"""The data set that is being written: puts finished episodes into place, or takes the last one back.

A saved episode is complete and flushed to disk, and a crash at any time leaves all earlier ones intact:
files get their names in an order in which the data set can be read at every step, and info.json, which says
how many episodes count, comes last.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import __version__, files
from vla_adapter_ros.contract import Contract, write_contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.card import write_card
from vla_adapter_ros.dataset.finished_episode import (
    EpisodePlace,
    EpisodeSummary,
    FinishedEpisode,
    content_of,
)
from vla_adapter_ros.dataset.folder import WrittenFolder
from vla_adapter_ros.dataset.journal import TABLE_TEMPORARIES, TABLES, Journal, episode_names
from vla_adapter_ros.dataset.labels import write_label
from vla_adapter_ros.dataset.outcome import SUCCESS, Label, stored_label, success_rows
from vla_adapter_ros.dataset.proof import prove_writable, unfinished_video
from vla_adapter_ros.dataset.resume import Totals, read_recordings, resume
from vla_adapter_ros.dataset.video import VideoSettings
from vla_adapter_ros.errors import DatasetError, RecordingError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import read_json


class DatasetStore:
    """A data set that is open for writing, by this process alone; goes on with one that is there.

    Args:
        root: Folder of the data set. It is made, must be empty, or hold a data set of the same contract.
        contract: The robot's contract; stored with the data.
        settings: How its videos are encoded.
        copies: Whether videos are mostly copies, so that info.json says nothing about an encoder.

    Raises:
        ContractMismatch: the data set there was recorded with another contract.
        DatasetError: the folder holds something else, a damaged data set, one that is being written, or no
            episode can be written there.
    """

    def __init__(
        self, root: str | Path, contract: Contract, settings: VideoSettings, *, copies: bool = False
    ) -> None:
        self.root = locate(root)
        self.contract, self.settings = contract, settings
        self.fps = layout.whole_rate(contract)
        self._features = _features_of(self.root, contract, settings)
        made = files.missing_folders(self.root / "meta")
        self._folder = WrittenFolder(self.root)
        try:
            self._journal = Journal(self.root)
            self._totals: Totals = resume(self.root, contract, self._features, self._folder, self._journal)
            prove_writable(self.root, contract, settings, self._totals.next_file, self._journal)
            if not (self.root / layout.CONTRACT).is_file():
                files.write_file(self.root / layout.CONTRACT, lambda path: write_contract(contract, path))
        except BaseException:
            self._folder.close()
            files.remove_empty(made)
            raise
        if copies:
            self._features = layout.without_encoder(self._features)
        self._recordings = read_recordings(self.root, self._totals.episodes)
        self._numbers = itertools.count()
        self._saving = threading.Lock()
        self._undo: Totals | None = None

    @property
    def num_episodes(self) -> int:
        """Episodes saved."""
        return self._totals.episodes

    @property
    def is_open(self) -> bool:
        """Whether episodes can be saved."""
        return self._folder.is_open

    def reserve_videos(self) -> dict[str, Path]:
        """Camera -> file into which the videos of a new episode are written; the journal lists them.

        Raises:
            RecordingError: the folder is no longer the one that was opened.
            OSError: the journal cannot be written.
        """
        # The episode's number is not known before it is saved, so that the videos have names of their own.
        folder, number = self._totals.next_file, next(self._numbers)
        videos = {
            camera: unfinished_video(self.root, camera, folder, number)
            for camera in self.contract.recorded_cameras
        }
        self._require_same()
        self._journal.list_files(self._names(videos.values()))
        return videos

    def remove_videos(self, videos: Iterable[Path]) -> None:
        """Remove the videos of an episode that is not saved."""
        for path in videos:
            path.unlink(missing_ok=True)
        self._journal.unlist_files(self._names(videos))

    def save(self, episode: FinishedEpisode, notes: Mapping[str, Any] | None = None) -> EpisodeSummary:
        """Put an episode into the data set; when this returns, it is on disk for good.

        For several threads; episodes get their numbers in the order of the calls.

        Args:
            episode: Its videos have the names from `reserve_videos`.
            notes: Facts to keep with the episode in meta/recordings.json, as plain JSON values.

        Raises:
            RecordingError: images and rows differ in number, or something could not be written. The episode
                is removed then; all earlier ones stay.
        """
        with self._saving:
            try:
                return self._save(episode, dict(notes or {}))
            except (OSError, pa.ArrowException, DatasetError, RecordingError) as error:
                self._clean_up(episode)
                if isinstance(error, RecordingError):
                    raise
                raise RecordingError(f"episode {self.num_episodes} could not be saved: {error}") from error
            except BaseException:
                self._clean_up(episode)
                raise

    def label_episode(self, number: int, label: Label) -> None:
        """Write into a saved episode how it ended.

        Raises:
            RecordingError: there is no such episode, or it could not be written.
        """
        with self._saving:
            self._require_same()
            if not 0 <= number < self.num_episodes:
                allowed = (
                    f"allowed are 0 to {self.num_episodes - 1}" if self.num_episodes else "there is none"
                )
                raise RecordingError(f"episode {number}: {allowed}")
            try:
                entry = write_label(self.root, number, label, self._journal)
            except (OSError, pa.ArrowException, DatasetError) as error:
                raise RecordingError(f"episode {number} could not be labeled: {error}") from error
            self._recordings[number] = entry
            for rows in self._totals.columns.get(SUCCESS, [])[number : number + 1]:
                rows[:] = success_rows(len(rows), label.outcome)

    def undo_episode(self) -> int:
        """Take back the episode that was saved last; returns its number.

        Raises:
            RecordingError: none was saved since the data set was opened or since the last undo.
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
            self._remove_after(totals)
            return totals.episodes

    def close(self) -> None:
        """Let others write to the data set. One with episodes gets its README.md, unless it has one."""
        with self._saving:
            if self._folder.is_open and self.num_episodes and self._folder.is_same:
                write_card(self.root)
            self._folder.close()

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

    def _list_episode(self, totals: Totals) -> None:
        """List the files that a crash may leave while the episode after `totals` is put into place."""
        names = [*episode_names(self.contract.recorded_cameras, totals.next_file), *TABLE_TEMPORARIES]
        names += TABLES if not totals.episodes else ()
        self._journal.list_files(names)

    def _remove_after(self, totals: Totals) -> None:
        """Remove the files of the episode after `totals`, as far as they are listed, and write the tables."""
        names = episode_names(self.contract.recorded_cameras, totals.next_file)
        for name in self._journal.names.intersection(names):
            (self.root / name).unlink(missing_ok=True)
        try:
            self._restore_tables(totals)
        finally:
            self._journal.unlist_files([*names, *TABLES, *TABLE_TEMPORARIES])

    def _save(self, episode: FinishedEpisode, notes: dict[str, Any]) -> EpisodeSummary:
        """Steps in the only safe order: videos, data, tasks, episode, statistics, info."""
        if not self._folder.is_open:
            raise RecordingError("the data set is closed")
        self._require_same()
        totals, started, cpu = self._totals, time.monotonic(), time.thread_time()
        tasks = list(dict.fromkeys((*totals.tasks, *episode.tasks)))
        place = EpisodePlace(totals.episodes, totals.frames, totals.next_file, self.fps)
        content = content_of(episode, place, tasks, self._features, stored_label(notes).outcome)
        self._list_episode(totals)
        for camera, source in episode.videos.items():
            target = layout.video_file(self.root, camera, place.file)
            target.parent.mkdir(parents=True, exist_ok=True)
            files.commit_file(target, source)
        self._write_table(layout.data_file(self.root, place.file), content.rows)
        if tasks != totals.tasks:
            self._write_tasks(tasks)
        self._write_table(layout.episode_file(self.root, place.file), content.facts)

        new = totals.plus(content.columns, episode.histograms, tasks)
        entry = {"episode": place.episode, "software": f"vla_adapter_ros {__version__}"}
        entry |= {"encode_cpu_s": episode.encode_cpu_s, "save_cpu_s": time.thread_time() - cpu}
        entry |= {"save_s": episode.finish_s + time.monotonic() - started}
        recordings = [*self._recordings, entry | notes]
        self._write_statistics(new, recordings)
        self._folder.require_same()
        try:
            files.write_json(self.root / layout.INFO, self._info(new))
        except OSError:
            if not self._counts(new.episodes):
                raise
        self._totals, self._undo, self._recordings = new, totals, recordings
        done = episode_names(self.contract.recorded_cameras, place.file)
        videos = self._names(episode.videos.values())
        self._journal.unlist_files([*done, *TABLES, *TABLE_TEMPORARIES, *videos])
        return content.summary

    def _counts(self, episodes: int) -> bool:
        """Whether info.json on disk already speaks of so many episodes."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return bool(read_json(self.root / layout.INFO)["total_episodes"] == episodes)
        return False

    def _clean_up(self, episode: FinishedEpisode) -> None:
        """Free the disk from an episode that could not be saved, and bring the tables back."""
        self.remove_videos(episode.videos.values())
        with contextlib.suppress(OSError, RecordingError):
            self._require_same()
            self._remove_after(self._totals)

    def _restore_tables(self, totals: Totals) -> None:
        """Write the tables that go with `totals`, or remove them where there is no episode."""
        if not totals.episodes:
            for name in (layout.STATS, layout.HISTOGRAMS, layout.RECORDINGS, layout.TASKS):
                (self.root / name).unlink(missing_ok=True)
            return
        self._write_statistics(totals, self._recordings[: totals.episodes])
        self._write_tasks(totals.tasks)

    def _write_statistics(self, totals: Totals, recordings: list[dict[str, Any]]) -> None:
        files.write_json(self.root / layout.STATS, totals.statistics())
        files.write_json(self.root / layout.HISTOGRAMS, totals.histograms_as_json())
        files.write_json(self.root / layout.RECORDINGS, {"episodes": recordings})

    def _write_tasks(self, tasks: list[str]) -> None:
        self._write_table(self.root / layout.TASKS, layout.tasks_table(tasks))

    def _write_table(self, target: Path, table: pa.Table) -> None:
        files.write_file(target, lambda path: pq.write_table(table, path))

    def _info(self, totals: Totals) -> dict[str, Any]:
        return {
            **layout.info_without_totals(self.contract, self._features),
            "total_episodes": totals.episodes,
            "total_frames": totals.frames,
            "total_tasks": len(totals.tasks),
            "splits": {"train": f"0:{totals.episodes}"},
        }


def _features_of(root: Path, contract: Contract, settings: VideoSettings) -> dict[str, dict[str, Any]]:
    """What info.json declares; of a data set that is there, only the columns that it was begun with."""
    features = layout.build_features(contract, settings)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return layout.as_begun(features, read_json(root / layout.INFO)["features"])
    return features
