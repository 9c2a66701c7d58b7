"""Makes data sets of ours from bags and from LeRobot data sets by others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.head import EpisodeHead
from vla_adapter_ros.dataset.leader import Leader, Report
from vla_adapter_ros.dataset.next_state import NOTE, NextState
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.quality.monitor import EpisodeMonitor
from vla_adapter_ros.dataset.tables import read_json
from vla_adapter_ros.dataset.tools.carried import left_behind
from vla_adapter_ros.dataset.tools.drafting.bag_topics import read_streams, shared_topics
from vla_adapter_ros.dataset.tools.transfer import (
    DatasetImporter,
    describe_tasks,
    describe_timing,
    usual_codec,
)
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import BagError, DatasetError
from vla_adapter_ros.observation.bag import CONTROLLER_TYPE, RECORDER_TYPE, TEXT_TYPE, Bag, BagMessage
from vla_adapter_ros.observation.bag_frames import BagNotes, bag_frames, once_begun
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import kind_of, losses_since
from vla_adapter_ros.paths import locate
from vla_adapter_ros.texts import visible

INSTRUCTION_NAMES = ("instruction", "task", "language_instruction")
"""Last parts of the names of topics that are taken for instructions."""


@dataclass
class EpisodeReport:
    """An imported episode.

    Attributes:
        index: Its number in the new data set; -1 if it was not kept.
        source: Where it comes from.
        frames: Number of rows.
        task: What was to be done.
        remarks: What is to be said about it, one sentence each.
        left_out: First cause -> frames left out for it; of causes that differ in numbers only, the first one.
    """

    index: int
    source: str
    frames: int
    task: str
    remarks: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """The report in words."""
        head = f"episode {self.index}" if self.index >= 0 else "not kept"
        lines = [f"{head}: {self.source}: {self.frames} frames, {self.task!r}"]
        lines += [f"  {remark}" for remark in self.remarks]
        return lines + [f"  {count} frames left out: {reason}" for reason, count in self.left_out.items()]


@dataclass
class ImportReport:
    """What an import gave.

    Attributes:
        episodes: One entry each, also for those that could not be kept.
        remarks: What concerns the whole.
    """

    episodes: list[EpisodeReport] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """Episodes that are in the data set."""
        return sum(episode.index >= 0 for episode in self.episodes)


@dataclass
class _Bounds:
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
        if self.recorder:
            return self._recording >= 0
        return bool(self.task) or not self.texts

    def take(self, message: BagMessage) -> None:
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


def import_bag(
    path: str | Path,
    contract: Contract,
    output: str | Path,
    *,
    instruction: str = "",
    instruction_topic: str = "",
    codec: str = "h264",
    crf: int = 23,
    append: bool = False,
    next_state: bool = False,
    report: Callable[[EpisodeReport], None] = lambda episode: None,
) -> ImportReport:
    """Make episodes of a rosbag2 recording, with the frames that a recorder would have built live.

    Args:
        path: Folder of the bag, mcap or sqlite3.
        contract: Streams, rate and ages.
        output: Data set: new, or, with `append`, one of the same contract.
        instruction: What was to be done, in all episodes; needed if no topic says it. Text topics are not
            looked at then.
        instruction_topic: std_msgs/String with what is to be done; empty: a topic with a usual name.
        codec, crf: Of the videos.
        append: Whether to go on with a data set that has episodes; those that came from this bag come again.
        next_state: Whether the action is the state of the next row, as for bags without commands.
        report: Called with each episode.

    Raises:
        BagError: no readable bag, a stream is missing, nothing says what was to be done, or a next state
            is no action in this contract.
        DatasetError, ContractMismatch, RecordingError: as `DatasetWriter`.
    """
    require_new(output, append)
    result, notes = ImportReport(), BagNotes()
    with Bag(path) as bag:
        streams = bag.require(contract, with_action=not next_state)
        follower = NextState(contract) if next_state else None
        recorder, controller = bag.topics_of(RECORDER_TYPE)[:1], bag.topics_of(CONTROLLER_TYPE)[:1]
        given, instruction = instruction.strip(), visible(instruction)
        if given and not instruction:
            raise BagError(f"instruction {given!r}: allowed is a text that can be read")
        texts = [] if instruction else _text_topics(bag, instruction_topic)
        if not instruction and not texts:
            raise BagError(f"{bag.path}: no topic says what was to be done: give an instruction")
        leader = Leader(contract, alone=not controller)
        bounds = _Bounds(bool(recorder), bool(texts), instruction, leader)
        with DatasetWriter(output, contract, codec=codec, crf=crf) as writer:
            take = _BagTake(writer, contract, leader, bag.path.name, notes, report, result, next_state)
            items = bag_frames(
                bag, contract, {*recorder, *controller, *texts}, notes, with_commands=not next_state
            )
            items = once_begun(items, notes)
            for item in follower.follow(items) if follower else items:
                while notes.refused:
                    take.refuse(*notes.refused.popleft())
                if isinstance(item, Frame):
                    take.add(item, bounds)
                else:
                    bounds.take(item)
                    take.follow(bounds)
            take.end()
        result.remarks += bag.mixed(streams)
        result.remarks += shared_topics([s for s in read_streams(bag) if s.topic in streams])
    if notes.early and not result.episodes:
        result.episodes.append(
            EpisodeReport(-1, bag.path.name, 0, instruction, ["no good frame"], dict(notes.early))
        )
        report(result.episodes[-1])
    elif notes.early:
        count, reason = notes.early.total(), next(iter(notes.early))
        result.remarks.append(
            f"{count} frames before all streams had begun are left out and no losses: {reason}"
        )
    if follower:
        result.remarks.append(f"{NOTE}; {follower.left_out} frames without a next row are left out")
    result.remarks += [
        f"{topic}: {count} messages could not be used: {first}"
        for topic, (first, count) in notes.unusable.items()
    ]
    if not result.episodes:  # which would say what was lost
        result.remarks = losses_since({}, notes.losses) + result.remarks
    if notes.clocks:
        result.remarks.insert(0, notes.clocks)
    return result


def _text_topics(bag: Bag, name: str) -> list[str]:
    found = bag.topics_of(TEXT_TYPE)
    if name:
        if name not in found:
            raise BagError(f"{bag.path}: no {TEXT_TYPE} on {name!r}: allowed are {found}")
        return [name]
    return [topic for topic in found if topic.rpartition("/")[2] in INSTRUCTION_NAMES][:1]


class _BagTake:
    """Hands a bag's frames to a writer, episode by episode."""

    def __init__(
        self,
        writer: DatasetWriter,
        contract: Contract,
        leader: Leader,
        source: str,
        notes: BagNotes,
        report: Callable[[EpisodeReport], None],
        result: ImportReport,
        next_state: bool,
    ) -> None:
        self._writer, self._contract, self._leader = writer, contract, leader
        self._source, self._notes = source, notes
        self._report, self._result = report, result
        self._facts = {"action": NOTE} if next_state else {}
        self._monitor = EpisodeMonitor(contract)
        self._number, self._task = 0, ""
        self._head = EpisodeHead()
        self._stamps: list[float] = []
        self._left_out: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}  # kind -> the first reason of that kind
        self._lost_before: dict[str, int] = {}

    def follow(self, bounds: _Bounds) -> None:
        """End the episode if another began or it is over."""
        if bounds.number != self._number or not bounds.active:
            self.end()
        self._number = bounds.number

    def add(self, frame: Frame, bounds: _Bounds) -> None:
        if not bounds.active:
            return
        frames, begins = self._head.take(frame, bounds.task_at(frame.stamp), bounds.leader.source_at)
        if begins:  # as in the recorder, with the first command
            self._forget()
            self._writer.discard_episode()
        for ready, task in frames:
            self._record(ready, task)

    def _record(self, frame: Frame, task: str) -> None:
        self._task = task
        if frame.problem or not self._task:
            reason = frame.first_cause or "nothing said what was to be done"
            self._left_out[self._reasons.setdefault(kind_of(reason), reason)] += 1
            self._monitor.count_dropped()
            return
        if not self._writer.recording:
            self._writer.start_episode(task)
        self._writer.add(frame, self._leader.source_at(frame.stamp), task=task)
        self._monitor.add_frame(frame)
        self._stamps.append(frame.stamp)

    def refuse(self, topic: str, why: str) -> None:
        """Count a message that could not be used, if it is an image of the episode."""
        for name, camera in self._contract.recorded_cameras.items():
            if camera.topic == topic and self._writer.recording:
                self._monitor.count_refused_image(name, why)

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

    def end(self) -> None:
        for frame, task in self._head.rest():
            self._record(frame, task)
        if self._writer.recording:
            timing = describe_timing(np.array(self._stamps), self._contract.rate_hz)
            quality = self._monitor.validate()
            notes = {"source": self._source, "timing": timing, "complaints": list(quality.issues)}
            notes |= self._facts
            summary = self._writer.save_episode(notes)
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
        self._forget()
        self._head = EpisodeHead()

    def _forget(self) -> None:
        """Begin to count anew."""
        self._lost_before = dict(self._notes.losses)
        self._monitor.clear()
        self._stamps.clear()
        self._left_out.clear()
        self._reasons.clear()


