"""The episodes of a bag: where they begin and end, and how their frames come into a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.episode_head import EpisodeHead
from vla_adapter_ros.dataset.leader import Leader, Report
from vla_adapter_ros.dataset.next_state import NOTE
from vla_adapter_ros.dataset.quality.monitor import EpisodeMonitor
from vla_adapter_ros.dataset.tools.copying import describe_timing
from vla_adapter_ros.dataset.tools.import_report import EpisodeReport, ImportReport, describe_tasks
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.observation.bag import CONTROLLER_TYPE, RECORDER_TYPE, TEXT_TYPE, BagMessage
from vla_adapter_ros.observation.bag_frames import BagNotes
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import kind_of, losses_since
from vla_adapter_ros.texts import visible


@dataclass
class EpisodeBounds:
    """Where episodes begin and end in a bag, and who is in control; fed with the bag's messages.

    The recorder's status says when it recorded, a text topic what was to be done; a text that comes while it
    records holds from then on. Without a recorder, each text begins an episode and an empty one ends it.
    Without either the whole bag is one episode.

    Attributes:
        recorder, texts: Whether the bag has such topics.
        task: What is to be done; empty: not known.
        leader: Knows who is in control.
        number: Raised with every episode that begins.
    """

    recorder: bool
    texts: bool
    task: str
    leader: Leader
    number: int = 0
    _recording: int = -1
    _given: list[tuple[float, str]] = field(default_factory=list)  # texts, and when they came

    @property
    def active(self) -> bool:
        """Whether frames belong to an episode now."""
        if self.recorder:
            return self._recording >= 0
        return bool(self.task) or not self.texts

    def read_message(self, message: BagMessage) -> None:
        """Learn what a message of controller, recorder or instruction says; others are ignored."""
        content = message.content
        if message.type == CONTROLLER_TYPE:
            stamp = content.header.stamp
            time = stamp.sec + 1e-9 * stamp.nanosec
            self.leader.hear(Report(time, content.state, content.control_source))
        elif message.type == RECORDER_TYPE:
            now = int(content.episode) if content.state == "recording" else -1
            if now != self._recording:
                self._recording, self.number = now, self.number + 1
        elif message.type == TEXT_TYPE:
            text = visible(content.data)
            if self.recorder and not text:
                return  # stopping says nothing about the task
            self.task = text
            self._given.append((message.received, text))
            self.number += not self.recorder

    def task_at(self, stamp: float) -> str:
        """What was to be done at a time [s]; before the first text, as it says."""
        if not self.recorder or not self._given:
            return self.task
        return next((text for since, text in reversed(self._given) if since <= stamp), self._given[0][1])


class BagEpisodes:
    """Hands a bag's frames to a writer, episode by episode.

    Args:
        writer: Open data set.
        contract: Of the robot.
        bounds: Says where episodes begin and end; the caller feeds it.
        source: Name of the bag.
        notes: What reading the bag lost so far.
        report: Called with each episode.
        result: Gets an entry for each episode.
    """

    def __init__(
        self,
        writer: DatasetWriter,
        contract: Contract,
        bounds: EpisodeBounds,
        source: str,
        notes: BagNotes,
        report: Callable[[EpisodeReport], None],
        result: ImportReport,
    ) -> None:
        self._writer, self._contract, self._bounds = writer, contract, bounds
        self._source, self._notes = source, notes
        self._report, self._result = report, result
        self._facts = {"action": NOTE} if contract.hand_guided else {}
        self._monitor = EpisodeMonitor(contract)
        self._number, self._task = 0, ""
        self._head = EpisodeHead()
        self._stamps: list[float] = []
        self._left_out: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}  # kind -> the first reason of that kind
        self._lost_before: dict[str, int] = {}

    def follow_bounds(self) -> None:
        """End the episode if another began or it is over."""
        if self._bounds.number != self._number or not self._bounds.active:
            self.end_episode()
        self._number = self._bounds.number

    def add_frame(self, frame: Frame) -> None:
        """Record a frame, or count it as left out; between episodes it is ignored."""
        bounds = self._bounds
        if not bounds.active:
            return
        frames, begins = self._head.add_frame(frame, bounds.task_at(frame.stamp), bounds.leader.source_at)
        if begins:  # as in the recorder, with the first command
            self._forget_episode()
            self._writer.discard_episode()
        for ready, task in frames:
            self._record(ready, task)

    def count_refusal(self, streams: Iterable[str], why: str) -> None:
        """Count a message that could not be used, if it is an image of the episode."""
        for name in streams:
            if name in self._contract.recorded_cameras and self._writer.recording:
                self._monitor.count_refused_image(name, why)

    def end_episode(self) -> None:
        """Save the episode and report it; one without a good frame is reported only."""
        for frame, task in self._head.rest():
            self._record(frame, task)
        if self._writer.recording:
            timing = describe_timing(np.array(self._stamps), self._contract.rate_hz)
            quality = self._monitor.validate()
            notes = {"source": self._source, "timing": timing, "complaints": list(quality.issues)}
            summary = self._writer.save_episode(notes | self._facts)
            remarks = [*describe_tasks(summary.tasks), *(t for t in (timing, *quality.issues) if t)]
            entry = EpisodeReport(summary.index, self._source, summary.frames, summary.task, remarks)
        elif self._left_out:
            entry = EpisodeReport(-1, self._source, 0, self._task, ["no good frame"])
        else:
            return
        entry.remarks += self._losses()
        entry.left_out = dict(self._left_out)
        self._result.episodes.append(entry)
        self._report(entry)
        self._forget_episode()
        self._head = EpisodeHead()

    def _record(self, frame: Frame, task: str) -> None:
        self._task = task
        if frame.problem or not self._task:
            reason = frame.first_cause or "nothing said what was to be done"
            self._left_out[self._reasons.setdefault(kind_of(reason), reason)] += 1
            self._monitor.count_dropped()
            return
        if not self._writer.recording:
            self._writer.start_episode(task)
        self._writer.add_frame(frame, self._bounds.leader.source_at(frame.stamp), task=task)
        self._monitor.add_frame(frame)
        self._stamps.append(frame.stamp)

    def _losses(self) -> list[str]:
        """What was lost since the episode before, without refusals for which frames were left out."""
        told = [kind_of(reason) for reason in self._left_out]
        found = losses_since(self._lost_before, self._notes.losses)
        return [
            text
            for text in found
            if " refused, " not in text
            or not any(kind_of(text.partition(" refused, ")[2]) in r for r in told)
        ]

    def _forget_episode(self) -> None:
        """Begin to count anew."""
        self._lost_before = dict(self._notes.losses)
        self._monitor.clear()
        self._stamps.clear()
        self._left_out.clear()
        self._reasons.clear()
