"""What the topics of a bag seem to be: cameras, measured values and commands, and their values over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_adapter_ros.contract.enums import JointField
from vla_adapter_ros.contract.schema import TOOL_COLUMNS
from vla_adapter_ros.dataset.joint_names import tokens
from vla_adapter_ros.dataset.tools.drafting.names import COMMAND_WORDS
from vla_adapter_ros.observation.bag import IMAGE_TYPES, TOPIC_TYPES, Bag
from vla_adapter_ros.observation.messages import pose_values, tool_pose, twist_values

_FEWEST, _FAR = 20, 0.02  # messages, and fraction of the range, from which on jumps are believed
_ALWAYS_COMMANDS = ("joint_trajectory", "float64_array", "twist")
_NO_NAME = {
    "command", "commands", "cmd", "controller", "controllers", "joint", "joints", "state", "states",
    "position", "positions", "trajectory", "group", "forward", "target", "data",
}  # fmt: skip


@dataclass
class Stream:
    """Values of a topic over time.

    Attributes:
        kind: A `TopicType` of the contract.
        times: Name of a value -> log times of its samples [s].
        values: Name of a value -> its samples.
        heard: Log times of all messages [s].
        named: Whether the messages carry names.
        field: Of joint states: where the values stand.
    """

    topic: str
    kind: str
    times: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    heard: list[float] = field(default_factory=list)
    named: bool = True
    field: str = "position"

    @property
    def is_command(self) -> bool:
        """Whether type or topic say that these are commands."""
        return self.kind in _ALWAYS_COMMANDS or not COMMAND_WORDS.isdisjoint(tokens(self.topic))

    def add_values(self, time: float, names: list[str], values: list[float]) -> None:
        """Add the values of a message."""
        self.heard.append(time)
        for name, value in zip(names, values, strict=False):
            self.times.setdefault(name, []).append(time)
            self.values.setdefault(name, []).append(float(value))

    def at(self, grid: np.ndarray) -> np.ndarray:
        """Newest values at times (N,) [s], float64 (N, D); NaN before the first."""
        columns = []
        for name, times in self.times.items():
            found = np.searchsorted(times, grid, side="right") - 1
            columns.append(np.where(found < 0, np.nan, np.array(self.values[name])[np.maximum(found, 0)]))
        return np.stack(columns, axis=1) if columns else np.empty((len(grid), 0))


def image_topics(bag: Bag) -> dict[str, str]:
    """Topics with images -> transport."""
    transports = {kind: transport for transport, kind in IMAGE_TYPES.items()}
    return {topic: transports[kind] for topic, kind in bag.topics.items() if kind in transports}


def read_streams(bag: Bag) -> list[Stream]:
    """Read all topics with joint states, poses and commands.

    Raises:
        BagError: a damaged bag.
    """
    kinds = {kind: name for name, kind in TOPIC_TYPES.items() if name != "wrench"}
    wanted = {topic for topic in bag.topics if any(bag.has(topic, kind) for kind in kinds)}
    streams = {
        topic: Stream(topic, next(kinds[k] for k in kinds if bag.has(topic, k))) for topic in sorted(wanted)
    }
    types = {topic: TOPIC_TYPES[stream.kind] for topic, stream in streams.items()}
    for message in bag.messages(wanted, types):
        _add_message(streams[message.topic], message.received, message.content)
    return [stream for stream in streams.values() if stream.values]


def shared_topics(streams: list[Stream]) -> list[str]:
    """Topics on which two publishers seem to contradict each other, in words."""
    found = []
    for stream in streams:
        jumping = [name for name, values in stream.values.items() if _jumps(np.array(values))]
        if jumping:
            found.append(
                f"{stream.topic}: {', '.join(jumping)} jump back and forth from message to message, as "
                "when two publishers share a topic: allowed is one, or remap one of them and record again"
            )
    return found


def _jumps(values: np.ndarray) -> bool:
    """Whether samples (N,) alternate between two courses: each is like the one but last."""
    if len(values) < _FEWEST:
        return False
    step, over_next = np.abs(np.diff(values))[1:], np.abs(values[2:] - values[:-2])
    far = step > max(1e-3, _FAR * float(np.ptp(values)))
    return bool(far.mean() > 0.5 and (over_next[far] < 0.3 * step[far]).mean() > 0.8)


def _add_message(stream: Stream, time: float, content: Any) -> None:
    if stream.kind == "joint_state":
        if not stream.values:  # the first message with values decides
            given = {f: getattr(content, f) for f in JointField.words()}
            stream.field = next((f for f, values in given.items() if len(values)), "position")
        values, names = list(getattr(content, stream.field)), list(content.name)
        stream.named = stream.named and bool(names or not values)
        stream.add_values(time, names or _numbered(stream.topic, len(values)), values)
    elif stream.kind == "joint_trajectory":
        if content.points:
            positions = list(content.points[0].positions)
            stream.add_values(
                time, list(content.joint_names) or _numbered(stream.topic, len(positions)), positions
            )
    elif stream.kind == "float64_array":
        stream.named = False
        stream.add_values(time, _numbered(stream.topic, len(content.data)), list(content.data))
    elif stream.kind == "twist":
        stream.add_values(time, list(TOOL_COLUMNS), twist_values(content))
    else:
        stream.add_values(time, list(TOOL_COLUMNS), tool_pose(pose_values(content)))


def _numbered(topic: str, count: int) -> list[str]:
    """Names of values that carry none, from the topic."""
    name = short_name(topic) or "value"
    return [name] if count == 1 else [f"{name}_{n}" for n in range(count)]


def short_name(topic: str) -> str:
    """What is left of a topic without the words that every topic has."""
    return "_".join(token for token in tokens(topic) if token not in _NO_NAME)
