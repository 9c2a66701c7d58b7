"""Writes LeRobot v3.0 data sets while recording.

Images go to one encoder thread per camera at once. An episode can be detached and saved in another thread
while the next one is being recorded. How an episode gets into the data set: `store.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.episode_buffer import EpisodeBuffer
from vla_adapter_ros.dataset.finished_episode import EpisodeSummary
from vla_adapter_ros.dataset.outcome import Label
from vla_adapter_ros.dataset.store import DatasetStore
from vla_adapter_ros.dataset.video import VideoSettings
from vla_adapter_ros.errors import DatasetError, RecordingError
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.texts import visible


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
        ContractMismatch, DatasetError: as `DatasetStore`.
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
        self._store = DatasetStore(root, contract, VideoSettings(codec, crf, gop, preset))
        self.root = self._store.root
        self._episode: EpisodeBuffer | None = None
        self._committing = threading.Lock()

    @property
    def num_episodes(self) -> int:
        """Episodes saved."""
        return self._store.num_episodes

    @property
    def num_frames(self) -> int:
        """Rows in the episode being recorded."""
        return self._episode.num_frames if self._episode else 0

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
        if not self._store.is_open:
            raise RecordingError("the data set is closed")
        if self.recording:
            raise RecordingError(f"episode {self.num_episodes} is being recorded: save or discard it first")
        if not (said := visible(task)):
            raise RecordingError(f"task = {task!r}: allowed is a text that says what is to be done")
        store = self._store
        try:
            videos = store.reserve_videos()
            self._episode = EpisodeBuffer(said, store.contract, store.fps, store.settings, videos)
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

    def add_frame(self, frame: Frame, control_source: int, *, wait: bool = True, task: str = "") -> None:
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
            self._current().add_frame(frame, control_source, wait=wait, task=task)
        except RecordingError:
            self.discard_episode()
            raise

    def detach_episode(self) -> EpisodeBuffer:
        """End the episode and hand it out; it is then for `commit` or `discard`, and the next may begin.

        Raises:
            RecordingError: no episode is being recorded.
        """
        episode, self._episode = self._current(), None
        return episode

    def commit(self, episode: EpisodeBuffer, notes: Mapping[str, Any] | None = None) -> EpisodeSummary:
        """Put a detached episode into the data set; when this returns, it is on disk for good.

        May be called from another thread; episodes get their numbers in the order of the calls.

        Args:
            episode: From `detach_episode`.
            notes: Facts to keep with the episode in meta/recordings.json, as plain JSON values.

        Raises:
            RecordingError: the episode has no frames, or something could not be written. The episode is
                discarded then; all earlier ones stay.
        """
        with self._committing:
            try:
                finished = episode.finish_videos()
            except (OSError, DatasetError) as error:
                self.discard(episode)
                raise RecordingError(f"episode {self.num_episodes} could not be saved: {error}") from error
            except BaseException:
                self.discard(episode)
                raise
            return self._store.save(finished, notes)

    def discard(self, episode: EpisodeBuffer) -> None:
        """Drop a detached episode."""
        episode.stop_encoders()
        self._store.remove_videos(episode.videos.values())

    def save_episode(self, notes: Mapping[str, Any] | None = None) -> EpisodeSummary:
        """Finish the episode; when this returns, it is on disk for good. Errors as in `commit`."""
        return self.commit(self.detach_episode(), notes)

    def discard_episode(self) -> None:
        """Drop the episode being recorded; without one, nothing happens."""
        if self._episode is not None:
            self.discard(self._episode)
            self._episode = None

    def label_episode(self, number: int, label: Label) -> None:
        """Write into a saved episode how it ended.

        Raises:
            RecordingError: there is no such episode, or it could not be written.
        """
        self._store.label_episode(number, label)

    def undo_episode(self) -> int:
        """Take back the episode that was saved last; returns its number.

        Raises:
            RecordingError: this writer has saved none since it was made or since the last undo.
        """
        return self._store.undo_episode()

    def close(self) -> None:
        """Discard an episode that is being recorded and let others write to the data set.

        A data set with episodes gets its README.md, unless it has one.
        """
        self.discard_episode()
        with self._committing:
            self._store.close()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _current(self) -> EpisodeBuffer:
        if self._episode is None:
            raise RecordingError("no episode is being recorded: start one first")
        return self._episode
