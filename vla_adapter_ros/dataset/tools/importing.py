"""Makes data sets of ours from bags and from LeRobot data sets by others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.leader import Leader
from vla_adapter_ros.dataset.next_state import NOTE, NextState, with_next_states
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.tables import read_json
from vla_adapter_ros.dataset.tools.bag_episodes import BagEpisodes, EpisodeBounds
from vla_adapter_ros.dataset.tools.carried import left_behind
from vla_adapter_ros.dataset.tools.copying import usual_codec
from vla_adapter_ros.dataset.tools.drafting.bag_topics import read_streams, shared_topics
from vla_adapter_ros.dataset.tools.import_report import EpisodeReport, ImportReport
from vla_adapter_ros.dataset.tools.importer import DatasetImporter
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import BagError, DatasetError
from vla_adapter_ros.observation.bag import CONTROLLER_TYPE, RECORDER_TYPE, TEXT_TYPE, Bag
from vla_adapter_ros.observation.bag_frames import BagNotes, bag_frames, once_begun
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.lateness import losses_since
from vla_adapter_ros.paths import locate
from vla_adapter_ros.texts import visible

INSTRUCTION_NAMES = ("instruction", "task", "language_instruction")
"""Last parts of the names of topics that are taken for instructions."""


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
    namespace: str = "",
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
        next_state: Whether the action is the state of the next row, as for bags without commands; so it is
            with a contract of `action.source: next_state`, too. The data set's contract then says so.
        report: Called with each episode.
        namespace: Of the robot's nodes in the bag, such as /left; empty: the root.

    Raises:
        BagError: no readable bag, a stream is missing, or nothing says what was to be done.
        ContractError: a next state is no action in this contract.
        DatasetError, ContractMismatch, RecordingError: as `DatasetWriter`.
    """
    require_new(output, append)
    result, notes = ImportReport(), BagNotes()
    recorded_with = contract
    contract = with_next_states(contract) if next_state else contract
    follower = NextState(contract) if contract.hand_guided else None
    with Bag(path, namespace) as bag:
        streams = bag.require(contract)
        recorder, controller = bag.topics_of(RECORDER_TYPE)[:1], bag.topics_of(CONTROLLER_TYPE)[:1]
        given, instruction = instruction.strip(), visible(instruction)
        if given and not instruction:
            raise BagError(f"instruction {given!r}: allowed is a text that can be read")
        texts = [] if instruction else _text_topics(bag, instruction_topic)
        if not instruction and not texts:
            raise BagError(f"{bag.path}: no topic says what was to be done: give an instruction")
        leader = Leader(recorded_with, alone=not controller)
        bounds = EpisodeBounds(bool(recorder), bool(texts), instruction, leader)
        with DatasetWriter(output, contract, codec=codec, crf=crf) as writer:
            episodes = BagEpisodes(writer, contract, bounds, bag.path.name, notes, report, result)
            items = bag_frames(bag, contract, {*recorder, *controller, *texts}, notes)
            items = once_begun(items, notes)
            for item in follower.with_actions(items) if follower else items:
                while notes.refused:
                    episodes.count_refusal(*notes.refused.popleft())
                if isinstance(item, Frame):
                    episodes.add_frame(item)
                else:
                    bounds.read_message(item)
                    episodes.follow_bounds()
            episodes.end_episode()
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


def import_lerobot(
    dataset: Dataset,
    contract: Contract,
    output: str | Path,
    *,
    control_source: int = layout.HUMAN,
    append: bool = False,
    report: Callable[[EpisodeReport], None] = lambda episode: None,
    namespace: str = "",
) -> ImportReport:
    """Make a data set of ours from one by others. Videos are copied as they are where that is possible.

    Args:
        dataset: Opened with a mapping or with the contract.
        contract: Of the robot that it was recorded on.
        output: Data set: new, or, with `append`, one of the same contract.
        control_source: Who was in control, for data sets that do not say.
        append: Whether to go on with a data set that has episodes; those that came from this one come again.
        report: Called with each episode.
        namespace: Of the robot's nodes in the bag, such as /left; empty: the root.

    Raises:
        DatasetError: another rate or other cameras than the contract's, or `output` is the original.
        ContractMismatch, RecordingError: as `DatasetStore`.
    """
    require_fit(dataset, contract)
    require_elsewhere(output, dataset)
    require_new(output, append)
    result = ImportReport()
    if missing := dataset.missing:
        result.remarks.append(
            f"{len(missing)} episodes of its list lack files: {_numbers(missing)}; the first is "
            f"{dataset.missing_file}"
        )
    if lost := left_behind(dataset, contract):
        result.remarks.append(f"not carried over, since the contract has no place for it: {', '.join(lost)}")
    with DatasetImporter(output, contract, codec=usual_codec(dataset, contract)) as importer:
        for entry in importer.import_episodes(dataset, control_source):
            result.episodes.append(entry)
            report(entry)
    return result


def require_fit(dataset: Dataset, contract: Contract) -> None:
    """Refuse a data set whose rate or cameras are not the contract's.

    Raises:
        DatasetError: says what differs.
    """
    if dataset.fps != contract.rate_hz:
        raise DatasetError(f"{dataset.root}: {dataset.fps:g} Hz, the contract says {contract.rate_hz:g} Hz")
    for what, wanted, known in (
        ("cameras", contract.cameras, dataset.cameras),
        ("depth cameras", contract.depth_cameras, dataset.depth_cameras),
    ):
        if lacking := [name for name in wanted if name not in known]:
            raise DatasetError(
                f"{dataset.root} lacks the {what} {lacking}; it has {list(known)}: give a mapping"
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
