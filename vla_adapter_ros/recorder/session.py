"""A recording session: one episode after the other, checked before it is saved, and saved in the background.

    idle --start--> recording --stop--> (checks) --> saved in the background, idle
                                            `-- fail --> pending --save / discard--> idle

A fault ends the episode by itself: a stream that stays silent, a clock that
jumps, a disk that fills up. What was recorded until then waits like an episode
that failed its quality checks. No ROS here; times are passed in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.leader import Leader
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, QualitySettings
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import RecordingError, VlaAdapterError
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.recorder.disk import DiskGauge
from vla_adapter_ros.recorder.ended_episode import EndedEpisode
from vla_adapter_ros.recorder.episode_bags import EpisodeBags
from vla_adapter_ros.recorder.fault_watch import FaultWatch
from vla_adapter_ros.recorder.running_episode import RunningEpisode
from vla_adapter_ros.recorder.session_log import SessionLog
from vla_adapter_ros.recorder.session_types import (
    Reply,
    SessionSettings,
    SessionState,
    SessionStatus,
)
from vla_adapter_ros.texts import visible


class RecordingSession:
    """Takes commands and frames; the frames come from one thread, commands may come from any.

    Args:
        writer: Open data set; closed by `close`.
        contract: The robot's contract.
        settings: Behavior.
        thresholds: Of the quality checks.
        log: Told what happens, one line each.
        alarm: Told that an episode is lost; None: `log` is.
        leader: Knows who leads; None: there is no controller, so a human does.
        losses: Gives what the streams have lost so far: see `ObservationBuilder.losses`.
        bags: Bags of the episodes, closed by `close`; None: there are none.
    """

    def __init__(
        self,
        writer: DatasetWriter,
        contract: Contract,
        settings: SessionSettings | None = None,
        thresholds: QualitySettings = DEFAULTS,
        log: Callable[[str], None] = lambda line: None,
        leader: Leader | None = None,
        losses: Callable[[], Mapping[str, int]] = dict,
        alarm: Callable[[str], None] | None = None,
        bags: EpisodeBags | None = None,
    ) -> None:
        self._writer, self._contract = writer, contract
        self._settings, self._thresholds = settings or SessionSettings(), thresholds
        self._log = SessionLog(log, alarm)
        self._leader = leader or Leader(contract)
        self._losses = losses
        self._bags = bags or EpisodeBags(None)
        self._guard = threading.RLock()
        self._newest: RunningEpisode | None = None  # that is being recorded, or else was last
        self._instruction = ""
        self._disk = DiskGauge(writer.root, contract, self._settings.min_disk_bytes)
        self._ended = EndedEpisode(
            writer, self._guard, self._log, self._disk, self._bags, self._settings.on_fail
        )
        self._faults = FaultWatch(self._disk, self._settings.silence_s)

    @property
    def state(self) -> SessionState:
        """idle, recording or pending."""
        if self._writer.recording:
            return SessionState.RECORDING
        return SessionState.PENDING if self._ended.pending else SessionState.IDLE

    @property
    def instruction(self) -> str:
        """Instruction of the newest episode; empty before the first."""
        return self._instruction

    @property
    def _running(self) -> RunningEpisode | None:
        """The episode that is being recorded; None if none is."""
        return self._newest if self._writer.recording else None

    # Commands

    def start(self, instruction: str, now: float, issues: Sequence[str] = ()) -> Reply:
        """Begin an episode.

        Args:
            instruction: What is to be done, in words; empty: that of the episode before.
            now: Time [s]; only frames stamped later belong to the episode.
            issues: Streams that are missing, in words; any refuses the start.

        A controller that lets nothing move refuses it as well: see `Leader.refusal`.
        """
        with self._guard:
            refusal = self._refusal(now, issues)
            if refusal:
                return self._log.answer(False, refusal)
            said = visible(instruction)
            if instruction.strip() and not said:
                return self._log.answer(
                    False, f"instruction = {instruction!r}: allowed is a text that can be read"
                )
            try:
                self._writer.start_episode(said or self._instruction)
            except RecordingError as error:
                return self._log.answer(False, str(error))
            self._instruction = said or self._instruction
            self._newest = RunningEpisode(
                self._writer,
                self._contract,
                self._thresholds,
                self._leader,
                self._losses,
                self._log.log,
                now,
                time.time(),
            )
            self._bags.begin()
            self._ended.begin()
            notice = self._leader.begin(now)
            text = f"recording episode {self._ended.next_number}: {self._instruction}"
            return self._log.answer(True, f"{text}; {notice}" if notice else text)

    def stop(self) -> Reply:
        """End the episode: check it, and save it, ask or discard it as its report and the settings say."""
        with self._guard:
            if episode := self._running:
                return self._ended.end(episode, "")
            waits = "an episode waits: save or discard it"
            return self._log.answer(False, waits if self._ended.pending else "no episode is being recorded")

    def save(self) -> Reply:
        """Save the pending episode although it failed its checks."""
        with self._guard:
            return self._ended.save()

    def discard(self) -> Reply:
        """Drop the episode being recorded, or else the pending one."""
        with self._guard:
            if running := self._running:
                self._bags.drop()
                self._ended.drop()
                return self._log.answer(True, f"discarded an episode of {running.discard()} frames")
            return self._ended.discard()

    def label(self, number: int, outcome: str, reason: str) -> Reply:
        """Say how an episode ended: see `EndedEpisode.set_label`."""
        with self._guard:
            return self._ended.set_label(number, outcome, reason, recording=self._running is not None)

    def rerecord(self, now: float, issues: Sequence[str] = ()) -> Reply:
        """Begin the episode again, with the same instruction.

        Drops the one being recorded, or else the pending one, or else takes the one back that was saved
        last. When a stream is missing, or nothing can move, nothing is dropped.
        """
        with self._guard:
            refusal = self._refusal(now, issues, dropping=True)
            if refusal:
                return self._log.answer(False, refusal)
            if self._running or self._ended.pending:
                gone = self.discard().message
            elif not self._ended.undoable:
                return self._log.answer(False, "there is no episode to record again")
            elif self._ended.saver.num_episodes:
                return self._log.answer(False, "the episode is still being saved: try again")
            else:
                try:
                    index = self._ended.saver.undo()
                    self._bags.take_back(index)
                    gone = f"took back episode {index}"
                except (VlaAdapterError, OSError) as error:
                    return self._log.answer(False, str(error))
            reply = self.start("", now, issues)
            return Reply(reply.ok, f"{gone}; {reply.message}")

    def change_instruction(self, instruction: str, now: float) -> None:
        """Give the rows from `now` [s] on another instruction; without an episode it is ignored.

        A text that nobody can read changes nothing: stopping says nothing about the instruction.
        """
        with self._guard:
            said = visible(instruction)
            if (episode := self._running) and said and said != self._instruction:
                episode.change_instruction(now, said)
                self._instruction = said
                self._log.log(f"the instruction is now: {said}")

    def refuse(self, why: str) -> Reply:
        """Answer a command that there is not."""
        with self._guard:
            return self._log.answer(False, why)

    # Frames and time

    def add_frame(self, frame: Frame) -> None:
        """Record a frame, see `RunningEpisode.add_frame`; without an episode it is ignored.

        An arm that is sent home ends the episode: nothing of that motion is recorded.
        """
        with self._guard:
            if episode := self._running:
                if self._leader.goes_home_at(frame.stamp):
                    self._log.tell("the arm goes home: the episode ends here")
                    self._ended.end(episode, "")
                    return
                try:
                    episode.add_frame(frame)
                except RecordingError as error:  # an encoder failed: the writer has dropped the episode
                    self._bags.drop()
                    self._ended.drop()
                    self._log.lose_episode(error)

    def count_refused_image(self, camera: str, why: str) -> None:
        """Count an image that could not be used; without an episode it is ignored."""
        with self._guard:
            if episode := self._running:
                episode.count_refused_image(camera, why)

    def check_faults(self, now: float, issues: Callable[[], Sequence[str]] = tuple) -> None:
        """Look for faults that end an episode; to be called often, at least a few times per second.

        Args:
            now: ROS time [s].
            issues: Asked which streams are silent when no frame has come for too long.
        """
        with self._guard:
            news, episode = self._leader.news(now), self._running
            fault = self._faults.find_fault(now, time.monotonic(), episode, issues)
            if episode is None:
                return
            for sentence in news:
                self._log.tell(sentence)
            if fault:
                self._ended.end(episode, fault)

    def status(self) -> SessionStatus:
        """What goes on."""
        with self._guard:
            running, newest = self._running, self._newest
            current = (self._writer.bytes_recorded, running.duration_s) if running else (0, 0.0)
            return SessionStatus(
                state=self.state,
                reason=(running.problem if running else "") or self._log.reason,
                episode=self._ended.next_number if running else -1,
                episodes=self._writer.num_episodes,
                saving=self._ended.saver.num_episodes,
                frames=newest.frames if newest else 0,
                dropped=newest.dropped if newest else 0,
                rate_hz=running.rate_hz if running else 0.0,
                queue_depth=self._writer.queue_depth,
                disk_left=self._disk.free(),
                minutes_left=self._disk.minutes_left(*current),
                report_lines=self._ended.report_lines,
                newest=self._ended.newest_number(recording=running is not None) if newest else -1,
                interventions=newest.interventions if newest else 0,
                intervention_share=newest.intervention_share if newest else 0.0,
                checkpoint=newest.checkpoint if newest else "",
                label=self._ended.label,
            )

    def close(self) -> None:
        """Discard what was not to be saved, finish what was, and close the data set."""
        with self._guard:
            if self._running or self._ended.pending:
                self.discard()
        self._ended.saver.close()
        self._bags.close()
        self._writer.close()

    # Inside

    def _refusal(self, now: float, issues: Sequence[str], *, dropping: bool = False) -> str:
        """Why no episode can begin now; empty if one can."""
        if issues:
            return "inputs are missing: " + "; ".join(issues)
        if stands_still := self._leader.refusal(now):
            return stands_still
        if not dropping and self._ended.pending:
            return "an episode waits: save or discard it first"
        if (saving := self._ended.saver.num_episodes) > self._settings.max_saving:
            return f"{saving} episodes are still being saved, allowed are {self._settings.max_saving}"
        return self._disk.shortage()
