"""The raw topics of each episode as a bag beside the data set, written by a thread of its own.

`demos_bags/episode_000012/` belongs to episode 12 of `demos/`: outside of the data set, whose readers never
see it. Nothing here waits for the disk but that thread: what does not fit into the memory is dropped, and
counted.
"""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from vla_adapter_ros.capsule.mcap_file import McapWriter, Topic
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.files import write_text

MOST_WAITING_BYTES = 256 << 20
_UNFINISHED = "recording"
_BAG_VERSION = 5  # of metadata.yaml, as ROS 2 has it since Humble


@dataclass(eq=False)
class _Bag:
    """The bag of one episode."""

    folder: Path
    writer: McapWriter | None = None
    counts: dict[Topic, int] = field(default_factory=dict)
    begin_ns: int = 0
    end_ns: int = 0
    dropped: int = 0
    failure: str = ""

    @property
    def file(self) -> Path:
        return self.folder / "episode_0.mcap"


class EpisodeBags:
    """Bags of the episodes of one data set. Safe to use from several threads.

    Args:
        dataset: The data set; the bags lie in a folder beside it. None: there are none, and nothing happens.
        log: Told what goes wrong, and what was dropped.
        most_waiting: Bytes that may wait for the disk.
    """

    def __init__(
        self,
        dataset: Path | None,
        log: Callable[[str], None] = lambda line: None,
        most_waiting: int = MOST_WAITING_BYTES,
    ) -> None:
        self._log, self._most_waiting = log, most_waiting
        self.folder = None if dataset is None else dataset.with_name(f"{dataset.name}_bags")
        """Where the bags lie; None: there are none."""
        self._lock = threading.Lock()
        self._current: _Bag | None = None
        self._ended: dict[Hashable, _Bag] = {}
        self._waiting = self._begun = 0  # bytes, and bags
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        if self.folder is not None:
            for left in self.folder.glob(f"{_UNFINISHED}_*"):  # of a recorder that was killed
                shutil.rmtree(left, ignore_errors=True)
            self._thread = threading.Thread(target=self._work, name="bags", daemon=True)
            self._thread.start()

    def begin(self) -> None:
        """An episode begins: what is added from now on belongs to it."""
        if self.folder is None:
            return
        with self._lock:
            self._begun += 1
            self._current = bag = _Bag(self.folder / f"{_UNFINISHED}_{self._begun}")
        self._do(bag, lambda: self._open(bag))

    def add(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Add a message to the episode that is being recorded; without one it is ignored."""
        with self._lock:
            bag = self._current
            if bag is None:
                return
            if self._waiting + len(data) > self._most_waiting:
                bag.dropped += 1
                return
            self._waiting += len(data)
        self._do(bag, lambda: self._write(bag, topic, time_ns, data))

    def end(self, episode: Hashable) -> None:
        """The episode is over; `keep` or `drop` will say what becomes of its bag."""
        with self._lock:
            bag, self._current = self._current, None
            if bag is not None:
                self._ended[episode] = bag

    def keep(self, episode: Hashable, index: int) -> None:
        """The episode was saved under a number: so is its bag."""
        with self._lock:
            bag = self._ended.pop(episode, None)
        if bag is not None:
            self._do(bag, lambda: self._finish(bag, index))

    def drop(self, episode: Hashable | None = None) -> None:
        """The episode was discarded; None: the one that is being recorded."""
        with self._lock:
            if episode is None:
                bag, self._current = self._current, None
            else:
                bag = self._ended.pop(episode, None)
        if bag is not None:
            self._jobs.put(lambda: self._remove(bag))

    def take_back(self, index: int) -> None:
        """A saved episode was taken back, and so is its bag."""
        if self.folder is not None:
            folder = self.folder / _name(index)
            self._jobs.put(lambda: shutil.rmtree(folder, ignore_errors=True))

    def close(self) -> None:
        """Drop what is not kept, and wait until all is on disk."""
        self.drop()
        for episode in list(self._ended):
            self.drop(episode)
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()

    # In the thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _do(self, bag: _Bag, job: Callable[[], None]) -> None:
        def attempt() -> None:
            if bag.failure:
                return
            try:
                job()
            except (OSError, VlaAdapterError) as error:
                bag.failure = str(error)
                self._log(f"no bag of this episode: {error}")

        self._jobs.put(attempt)

    def _open(self, bag: _Bag) -> None:
        bag.folder.mkdir(parents=True, exist_ok=True)
        bag.writer = McapWriter(bag.file)

    def _write(self, bag: _Bag, topic: Topic, time_ns: int, data: bytes) -> None:
        with self._lock:
            self._waiting -= len(data)
        assert bag.writer is not None, "opened before"
        bag.writer.add_message(topic, time_ns, data)
        bag.begin_ns = min(bag.begin_ns, time_ns) if bag.counts else time_ns
        bag.end_ns = max(bag.end_ns, time_ns)
        bag.counts[topic] = bag.counts.get(topic, 0) + 1

    def _finish(self, bag: _Bag, index: int) -> None:
        assert bag.writer is not None and self.folder is not None, "opened before"
        bag.writer.close()
        write_text(bag.folder / "metadata.yaml", _metadata(bag))
        target = self.folder / _name(index)
        shutil.rmtree(target, ignore_errors=True)  # of an episode that was deleted since
        bag.folder.rename(target)
        if bag.dropped:
            self._log(f"{target}: {bag.dropped} messages were dropped: the disk was too slow")

    def _remove(self, bag: _Bag) -> None:
        if bag.writer is not None:
            bag.writer.abandon()
        shutil.rmtree(bag.folder, ignore_errors=True)


def _name(index: int) -> str:
    return f"episode_{index:06d}"


def _metadata(bag: _Bag) -> str:
    """What rosbag2 asks for beside the file."""
    count, span = sum(bag.counts.values()), bag.end_ns - bag.begin_ns
    start, duration = {"nanoseconds_since_epoch": bag.begin_ns}, {"nanoseconds": span}
    file = {"path": bag.file.name, "starting_time": dict(start), "duration": dict(duration)}
    topics = [
        {
            "topic_metadata": {
                "name": topic.name,
                "type": topic.schema.name,
                "serialization_format": topic.encoding,
                "offered_qos_profiles": "",
            },
            "message_count": number,
        }
        for topic, number in bag.counts.items()
    ]
    information = {
        "version": _BAG_VERSION,
        "storage_identifier": "mcap",
        "duration": duration,
        "starting_time": start,
        "message_count": count,
        "topics_with_message_count": topics,
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [bag.file.name],
        "files": [file | {"message_count": count}],
    }
    text: str = yaml.safe_dump({"rosbag2_bagfile_information": information}, sort_keys=False)
    return text