def import_lerobot(
    dataset: Dataset,
    contract: Contract,
    output: str | Path,
    *,
    control_source: int = layout.HUMAN,
    append: bool = False,
    report: Callable[[EpisodeReport], None] = lambda episode: None,
) -> ImportReport:
    """Make a data set of ours from one by others. Videos are copied as they are where that is possible.

    Args:
        dataset: Opened with a mapping or with the contract.
        contract: Of the robot that it was recorded on.
        output: Data set: new, or, with `append`, one of the same contract.
        control_source: Who was in control, for data sets that do not say.
        append: Whether to go on with a data set that has episodes; those that came from this one come again.
        report: Called with each episode.

    Raises:
        DatasetError: another rate or other cameras than the contract's, or `output` is the original.
        ContractMismatch, RecordingError: as `DatasetWriter`.
    """
    require_fit(dataset, contract)
    require_elsewhere(output, dataset)
    require_new(output, append)
    result = ImportReport()
    missing = getattr(dataset, "missing", ())
    if missing:
        result.remarks.append(
            f"{len(missing)} episodes of its list lack files: {_numbers(missing)}; the first is "
            f"{dataset.missing_file}"
        )
    if lost := left_behind(dataset, contract):
        result.remarks.append(f"not carried over, since the contract has no place for it: {', '.join(lost)}")
    with DatasetImporter(output, contract, codec=usual_codec(dataset, contract)) as receiver:
        for entry in receive_all(receiver, dataset, control_source):
            result.episodes.append(entry)
            report(entry)
    return result


