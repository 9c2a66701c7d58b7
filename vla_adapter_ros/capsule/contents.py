"""What a capsule holds besides messages for viewers: facts of both halves, and what a replay needs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from vla_adapter_ros import __version__
from vla_adapter_ros.capsule.core_replay import CoreSettings
from vla_adapter_ros.capsule.folder import Half
from vla_adapter_ros.capsule.mcap_file import McapFile, McapWriter, Message, Schema, Topic
from vla_adapter_ros.capsule.recorded_core import Call, Snapshot
from vla_adapter_ros.capsule.values import from_plain, to_plain
from vla_adapter_ros.contract import Contract, parse_contract
from vla_adapter_ros.contract.read import plain_contract
from vla_adapter_ros.errors import CapsuleError, ContractError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.system_info import processor_name
from vla_adapter_ros.untrusted import UntrustedError, is_finite, parse_json, parse_yaml, short

FORMAT = "1"
MACHINE = "machine."
"""Begins the names of facts that decide whether a replay is the same to the last bit."""
IMAGE_TYPES = ("sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image")
_JSON = Schema("vla_adapter_ros.replay", "jsonschema", '{"type": "object"}')
REPLAY = {half: Topic(f"/replay/{half}", _JSON, "json") for half in Half}
_CONTRACT_FILE = {half: f"{half}_contract.yaml" for half in Half}
_MOST_RATE_HZ = 500.0


class PolicyRecord(NamedTuple):
    """What a chunk was predicted from, and the chunk.

    Attributes:
        stamp: t of the frame [s].
        instruction: In words.
        state: float64 (S,).
        rows: What the policy answered, float64 (H, A).
        images: Camera -> topic of the capsule that has its picture; each at `time_ns`.
        time_ns: Of the pictures in the capsule.
        committed: Rows before the chunk that the policy was told, float64 (D, A); None: none.
    """

    stamp: float
    instruction: str
    state: np.ndarray
    rows: np.ndarray
    images: Mapping[str, str]
    time_ns: int
    committed: np.ndarray | None = None


class Entry(NamedTuple):
    """A step of a replay, as what JSON can hold, and its time [s]; None: that of the entry before."""

    time: float | None
    value: Any


def machine_facts(**more: object) -> dict[str, str]:
    """Names and versions that decide whether a replay is the same to the last bit."""
    facts = {
        "processor": processor_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "vla_adapter_ros": __version__,
        "numpy": np.__version__,
        "ruckig": _version("ruckig"),
        "pinocchio": _version("pin"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
        **{name: str(value) for name, value in more.items()},
    }
    return {f"{MACHINE}{name}": text for name, text in facts.items()}


def write_facts(writer: McapWriter, half: Half, contract: Contract, facts: Mapping[str, str]) -> None:
    """Write what is known of a half: names and texts, and the robot's contract."""
    text = yaml.safe_dump(plain_contract(contract), sort_keys=False, allow_unicode=True, width=100)
    writer.add_metadata(str(half), {"format": FORMAT, **facts})
    writer.add_attachment(_CONTRACT_FILE[half], "application/yaml", text.encode())


def core_entries(snapshot: Snapshot, calls: Iterable[Call]) -> Iterator[Entry]:
    """What a replay of the core needs, entry by entry.

    The state comes first, value by value, so that whoever writes it can let others work in between.
    """
    calls = list(calls)
    begin = next((float(call.arguments[0]) for call in calls if call.name == "tick"), 0.0)
    for part, values in snapshot.state.items():
        for name, value in values.items():
            yield Entry(begin, {"part": part, "name": name, "value": to_plain(value)})
    yield Entry(begin, {"kinematics": to_plain(snapshot.kinematics)})
    for call in calls:
        time = float(call.arguments[0]) if call.name == "tick" else None
        arguments = [to_plain(argument) for argument in call.arguments]
        yield Entry(time, {"call": call.name, "arguments": arguments, "outcome": to_plain(call.outcome)})


def policy_entry(record: PolicyRecord) -> Entry:
    """What a replay of the policy needs; the messages of its pictures are to be written before."""
    return Entry(record.stamp, {name: to_plain(value) for name, value in record._asdict().items()})


