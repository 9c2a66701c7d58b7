"""Saves episodes in the background, one after the other, while the next one is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vla_adapter_ros.dataset.episode_buffer import EpisodeBuffer
from vla_adapter_ros.dataset.finished_episode import EpisodeSummary
from vla_adapter_ros.dataset.outcome import Label
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import RecordingError
from vla_adapter_ros.recorder.memory import give_back_memory


class EpisodeSaver:
    """A thread that puts finished episodes into a data set.

    Args:
        writer: Open data set.
        guard: Held whenever the number of episodes changes.
    """

    def __init__(self, writer: DatasetWriter, guard: threading.RLock) -> None:
        self._writer, self._guard = writer, guard
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._saving: list[Future[EpisodeSummary]] = []
        self._newest: Future[EpisodeSummary] | None = None
        self.next_number = writer.num_episodes
        """Number that the next episode gets, if all that are being saved get theirs."""

    @property
    def num_episodes(self) -> int:
        """Episodes that are not on disk yet."""
        return len(self._saving)

    def save(
        self,
        episode: EpisodeBuffer,
        notes: Mapping[str, Any],
        on_end: Callable[[Future[EpisodeSummary]], None],
    ) -> Future[EpisodeSummary]:
        """Save an episode; returns at once.

        Args:
            episode: It belongs to the saver from now on.
            notes: See `DatasetWriter.commit`.
            on_end: Called with the guard held, and with what is returned here, once the episode is saved or
                lost.
        """
        saved = self._thread.submit(self._writer.commit, episode, notes)
        self._saving.append(saved)
        self._newest = saved
        self.next_number += 1

        def end(future: Future[EpisodeSummary]) -> None:
            give_back_memory()
            with self._guard:
                self._saving.remove(future)
                self.next_number -= future.exception() is not None
                on_end(future)

        saved.add_done_callback(end)
        return saved

    def undo(self) -> int:
        """Take back the episode that was saved last; returns its number. Errors as in `DatasetWriter`."""
        number, self._newest = self._writer.undo_episode(), None
        self.next_number = number
        return number

    def label(self, number: int, label: Label) -> Future[int]:
        """Write into an episode how it ended, once all that was to be saved before is on disk.

        Args:
            number: Of the episode; -1: the newest.
            label: What is said of it.

        Returns:
            Becomes the number of the episode, or raises RecordingError.
        """
        newest = self._newest

        def write() -> int:
            if number < 0 and newest is not None:
                newest.result()  # a label of an episode that was lost is not for the one before it
            at = number if number >= 0 else self._writer.num_episodes - 1
            if at < 0:
                raise RecordingError("there is no episode yet")
            self._writer.label_episode(at, label)
            return at

        return self._thread.submit(write)

    def close(self) -> None:
        """Finish what is to be saved."""
        self._thread.shutdown(wait=True)