def receive_all(
    receiver: DatasetImporter,
    dataset: Dataset,
    control_source: int = layout.HUMAN,
    episodes: range | list[int] | None = None,
) -> Iterator[EpisodeReport]:
    """Take in episodes, one after the other; what does not fit is reported and left out."""
    for number in range(dataset.num_episodes) if episodes is None else episodes:
        source = f"{dataset.root.name}, episode {dataset.episodes[number].number}"
        try:
            done = receiver.receive(dataset, number, control_source=control_source)
        except DatasetError as error:
            yield EpisodeReport(-1, source, 0, "", [str(error)])
            continue
        remarks = done.remarks + ([f"times: {done.timing}"] if done.timing else [])
        yield EpisodeReport(done.summary.index, source, done.summary.frames, done.summary.task, remarks)


def require_fit(dataset: Dataset, contract: Contract) -> None:
    """Refuse a data set whose rate or cameras are not the contract's.

    Raises:
        DatasetError: says what differs.
    """
    if dataset.fps != contract.rate_hz:
        raise DatasetError(f"{dataset.root}: {dataset.fps:g} Hz, the contract says {contract.rate_hz:g} Hz")
    for what, ours, theirs in (
        ("cameras", contract.cameras, dataset.cameras),
        ("depth cameras", contract.depth_cameras, dataset.depth_cameras),
    ):
        if lacking := [name for name in ours if name not in theirs]:
            raise DatasetError(
                f"{dataset.root} lacks the {what} {lacking}; it has {list(theirs)}: give a mapping"
            )


def require_elsewhere(output: str | Path, *originals: Dataset) -> None:
    """Refuse an output that is one of the originals, or inside of it.

    Raises:
        DatasetError: it is.
    """
    target = Path(os.path.realpath(locate(output)))
    for dataset in originals:
        root = dataset.root.resolve()
        if target == root or root in target.parents:
            raise DatasetError(
                f"output {output} lies in the original {dataset.root}: allowed is another folder"
            )


def require_new(output: str | Path, append: bool) -> None:
    """Refuse an output that has episodes, so that an import that is repeated does not double them.

    Raises:
        DatasetError: it has, and nobody asked to append.
    """
    info = locate(output) / layout.INFO
    count = read_json(info).get("total_episodes", 0) if info.is_file() and not append else 0
    if count:
        raise DatasetError(
            f"output {output} has {count} episodes already: allowed is a new folder, or --append, which adds "
            "all episodes once more, whether they are there or not"
        )


def _numbers(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(str(number) for number in numbers[:10])
    return shown + (", ..." if len(numbers) > 10 else "")
