"""Saves episodes in the background, one after the other, while the next one is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vla_adapter_ros.dataset.episode_buffer import EpisodeBuffer
from vla_adapter_ros.dataset.finished_episode import EpisodeSummary
from vla_adapter_ros.dataset.writer import DatasetWriter
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

        def end(future: Future[EpisodeSummary]) -> None:
            give_back_memory()
            with self._guard:
                self._saving.remove(future)
                on_end(future)

        saved.add_done_callback(end)
        return saved

    def close(self) -> None:
        """Finish what is to be saved."""
        self._thread.shutdown(wait=True)
