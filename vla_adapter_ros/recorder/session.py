"""A recording session: one episode after the other, judged before it is saved, and saved in the background.

    idle --start--> recording --stop--> (verdict) --> saved in the background, idle
                                            `-- fails --> pending --save / discard--> idle

A fault ends the episode by itself: a stream that stays silent, a clock that
jumps, a disk that fills up. What was recorded until then waits like an episode
that failed its verdict. No ROS here; times are passed in.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.episode_buffer import EpisodeBuffer
from vla_adapter_ros.dataset.head import EpisodeHead
from vla_adapter_ros.dataset.layout import CONTROL_SOURCE, STAMP
from vla_adapter_ros.dataset.leader import Leader
from vla_adapter_ros.dataset.quality.findings import Finding, Level, QualityReport
from vla_adapter_ros.dataset.quality.monitor import EpisodeMonitor
from vla_adapter_ros.dataset.quality.settings import QualitySettings
from vla_adapter_ros.dataset.writer import DatasetWriter, EpisodeSummary
from vla_adapter_ros.errors import FrameError, RecordingError, VlaAdapterError
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import losses_since
from vla_adapter_ros.recorder.disk import DiskGauge
from vla_adapter_ros.recorder.memory import give_back_memory
from vla_adapter_ros.recorder.session_types import (
    IDLE,
    PENDING,
    RECORDING,
    Reply,
    SessionSettings,
    SessionStatus,
    describe,
    notes_of,
)
from vla_adapter_ros.texts import visible

COMMANDS = ("start", "stop", "toggle", "discard", "rerecord", "save")
CLOCK_JUMP_BACK_S = 0.5
CLOCK_JUMP_AHEAD_S = 1.0  # beyond what a steady clock says has passed
_RATE_FRAMES = 64  # the live rate is that of so many frames


class RecordingSession:
    """Takes commands and frames; the frames come from one thread, commands may come from any.

    Args:
        writer: Open data set; closed by `close`.
        contract: The robot's contract.
        settings: Behavior.
        verdict: Thresholds of the verdict.
        log: Told what happens, one line each.
        alarm: Told that an episode is lost; None: `log` is.
        leader: Knows who leads; None: there is no controller, so a human does.
        losses: Gives what the streams have lost so far: see `ObservationBuilder.losses`.
    """

    def __init__(
        self,
        writer: DatasetWriter,
        contract: Contract,
        settings: SessionSettings | None = None,
        verdict: QualitySettings | None = None,
        log: Callable[[str], None] = lambda line: None,
        leader: Leader | None = None,
        losses: Callable[[], Mapping[str, int]] = dict,
        alarm: Callable[[str], None] | None = None,
    ) -> None:
        self._writer, self._contract = writer, contract
        self._settings, self._verdict_settings = settings or SessionSettings(), verdict
        self._log, self._alarm = log, alarm or log
        self._leader = leader or Leader(contract)
        self._losses = losses
        self._lost_before: dict[str, int] = {}
        self._guard = threading.RLock()
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._saving: list[Future[EpisodeSummary]] = []
        self._pending: tuple[EpisodeBuffer, dict[str, Any]] | None = None
        self._monitor = EpisodeMonitor(contract, verdict)
        self._instruction, self._undoable = "", False
        self._later: list[tuple[float, str]] = []  # tasks given during the episode, and from when on
        self._reason, self._verdict = "", ()
        self._failures = 0  # how often something was refused or lost
        self._started = self._last_good = 0.0
        self._frames = self._dropped = 0
        self._head = EpisodeHead()
        self._problem = ""
        self._stamps: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._clock: tuple[float, float] | None = None  # ROS time, steady time
        self._disk = DiskGauge(writer.root, contract, self._settings.min_disk_bytes)
        self._disk_looked = -1e9

    @property
    def state(self) -> str:
        """idle, recording or pending."""
        if self._writer.recording:
            return RECORDING
        return PENDING if self._pending else IDLE

    @property
    def instruction(self) -> str:
        """Task of the newest episode; empty before the first."""
        return self._instruction

    # Commands

    def start(self, instruction: str, now: float, issues: Sequence[str] = ()) -> Reply:
        """Begin an episode.

        Args:
            instruction: The task in words; empty: that of the episode before.
            now: Time [s]; only frames stamped later belong to the episode.
            complaints: Streams that are missing, in words; any refuses the start.

        A controller that lets nothing move refuses it as well: see `Leader.refusal`.
        """
        with self._guard:
            refusal = self._refusal(now, issues)
            if refusal:
                return self._said(False, refusal)
            task = visible(instruction)
            if instruction.strip() and not task:
                return self._said(False, f"task = {instruction!r}: allowed is a text that can be read")
            try:
                self._writer.start_episode(task or self._instruction)
            except RecordingError as error:
                return self._said(False, str(error))
            self._instruction = task or self._instruction
            self._monitor = EpisodeMonitor(self._contract, self._verdict_settings)
            self._started = self._last_good = now
            self._frames = self._dropped = 0
            self._problem, self._verdict = "", ()
            self._stamps.clear()
            self._undoable = False
            self._head = EpisodeHead()
            self._later.clear()
            self._lost_before = dict(self._losses())
            notice = self._leader.begin(now)
            text = f"recording episode {self._next_number()}: {self._instruction}"
            return self._said(True, f"{text}; {notice}" if notice else text)

    def stop(self) -> Reply:
        """End the episode: judge it, and save it, ask or discard it as the verdict and the settings say."""
        with self._guard:
            if not self._writer.recording:
                why = (
                    "an episode waits: save or discard it"
                    if self._pending
                    else "no episode is being recorded"
                )
                return self._said(False, why)
            return self._end("")

    def save(self) -> Reply:
        """Save the pending episode despite its verdict."""
        with self._guard:
            if not self._pending:
                return self._said(False, "no episode waits to be saved")
            (take, notes), self._pending = self._pending, None
            return self._submit(take, notes | {"saved_despite_verdict": True})

    def discard(self) -> Reply:
        """Drop the episode being recorded, or else the pending one."""
        with self._guard:
            if self._writer.recording:
                held = len(self._head.rest())
                self._writer.discard_episode()
                return self._said(True, f"discarded an episode of {self._frames + held} frames")
            if self._pending:
                (take, _), self._pending = self._pending, None
                self._writer.discard(take)
                return self._said(True, f"discarded the pending episode of {len(take.rows)} frames")
            return self._said(False, "no episode is being recorded or waits")

    def rerecord(self, now: float, issues: Sequence[str] = ()) -> Reply:
        """Begin the episode again, with the same instruction.

        Drops the one being recorded, or else the pending one, or else takes the one back that was saved
        last. When a stream is missing, or nothing can move, nothing is dropped.
        """
        with self._guard:
            refusal = self._refusal(now, issues, dropping=True)
            if refusal:
                return self._said(False, refusal)
            if self._writer.recording or self._pending:
                gone = self.discard().message
            elif not self._undoable:
                return self._said(False, "there is no episode to record again")
            elif self._saving:
                return self._said(False, "the episode is still being saved: try again")
            else:
                try:
                    gone = f"took back episode {self._writer.undo_episode()}"
                except (VlaAdapterError, OSError) as error:
                    return self._said(False, str(error))
            reply = self.start("", now, issues)
            return Reply(reply.ok, f"{gone}; {reply.message}")

    def instruct(self, task: str, now: float) -> None:
        """Note that something else is to be done from `now` [s] on; without an episode it is ignored.

        A text that nobody can read changes nothing: stopping says nothing about the task.
        """
        with self._guard:
            if self._writer.recording and (said := visible(task)) and said != self._instruction:
                self._later.append((now, said))
                self._instruction = said
                self._log(f"the task is now: {said}")

    def command(self, words: str, now: float, issues: Sequence[str] = ()) -> Reply:
        """Carry out a command by name, as from a button: one of COMMANDS, `start` with the task after it."""
        name, _, rest = words.strip().partition(" ")
        if name == "toggle":
            name = "stop" if self._writer.recording else "start"
        if name == "start":
            return self.start(rest, now, issues)
        if name == "rerecord":
            return self.rerecord(now, issues)
        plain = {"stop": self.stop, "discard": self.discard, "save": self.save}
        if name not in plain:
            return self._said(False, f"command {words!r}: allowed are {', '.join(COMMANDS)}")
        return plain[name]()

    # Frames and time

    def add(self, frame: Frame) -> None:
        """Take a frame; without an episode, or from before its start, it is ignored.

        The episode begins with the first frame in which somebody leads: what was recorded until then, while
        nobody did, is dropped. If nobody ever does, it stays.
        """
        with self._guard:
            if not self._writer.recording or frame.stamp < self._started:
                return
            if not frame.problem:
                self._last_good = frame.stamp
            task = next((text for since, text in reversed(self._later) if since <= frame.stamp), "")
            frames, begins = self._head.take(frame, task, self._leader.source_at)
            if begins:  # what was recorded until then showed an arm that nobody led
                self._begin_at(frames[0][0].stamp)
            for ready, said in frames:
                self._record(ready, said)

    def _record(self, frame: Frame, task: str) -> None:
        if not self._writer.recording:  # lost with the frame before
            return
        try:
            self._writer.add(frame, self._leader.source_at(frame.stamp), wait=False, task=task)
        except FrameError as error:
            self._dropped += 1
            self._monitor.drop()
            if not self._problem:  # the first of several
                self._log(f"frame left out: {error}")
            self._problem = str(error)
        except RecordingError as error:  # an encoder failed: the writer has dropped the episode
            self._lost(error)
        else:
            self._monitor.add(frame)
            self._frames += 1
            self._problem = ""
            self._last_good = max(self._last_good, frame.stamp)
            self._stamps.append(frame.stamp)

    def _begin_at(self, stamp: float) -> None:
        """Forget the rows before `stamp` [s], in which nobody led."""
        if self._frames:
            try:
                self._writer.begin_again()
            except RecordingError as error:
                self._lost(error)
            self._log(
                f"the episode begins with the first command: {self._frames} rows before it were dropped"
            )
        self._monitor.clear()
        self._started = stamp
        self._frames = self._dropped = 0
        self._stamps.clear()
        self._lost_before = dict(self._losses())

    def refuse(self, camera: str, why: str) -> None:
        """Take note of an image that could not be used; without an episode it is ignored."""
        with self._guard:
            if self._writer.recording:
                self._monitor.refuse(camera, why)

    def watch(self, now: float, issues: Callable[[], Sequence[str]] = tuple) -> None:
        """Look for faults that end an episode; to be called often, at least a few times per second.

        Args:
            now: ROS time [s].
            complaints: Asked which streams are silent when no frame has come for too long.
        """
        with self._guard:
            steady = time.monotonic()
            before, self._clock = self._clock, (now, steady)
            news = self._leader.news(now)
            if not self._writer.recording:
                return
            for sentence in news:
                self._reason = sentence
                self._log(sentence)
            if before is not None:
                step, passed = now - before[0], steady - before[1]
                if step < -CLOCK_JUMP_BACK_S or step - passed > CLOCK_JUMP_AHEAD_S:
                    self._end(f"the clock jumped by {step - passed:+.2f} s")
                    return
            if now - self._last_good > self._settings.silence_s:
                why = self._problem or "; ".join(issues()) or "the reference camera is silent"
                self._end(f"no good frame for {now - self._last_good:.1f} s: {why}")
            elif steady - self._disk_looked > 1.0:
                self._disk_looked = steady
                if shortage := self._disk.shortage():
                    self._end(shortage)

    def status(self) -> SessionStatus:
        """What goes on."""
        with self._guard:
            recording = self._writer.recording
            stamps = self._stamps
            rate = (len(stamps) - 1) / (stamps[-1] - stamps[0]) if recording and len(stamps) > 1 else 0.0
            current = (
                (self._writer.bytes_recorded, self._last_good - self._started) if recording else (0, 0.0)
            )
            return SessionStatus(
                state=self.state,
                reason=(self._problem if recording else "") or self._reason,
                episode=self._next_number() if recording else -1,
                episodes=self._writer.num_episodes,
                saving=len(self._saving),
                frames=self._frames + self._head.held,
                dropped=self._dropped,
                rate_hz=rate,
                queue_depth=self._writer.queue_depth,
                disk_left=self._disk.free(),
                minutes_left=self._disk.minutes_left(*current),
                verdict=self._verdict,
            )

    def close(self) -> None:
        """Discard what was not to be saved, finish what was, and close the data set."""
        with self._guard:
            if self._writer.recording or self._pending:
                self.discard()
        self._saver.shutdown(wait=True)
        self._writer.close()

    # Inside

    def _said(self, ok: bool, message: str) -> Reply:
        self._reason = message
        self._failures += not ok
        self._log(message)
        return Reply(ok, message)

    def _lost(self, error: BaseException) -> None:
        self._reason = f"episode lost: {error}"
        self._failures += 1
        self._alarm(self._reason)

    def _refusal(self, now: float, issues: Sequence[str], *, dropping: bool = False) -> str:
        """Why no episode can begin now; empty if one can."""
        if issues:
            return "inputs are missing: " + "; ".join(issues)
        if stands_still := self._leader.refusal(now):
            return stands_still
        if not dropping and self._pending:
            return "an episode waits: save or discard it first"
        if len(self._saving) > self._settings.max_saving:
            return (
                f"{len(self._saving)} episodes are still being saved, allowed are {self._settings.max_saving}"
            )
        return self._disk.shortage()

    def _end(self, fault: str) -> Reply:
        """End the episode; a `fault` makes it fail whatever the verdict says."""
        for frame, task in self._head.rest():
            self._record(frame, task)
        if not self._writer.recording:
            return Reply(False, self._reason)
        take = self._writer.detach_episode()
        self._disk.note(take.bytes_on_disk, self._last_good - self._started)
        if not take.rows:
            self._writer.discard(take)
            why = fault or self._problem or "the reference camera is silent"
            return self._said(False, f"discarded, no frame was recorded: {why}")
        take.mark(self._leader.source_at)
        end = take.rows[-1][STAMP]
        sources = [row[CONTROL_SOURCE] for row in take.rows]
        verdict = self._monitor.validate(sources, self._leader.obstacle(end))
        remarks = [("controller", text) for text in self._leader.remarks(end)]
        remarks += [("streams", text) for text in losses_since(self._lost_before, self._losses())]
        verdict = QualityReport(
            verdict.checks + tuple(Finding(name, Level.WARN, math.nan, text) for name, text in remarks)
        )
        self._verdict = verdict.lines + ((f"fail ended early: {fault}",) if fault else ())
        for line in self._verdict:
            self._log(line)
        notes = notes_of(verdict, self._dropped, fault)
        if (fault or verdict.level is Level.FAIL) and self._settings.on_fail != "save":
            why = "; ".join(line for line in self._verdict if line.startswith("fail"))
            if self._settings.on_fail == "discard":
                self._writer.discard(take)
                return self._said(False, f"discarded {len(take.rows)} frames: {why}")
            self._pending = (take, notes)
            return self._said(False, f"{len(take.rows)} frames wait, save or discard them: {why}")
        return self._submit(take, notes)

    def _submit(self, take: EpisodeBuffer, notes: Mapping[str, Any]) -> Reply:
        self._undoable = True
        saved = self._saver.submit(self._writer.commit, take, notes)
        self._saving.append(saved)
        dropped, failures = notes["dropped"], self._failures
        saved.add_done_callback(lambda future: self._after_saving(future, dropped, failures))
        return Reply(True, f"saving {len(take.rows)} frames", saved, dropped)

    def _after_saving(self, future: Future[EpisodeSummary], dropped: int, failures: int) -> None:
        """Say how a save ended; a success does not cover what has failed since `failures` were counted."""
        give_back_memory()
        with self._guard:
            self._saving.remove(future)
            error = future.exception()
            if error is None:
                done = describe(future.result(), dropped)
                if self._failures > failures:
                    self._log(done)
                else:
                    self._said(True, done)
                return
            self._undoable = False
            self._lost(error)

    def _next_number(self) -> int:
        return self._writer.num_episodes + len(self._saving)
