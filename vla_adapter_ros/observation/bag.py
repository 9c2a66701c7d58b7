"""Reads rosbag2 recordings, without ROS: their topics, types, messages and clock."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract, full_name
from vla_adapter_ros.errors import BagError, VlaAdapterError
from vla_adapter_ros.observation.bag_clock import CLOCK_TOPIC, BagClock
from vla_adapter_ros.observation.messages import message_types
from vla_adapter_ros.paths import locate
from vla_adapter_ros.untrusted import pointer_note, short

IMAGE_TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}
TOPIC_TYPES = {
    "joint_state": "sensor_msgs/msg/JointState",
    "pose": "geometry_msgs/msg/PoseStamped",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "float64_array": "std_msgs/msg/Float64MultiArray",
    "twist": "geometry_msgs/msg/TwistStamped",
    "wrench": "geometry_msgs/msg/WrenchStamped",
}
UNSTAMPED = {"float64_array", "joint_trajectory"}  # no header, or 0 in it, or when it is to begin
TEXT_TYPE = "std_msgs/msg/String"
CLOCK_TYPE = "rosgraph_msgs/msg/Clock"
RECORDER_TYPE = "vla_adapter_ros/msg/RecorderStatus"
CONTROLLER_TYPE = "vla_adapter_ros/msg/ControllerStatus"


@dataclass(frozen=True)
class BagMessage:
    """A message as a bag has it: where it was sent, its type, when it was received [s], and its content."""

    topic: str
    type: str
    received: float
    content: Any


class Bag:
    """A rosbag2 recording (mcap or sqlite3), open for reading.

    Args:
        path: Its folder, or a file in it.
        namespace: Where the relative topics of a contract lie in it, such as /left; empty: the root.

    Raises:
        BagError: no bag, or one that cannot be read; the package that reads bags is missing.
    """

    def __init__(self, path: str | Path, namespace: str = "") -> None:
        self.namespace = namespace
        try:
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise BagError("reading bags needs the package rosbags: pip install rosbags") from None
        self.path = locate(path)
        folder = self.path if self.path.is_dir() else self.path.parent
        if not (folder / "metadata.yaml").is_file():
            raise BagError(
                f"{self.path}: no metadata.yaml; allowed is the folder of a rosbag2 recording. One that was "
                "not closed gets it back by `ros2 bag reindex`"
            )
        for file in sorted(folder.iterdir()):
            if note := pointer_note(file):
                raise BagError(note)
        try:
            # Old bags carry no definitions; those of the messages used here are the same everywhere.
            self._reader = AnyReader([folder], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
            self._reader.open()
        except Exception as error:  # the library lets errors of its storages and of YAML through
            cure = ". Give the file the name that metadata.yaml says, or run `ros2 bag reindex`"
            missing = "missing" in str(error)
            raise BagError(f"{self.path}: not readable: {error}{cure if missing else ''}") from error
        for connection in self._reader.connections:
            if not (isinstance(connection.topic, str) and isinstance(connection.msgtype, str)):
                raise BagError(
                    f"{folder / 'metadata.yaml'}: topic {short(connection.topic)} of type "
                    f"{short(connection.msgtype)}: allowed are texts"
                )

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def topics(self) -> dict[str, str]:
        """Topic -> message type, such as sensor_msgs/msg/Image; the last one of several."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    def has(self, topic: str, kind: str) -> bool:
        """Whether messages of a type are on a topic, perhaps beside others."""
        return any((c.topic, c.msgtype) == (topic, kind) for c in self._reader.connections)

    def mixed(self, wanted: Mapping[str, str]) -> list[str]:
        """What is to be said of topics that carry messages of other types as well as the wanted ones."""
        others = {
            (c.topic, c.msgtype): c.msgcount
            for c in self._reader.connections
            if wanted.get(c.topic, c.msgtype) != c.msgtype
        }
        return [f"{topic}: {count} messages of type {kind} are left out: the contract says {wanted[topic]}"
                for (topic, kind), count in others.items()]  # fmt: skip

    def topics_of(self, kind: str) -> list[str]:
        """Topics below the namespace with messages of a type whose definition the bag has."""
        known, below = self._reader.typestore.fielddefs, full_name("", self.namespace)
        return [
            topic
            for topic, its in self.topics.items()
            if its == kind and kind in known and topic.startswith(below)
        ]

    def messages(self, topics: set[str], kinds: Mapping[str, str] | None = None) -> Iterator[BagMessage]:
        """Give out the messages on `topics` in the order of their log times.

        Args:
            topics: Their names.
            kinds: Topic -> the only type that is wanted; of other topics all.

        Raises:
            BagError: a damaged file or message.
        """
        with self._readable():
            for connection, time, data in self._raw(topics, kinds or {}):
                content = self._reader.deserialize(data, connection.msgtype)
                yield BagMessage(connection.topic, connection.msgtype, time * 1e-9, content)

    def stamps(self, topics: set[str], kinds: Mapping[str, str] | None = None) -> dict[str, np.ndarray]:
        """Log time and stamp of each message on `topics`, float64 (N, 2) [s]; nothing is decoded.

        Args:
            topics: Of types that begin with a header or a time.
            kinds: As for `messages`.

        Raises:
            BagError: a damaged file.
        """
        found: dict[str, list[tuple[float, float]]] = {topic: [] for topic in topics}
        with self._readable():
            for connection, time, data in self._raw(topics, kinds or {}):
                if (
                    len(data) >= 12
                ):  # CDR: four bytes, of which the second tells the order of bytes, then the time
                    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
                    found[connection.topic].append((time * 1e-9, seconds + nanoseconds * 1e-9))
        return {topic: np.array(pairs).reshape(-1, 2) for topic, pairs in found.items()}

    def clock(self, contract: Contract, wanted: Mapping[str, str] | None = None) -> BagClock:
        """The clock of a contract's streams, or of those `wanted` by `require`; goes through the bag once.

        Raises:
            BagError: a damaged file.
        """
        kinds, wanted = message_types(contract), self.require(contract) if wanted is None else wanted
        stamped = {
            topic
            for topic, (name, *_) in self.streams(contract).items()
            if topic in wanted and contract.time_source(name) == "header" and kinds.get(name) not in UNSTAMPED
        }
        clocks = {CLOCK_TOPIC: CLOCK_TOPIC, full_name("clock", self.namespace): CLOCK_TOPIC}
        there = {topic for topic in clocks if self.topics.get(topic) == CLOCK_TYPE}
        return BagClock(
            {
                clocks.get(topic, topic): pairs
                for topic, pairs in self.stamps(stamped | there, wanted).items()
            },
            [full_name(camera.topic, self.namespace) for camera in contract.recorded_cameras.values()],
        )

    def streams(self, contract: Contract) -> dict[str, list[str]]:
        """Topics of the bag -> what the contract calls their streams: cameras, and topics without images."""
        found: dict[str, list[str]] = {}
        for name, camera in contract.recorded_cameras.items():
            found.setdefault(full_name(camera.topic, self.namespace), []).append(name)
        for topic in message_types(contract):
            found.setdefault(full_name(topic, self.namespace), []).append(topic)
        return found

    def _raw(self, topics: set[str], kinds: Mapping[str, str]) -> Iterator[tuple[Any, int, bytes]]:
        wanted = [
            c for c in self._reader.connections
            if c.topic in topics and kinds.get(c.topic, c.msgtype) == c.msgtype
        ]  # fmt: skip
        return self._reader.messages(connections=wanted) if wanted else iter(())  # of none it gives all

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Whatever goes wrong inside is a damaged bag."""
        try:
            yield
        except VlaAdapterError:
            raise
        except Exception as error:
            raise BagError(f"{self.path}: not readable: {error}") from error

    def require(self, contract: Contract, *, with_action: bool = True) -> dict[str, str]:
        """Topics of a contract's streams, all of which the bag must have -> their types.

        Args:
            contract: Names them.
            with_action: Whether commands are among them.

        Raises:
            BagError: one is missing or of another type.
        """
        cameras, kinds = contract.recorded_cameras, message_types(contract, with_action=with_action)
        wanted = {camera.topic: IMAGE_TYPES[camera.transport] for camera in cameras.values()}
        wanted |= {topic: TOPIC_TYPES[kind] for topic, kind in kinds.items()}
        wanted = {full_name(topic, self.namespace): kind for topic, kind in wanted.items()}
        wrong = [
            f"{topic} is {self.topics.get(topic, 'not there')}, the contract says {kind}"
            for topic, kind in wanted.items()
            if not self.has(topic, kind)
        ]
        if wrong:
            held = ", ".join(f"{topic} ({kind})" for topic, kind in sorted(self.topics.items()))
            commands = [
                topic
                for topic in contract.command_topics
                if full_name(topic, self.namespace) not in self.topics
            ]
            cure = ". Without commands: --next-state-as-action" if commands and with_action else ""
            raise BagError(f"{self.path}: {'; '.join(wrong)}. The bag holds {held or 'nothing'}{cure}")
        return wanted