def json_bytes(entry: Any) -> bytes:
    """An entry as compact JSON."""
    return json.dumps(entry, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


class Capsule:
    """A capsule, open for reading.

    Args:
        path: A file.

    Raises:
        CapsuleError: it cannot be read, or is no capsule of a version that is known.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = locate(path)
        try:
            self.file = McapFile(self.path)
        except OSError as error:
            raise CapsuleError(f"{self.path}: {error.strerror}") from None
        self.facts: dict[Half, dict[str, str]] = {
            half: self.file.metadata[half.value] for half in Half if half.value in self.file.metadata
        }
        """What is known of each half that the capsule has."""
        if not self.facts:
            raise CapsuleError(
                f"{self.path}: no capsule: allowed is a file that `vla-adapter capsule save` wrote"
            )
        for half, facts in self.facts.items():
            if facts.get("format") != FORMAT:
                found = short(facts.get("format"), 20)
                raise CapsuleError(f"{self.path}: {half}: format {found}: this version reads {FORMAT}")

    @property
    def has_images(self) -> bool:
        """Whether pictures are in it."""
        return any(topic.schema.name in IMAGE_TYPES for topic in self.file.topics.values())

    def contract(self, half: Half) -> Contract:
        """The contract of a half.

        Raises:
            CapsuleError: it lacks one, or has one that is not allowed.
        """
        name = _CONTRACT_FILE[half]
        if name not in self.file.attachments:
            raise CapsuleError(f"{self.path}: no {name} in it")
        data = self.file.attachments[name][1]
        try:
            if len(data) > 1 << 20:
                raise CapsuleError(f"{len(data)} bytes: allowed are {1 << 20}")
            return parse_contract(parse_yaml(data.decode()))
        except (ContractError, CapsuleError, UntrustedError, UnicodeDecodeError) as error:
            raise CapsuleError(f"{self.path}: {name}: {error}") from None

    def core_settings(self) -> CoreSettings:
        """With what the controller's core was made.

        Raises:
            CapsuleError: values that are not allowed.
        """
        facts = self.require(Half.CONTROLLER)
        try:
            rate = float(facts["parameter.rate_hz"])
        except (KeyError, ValueError):
            rate = float("nan")
        if not 1.0 <= rate <= _MOST_RATE_HZ:
            found = short(facts.get("parameter.rate_hz"), 40)
            raise CapsuleError(f"{self.path}: parameter.rate_hz = {found}: allowed is 1 to {_MOST_RATE_HZ:g}")
        return CoreSettings(
            1.0 / rate, facts.get("parameter.splice", ""), facts.get("tracked", "true") != "false"
        )

    def require(self, half: Half) -> dict[str, str]:
        """The facts of a half.

        Raises:
            CapsuleError: the capsule lacks it.
        """
        if half not in self.facts:
            raise CapsuleError(f"{self.path}: it has no half of the {half}: only {', '.join(self.facts)}")
        return self.facts[half]

    def core(self) -> tuple[Snapshot, Iterator[Call]]:
        """The controller's state before the first call, and the calls.

        Raises:
            CapsuleError: the capsule lacks them, or they are damaged; also while the calls are read.
        """
        self.require(Half.CONTROLLER)
        entries = self._entries(Half.CONTROLLER)
        state: dict[str, dict[str, Any]] = {}
        for entry in entries:
            if "kinematics" in entry:
                return Snapshot(state, from_plain(entry["kinematics"])), self._calls(entries)
            part, name = entry.get("part"), entry.get("name")
            if not isinstance(part, str) or not isinstance(name, str) or name.startswith("__"):
                raise CapsuleError(f"{self.path}: {short(entry, 100)}: allowed is a part of the state")
            state.setdefault(part, {})[name] = from_plain(entry.get("value"))
        raise CapsuleError(f"{self.path}: the state of the controller is missing")

    def policy_records(self) -> Iterator[tuple[PolicyRecord, dict[str, bytes]]]:
        """What each chunk was predicted from, with the messages of its pictures by camera.

        Raises:
            CapsuleError: damaged records.
        """
        pictures: dict[tuple[str, int], bytes] = {}
        images = {name for name, topic in self.file.topics.items() if topic.schema.name in IMAGE_TYPES}
        for message in self.file.messages():
            if message.topic in images:
                pictures[message.topic, message.time_ns] = message.data
            elif message.topic == REPLAY[Half.POLICY].name:
                record = self._policy_record(message)
                found = {
                    camera: pictures[topic, record.time_ns]
                    for camera, topic in record.images.items()
                    if (topic, record.time_ns) in pictures
                }
                pictures.clear()
                yield record, found

    def _policy_record(self, message: Message) -> PolicyRecord:
        entry = self._parsed(message)
        values = {name: from_plain(entry.get(name)) for name in PolicyRecord._fields}
        record = PolicyRecord(**values)
        good = (
            is_finite(record.stamp)
            and isinstance(record.instruction, str)
            and isinstance(record.state, np.ndarray)
            and isinstance(record.rows, np.ndarray)
            and isinstance(record.images, dict)
            and isinstance(record.time_ns, int)
            and isinstance(record.committed, np.ndarray | None)
        )
        if not good:
            raise CapsuleError(
                f"{self.path}: {short(entry, 100)}: allowed is what a chunk was predicted from"
            )
        return record

    def _calls(self, entries: Iterator[Any]) -> Iterator[Call]:
        for entry in entries:
            arguments = entry.get("arguments")
            if not isinstance(entry.get("call"), str) or not isinstance(arguments, list):
                raise CapsuleError(f"{self.path}: {short(entry, 100)}: allowed is a call with its arguments")
            yield Call(
                entry["call"],
                tuple(from_plain(argument) for argument in arguments),
                from_plain(entry.get("outcome")),
            )

    def _entries(self, half: Half) -> Iterator[dict[str, Any]]:
        topic = REPLAY[half].name
        return (self._parsed(message) for message in self.file.messages() if message.topic == topic)

    def _parsed(self, message: Message) -> dict[str, Any]:
        try:
            entry = parse_json(message.data.decode())
        except (UntrustedError, UnicodeDecodeError) as error:
            raise CapsuleError(f"{self.path}: {message.topic}: {error}") from None
        if not isinstance(entry, dict):
            raise CapsuleError(f"{self.path}: {message.topic}: {short(entry, 100)}: allowed is an object")
        return entry


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
