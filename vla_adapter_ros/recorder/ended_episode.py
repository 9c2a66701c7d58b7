"""What becomes of an episode after its end: it is checked, waits or is saved, and gets its label."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from vla_adapter_ros.choices import OnFail
from vla_adapter_ros.dataset.episode_buffer import EpisodeBuffer
from vla_adapter_ros.dataset.finished_episode import EpisodeSummary
from vla_adapter_ros.dataset.outcome import Label, read_label, without_label
from vla_adapter_ros.dataset.quality.findings import Level
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import RecordingError
from vla_adapter_ros.recorder.disk import DiskGauge
from vla_adapter_ros.recorder.episode_bags import EpisodeBags
from vla_adapter_ros.recorder.running_episode import RunningEpisode
from vla_adapter_ros.recorder.saver import EpisodeSaver
from vla_adapter_ros.recorder.session_log import SessionLog
from vla_adapter_ros.recorder.session_types import Reply, describe, notes_of


class EndedEpisode:
    """The episode that ended last: whether it waits or is saved, and what was said of it.

    Args:
        writer: Open data set.
        guard: Held by whoever calls, and whenever something changes here.
        log: Told what happens.
        disk: Learns the size of episodes.
        bags: Told what becomes of an episode.
        on_fail: What happens to an episode that fails its quality checks.
    """

    def __init__(
        self,
        writer: DatasetWriter,
        guard: threading.RLock,
        log: SessionLog,
        disk: DiskGauge,
        bags: EpisodeBags,
        on_fail: OnFail,
    ) -> None:
        self._writer, self._guard, self._log, self._disk = writer, guard, log, disk
        self._bags, self._on_fail = bags, on_fail
        self.saver = EpisodeSaver(writer, guard)
        self._pending: tuple[EpisodeBuffer, dict[str, Any]] | None = None
        self.label = Label()
        """What was said of the outcome of the newest episode."""
        self.report_lines: tuple[str, ...] = ()
        """One line per check of the episode that ended last."""
        self.undoable = False
        """Whether the newest episode was saved and can be taken back."""
        self._dropped = False  # whether the newest episode is gone
        self._begun = 0  # episodes

    @property
    def pending(self) -> bool:
        """Whether an episode waits to be saved or discarded."""
        return self._pending is not None

    @property
    def next_number(self) -> int:
        """Number that the episode gets that is recorded, or waits."""
        return self.saver.next_number

    def begin(self) -> None:
        """Forget the episode before: a new one begins."""
        self.label, self.report_lines = Label(), ()
        self.undoable = self._dropped = False
        self._begun += 1

    def drop(self) -> None:
        """Note that the newest episode is gone."""
        self.undoable, self._dropped = False, True

    def newest_number(self, *, recording: bool) -> int:
        """Number of the newest episode; -1 if it is gone.

        Args:
            recording: Whether one is being recorded.
        """
        if self._dropped:
            return -1
        return self.next_number if recording or self._pending else self.next_number - 1

    def end(self, running: RunningEpisode, fault: str) -> Reply:
        """End the episode; a `fault` makes it fail whatever its quality report says."""
        try:
            episode = running.finish()
        except RecordingError as error:
            self._bags.drop()
            self.drop()
            return self._log.lose_episode(error)
        self._bags.end(episode)
        self._disk.add_episode(episode.bytes_on_disk, running.duration_s)
        if not episode.num_frames:
            self._discard(episode)
            why = fault or running.problem or "the reference camera is silent"
            return self._log.answer(False, f"discarded, no frame was recorded: {why}")
        report = running.report_on(episode)
        self.report_lines = report.lines + ((f"fail ended early: {fault}",) if fault else ())
        for line in self.report_lines:
            self._log.log(line)
        notes = notes_of(report, running.dropped, fault, running.facts_of(episode))
        if (fault or report.level is Level.FAIL) and self._on_fail is not OnFail.SAVE:
            why = "; ".join(line for line in self.report_lines if line.startswith("fail"))
            if self._on_fail is OnFail.DISCARD:
                self._discard(episode)
                return self._log.answer(False, f"discarded {episode.num_frames} frames: {why}")
            self._pending = (episode, notes)
            return self._log.answer(False, f"{episode.num_frames} frames wait, save or discard them: {why}")
        return self._submit(episode, notes)

    def save(self) -> Reply:
        """Save the episode that waits although it failed its checks."""
        if not self._pending:
            return self._log.answer(False, "no episode waits to be saved")
        (episode, notes), self._pending = self._pending, None
        return self._submit(episode, notes | {"saved_despite_verdict": True})

    def discard(self) -> Reply:
        """Drop the episode that waits."""
        if not self._pending:
            return self._log.answer(False, "no episode is being recorded or waits")
        (episode, _), self._pending = self._pending, None
        self._discard(episode)
        return self._log.answer(True, f"discarded the pending episode of {episode.num_frames} frames")

    def set_label(self, number: int, outcome: str, reason: str, *, recording: bool) -> Reply:
        """Say how an episode ended: the one that waits, one that is being saved, or one on disk.

        Args:
            number: Of the episode; -1: the newest.
            outcome: success or failure; empty: what was said before is taken back.
            reason: Why, in a few words.
            recording: Whether an episode is being recorded.
        """
        try:
            label = read_label(outcome, reason)
        except RecordingError as error:
            return self._log.answer(False, str(error))
        is_newest = number in (-1, self.newest_number(recording=recording))
        if is_newest and recording:
            return self._log.answer(
                False, "an episode is being recorded: stop it first, or name another one by its number"
            )
        if number < 0 and self._dropped:
            return self._log.answer(False, "the newest episode is gone: name another one by its number")
        if is_newest and self._pending:
            episode, notes = self._pending
            self._pending = episode, without_label(notes) | label.as_json()
            self.label = label
            return self._log.answer(True, f"the episode that waits: {label}")
        labeled = self.saver.label(number, label)

        def end(future: Future[int]) -> None:
            with self._guard:
                if (error := future.exception()) is not None:
                    self._log.answer(False, f"no label: {error}")
                    return
                self._log.answer(True, f"episode {future.result()}: {label}")
                if is_newest and not recording and not self._pending:
                    self.label = label

        labeled.add_done_callback(end)
        return Reply(True, str(label), labeled=labeled)

    def _submit(self, episode: EpisodeBuffer, notes: Mapping[str, Any]) -> Reply:
        self.undoable = True
        begun, dropped, failures = self._begun, notes["dropped"], self._log.failures

        def end(future: Future[EpisodeSummary]) -> None:
            """Say how the save ended; a success does not cover what has failed meanwhile."""
            error = future.exception()
            if error is not None:
                if begun == self._begun:
                    self.drop()
                self._bags.drop(episode)
                self._log.lose_episode(error)
                return
            self._bags.keep(episode, future.result().index)
            if self._log.failures > failures:
                self._log.log(describe(future.result(), dropped))
            else:
                self._log.answer(True, describe(future.result(), dropped))

        saved = self.saver.save(episode, notes, end)
        return Reply(True, f"saving {episode.num_frames} frames", saved, dropped)

    def _discard(self, episode: EpisodeBuffer) -> None:
        self._writer.discard(episode)
        self._bags.drop(episode)
        self.drop()
