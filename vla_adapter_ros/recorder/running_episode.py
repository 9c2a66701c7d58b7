"""The episode that is being recorded: its frames go into the data set, and are watched for its report."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Mapping

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.episode_buffer import EpisodeBuffer
from vla_adapter_ros.dataset.episode_head import EpisodeHead
from vla_adapter_ros.dataset.layout import SOURCE_NUMBERS
from vla_adapter_ros.dataset.leader import Leader
from vla_adapter_ros.dataset.next_state import NextState
from vla_adapter_ros.dataset.outcome import count_interventions, intervention_rows
from vla_adapter_ros.dataset.quality.findings import Finding, Level, QualityReport
from vla_adapter_ros.dataset.quality.monitor import EpisodeMonitor
from vla_adapter_ros.dataset.quality.settings import QualitySettings
from vla_adapter_ros.dataset.trial_facts import TrialFacts, utc_text
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import FrameError
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import losses_since

_RATE_FRAMES = 64  # the live rate is that of so many frames


class RunningEpisode:
    """One episode from its start to its end; the writer has begun it.

    Args:
        writer: Open data set.
        contract: The robot's contract.
        thresholds: Of the quality checks.
        leader: Knows who leads.
        losses: Gives what the streams have lost so far: see `ObservationBuilder.losses`.
        log: Told what happens, one line each.
        now: Time of the start [s]; only frames stamped later belong to the episode.
        began: The same in seconds since 1970, whatever the clock of the robot says.
    """

    def __init__(
        self,
        writer: DatasetWriter,
        contract: Contract,
        thresholds: QualitySettings,
        leader: Leader,
        losses: Callable[[], Mapping[str, int]],
        log: Callable[[str], None],
        now: float,
        began: float,
    ) -> None:
        self._writer, self._leader, self._losses, self._log = writer, leader, losses, log
        self._monitor = EpisodeMonitor(contract, thresholds)
        self._head = EpisodeHead()
        self._next_state = NextState(contract) if contract.hand_guided else None
        self._instructions: list[tuple[float, str]] = []  # given during the episode, and from when on
        self._stamps: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._lost_before = dict(losses())
        self._started, self._began = now, began
        self._sources = array("b")  # who led, in each row so far
        self._policy: tuple[str, float, float] | None = None  # what the leader says of it, once it has ended
        self._recorded = 0
        self.last_good = now
        """Stamp of the newest good frame [s]; before the first, the time of the start."""
        self.dropped = 0
        """Frames that were left out."""
        self.problem = ""
        """Why the newest frame was left out; empty if it was not."""

    @property
    def frames(self) -> int:
        """Frames that are recorded, or good and held back until it is known who led."""
        return self._recorded + self._head.held

    @property
    def duration_s(self) -> float:
        """Time from the start to the newest good frame [s]."""
        return self.last_good - self._started

    @property
    def rate_hz(self) -> float:
        """True rate of the newest rows [Hz]; 0 before there are two."""
        stamps = self._stamps
        return (len(stamps) - 1) / (stamps[-1] - stamps[0]) if len(stamps) > 1 else 0.0

    @property
    def checkpoint(self) -> str:
        """Checkpoint that has led in it; empty: none, or unknown."""
        return (self._policy or self._leader.policy_facts())[0]

    @property
    def interventions(self) -> int:
        """How often a human has taken over from the policy so far."""
        return count_interventions(self._sources)

    @property
    def intervention_share(self) -> float:
        """Share of the rows so far that a human led in them."""
        return float(intervention_rows(self._sources).mean()) if self._sources else 0.0

    def add_frame(self, frame: Frame) -> None:
        """Record a frame; one from before the start is ignored.

        The episode begins with the first frame in which somebody leads: what was recorded until then, while
        nobody did, is dropped. If nobody ever does, it stays. Where actions are next states, a frame is
        recorded with the one after it, and the last one is not.

        Raises:
            RecordingError: an encoder failed, and the episode is lost.
        """
        if frame.stamp < self._started:
            return
        if not frame.problem:
            self.last_good = frame.stamp
        for whole in self._next_state.add_item(frame) if self._next_state else [frame]:
            self._add_whole(whole)

    def _add_whole(self, frame: Frame) -> None:
        """Record a frame that has its action, once it is known whether the episode begins with it."""
        instruction = next((text for since, text in reversed(self._instructions) if since <= frame.stamp), "")
        frames, begins = self._head.add_frame(frame, instruction, self._leader.source_at)
        if begins:  # what was recorded until then showed an arm that nobody led
            self._begin_at(frames[0][0].stamp)
        for known, said in frames:
            self._record(known, said)

    def change_instruction(self, now: float, instruction: str) -> None:
        """Give the frames from `now` [s] on another instruction."""
        self._instructions.append((now, instruction))

    def count_refused_image(self, camera: str, why: str) -> None:
        """Count an image that could not be used."""
        self._monitor.count_refused_image(camera, why)

    def finish(self) -> EpisodeBuffer:
        """Record what was held back, and take the episode out of the writer.

        Raises:
            RecordingError: an encoder failed, and the episode is lost.
        """
        for whole in self._next_state.end() if self._next_state else ():
            self._add_whole(whole)
        for frame, instruction in self._head.rest():
            self._record(frame, instruction)
        episode = self._writer.detach_episode()
        episode.set_control_sources(self._leader.source_at)
        self._sources = array("b", episode.control_sources)
        self._policy = self._leader.policy_facts()
        return episode

    def discard(self) -> int:
        """Drop the episode; returns how many frames there were."""
        count = self._recorded + len(self._head.rest())
        self._writer.discard_episode()
        return count

    def report_on(self, episode: EpisodeBuffer) -> QualityReport:
        """The quality report of a finished episode of at least one row, with what leader and streams say."""
        end = episode.last_stamp
        report = self._monitor.validate(episode.control_sources, self._leader.obstacle(end))
        remarks = [("controller", text) for text in self._leader.remarks(end)]
        remarks += [("streams", text) for text in losses_since(self._lost_before, self._losses())]
        noted = (Finding(name, Level.WARN, math.nan, text) for name, text in remarks)
        return QualityReport((*report.findings, *noted))

    def facts_of(self, episode: EpisodeBuffer) -> TrialFacts:
        """What is known of the run behind a finished episode of at least one row."""
        checkpoint, p50, p99 = self._policy or self._leader.policy_facts()
        led = self._sources.count(SOURCE_NUMBERS["policy"])
        return TrialFacts(
            started=utc_text(self._began),
            checkpoint=checkpoint if led else "",
            duration_s=episode.duration_s,
            policy_share=led / len(self._sources),
            interventions=self.interventions,
            intervention_share=self.intervention_share,
            latency_p50_s=p50 if led else math.nan,
            latency_p99_s=p99 if led else math.nan,
        )

    def _record(self, frame: Frame, instruction: str) -> None:
        try:
            source = self._leader.source_at(frame.stamp)
            self._writer.add_frame(frame, source, wait=False, task=instruction)
        except FrameError as error:
            self.dropped += 1
            self._monitor.count_dropped()
            if not self.problem:  # the first of several
                self._log(f"frame left out: {error}")
            self.problem = str(error)
            return
        self._monitor.add_frame(frame)
        self._sources.append(source)
        self._recorded += 1
        self.problem = ""
        self.last_good = max(self.last_good, frame.stamp)
        self._stamps.append(frame.stamp)

    def _begin_at(self, stamp: float) -> None:
        """Forget the rows before `stamp` [s], in which nobody led."""
        if self._recorded:
            self._writer.begin_again()
            self._log(
                f"the episode begins with the first command: {self._recorded} rows before it were dropped"
            )
        self._monitor.clear()
        self._started = stamp
        self._recorded = self.dropped = 0
        self._stamps.clear()
        del self._sources[:]
        self._lost_before = dict(self._losses())
