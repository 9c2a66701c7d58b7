"""What a running graph said while it was listened to: topics, nodes, controllers. Plain data, no ROS."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla_adapter_ros.observation.bag import IMAGE_TYPES, TOPIC_TYPES

JOINT_STATE = TOPIC_TYPES["joint_state"]
IMAGE, COMPRESSED_IMAGE = IMAGE_TYPES["raw"], IMAGE_TYPES["compressed"]
OUR_NODES = ("controller_node", "policy_node", "recorder_node")
"""Nodes of this package: what they publish is nobody's robot."""


@dataclass(frozen=True)
class Endpoint:
    """A publisher or a subscription.

    Attributes:
        node: Full name of its node, such as /camera/driver.
        type: Of its messages.
        reliable: Whether what is lost is sent again.
        latched: Whether who comes later gets the last message too.
    """

    node: str
    type: str
    reliable: bool = True
    latched: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether its node is of this package."""
        return self.node.rsplit("/", 1)[-1] in OUR_NODES


@dataclass(frozen=True)
class TopicSurvey:
    """What was found out about one topic.

    Attributes:
        publishers, subscriptions: Who is there.
        heard: Messages that came.
        rate_hz: At which they came [Hz]; 0 with fewer than two.
        stamped_hz: At which they were stamped, by the median [Hz]: as `rate_hz` where none is lost.
        delay_s: Median time from stamp to receipt [s]; None without stamps.
        late_s: Time from stamp to receipt of all but the slowest twentieth [s].
        stamped: Whether the stamps are set; None if nothing came, or the messages have none.
        size: Width and height of the images [px], as they come; None if it is not known.
        encoding: Of raw images their encoding, of compressed ones their format.
        frame: Coordinate frame in the header.
        names: Distinct lists of names that came, in the order of their coming.
        counts: Field of joint states, or `data` of an array -> number of its values.
        values: Name -> newest position (joint states), or newest values under the field's name.
        ranges: Name -> lowest and highest of these.
    """

    publishers: tuple[Endpoint, ...] = ()
    subscriptions: tuple[Endpoint, ...] = ()
    heard: int = 0
    rate_hz: float = 0.0
    stamped_hz: float = 0.0
    delay_s: float | None = None
    late_s: float | None = None
    stamped: bool | None = None
    size: tuple[int, int] | None = None
    encoding: str = ""
    frame: str = ""
    names: tuple[tuple[str, ...], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def types(self) -> tuple[str, ...]:
        """Types of its messages; several are a mistake of the graph."""
        return tuple(dict.fromkeys(end.type for end in (*self.publishers, *self.subscriptions)))

    @property
    def all_names(self) -> tuple[str, ...]:
        """All names that came."""
        return tuple(dict.fromkeys(name for names in self.names for name in names))

    def strangers(self, allowed: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Nodes that publish here and are not ours, but for those `allowed` by their full names."""
        known = {f"/{name.lstrip('/')}" for name in allowed}
        nodes = dict.fromkeys(end.node for end in self.publishers if not end.is_ours)
        return tuple(node for node in nodes if node not in known)


@dataclass(frozen=True)
class Controller:
    """A controller of ros2_control.

    Attributes:
        name: As its manager calls it.
        type: Such as joint_trajectory_controller/JointTrajectoryController.
        state: active, inactive, ...
        joints: That it claims, in its order.
    """

    name: str
    type: str
    state: str
    joints: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphSurvey:
    """What a graph said in some seconds.

    Attributes:
        seconds: How long it was listened to [s].
        topics: By name.
        nodes: Full names.
        actions: Action server -> type.
        controllers: Of ros2_control; None where no controller manager answered.
        manager: Why `controllers` is None: there is none, or it could not be asked; empty otherwise.
        packages: Package of ROS -> whether it is installed here.
        robot_description: URDF that came on the topic; empty: none came.
        simulated_time: Whether somebody publishes /clock.
        namespace: Of the robot's nodes; empty: the root.
    """

    seconds: float
    topics: Mapping[str, TopicSurvey] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    actions: Mapping[str, str] = field(default_factory=dict)
    controllers: tuple[Controller, ...] | None = None
    manager: str = "no controller manager"
    packages: Mapping[str, bool] = field(default_factory=dict)
    robot_description: str = ""
    simulated_time: bool = False
    namespace: str = ""

    def topic(self, name: str) -> TopicSurvey:
        """What is known of a topic; of one that is not there, nothing."""
        return self.topics.get(name, TopicSurvey())

    def published(self, *types: str) -> tuple[str, ...]:
        """Topics on which somebody publishes messages of one of the types."""
        return tuple(
            name for name, topic in self.topics.items() if any(end.type in types for end in topic.publishers)
        )

    def awaited(self, *types: str) -> tuple[str, ...]:
        """Topics on which somebody who is not ours listens to messages of one of the types."""
        return tuple(
            name
            for name, topic in self.topics.items()
            if any(end.type in types and not end.is_ours for end in topic.subscriptions)
        )

    def with_topic(self, name: str, **changes: Any) -> GraphSurvey:
        """The same graph but for one topic."""
        changed = dataclasses.replace(self.topic(name), **changes)
        return dataclasses.replace(self, topics={**self.topics, name: changed})


@dataclass
class TopicRecord:
    """What comes on one topic, while a survey listens."""

    received: list[float] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    unstamped: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    names: dict[tuple[str, ...], None] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add_values(self, names: Sequence[str], values: Sequence[float]) -> None:
        """Note what came under each name."""
        for name, value in zip(names, values, strict=True):
            self.values[name] = value
            if not math.isfinite(value):
                continue
            low, high = self.ranges.get(name, (value, value))
            self.ranges[name] = min(low, value), max(high, value)

    def add_receipt(self, now: float, stamp: float | None) -> None:
        """Note a message that came at `now` [s]; `stamp` is 0 where it is not set, None without a header."""
        self.received.append(now)
        if stamp:
            self.stamps.append(stamp)
            self.delays.append(now - stamp)
        elif stamp is not None:
            self.unstamped += 1

    def summary(self, publishers: tuple[Endpoint, ...], subscriptions: tuple[Endpoint, ...]) -> TopicSurvey:
        """What was found out."""
        span = self.received[-1] - self.received[0] if self.received else 0.0
        delays = sorted(self.delays)
        steps = [later - stamp for stamp, later in itertools.pairwise(self.stamps)]
        step = statistics.median(steps) if steps else 0.0
        stamped = None if not self.received or not (delays or self.unstamped) else bool(delays)
        return TopicSurvey(
            publishers,
            subscriptions,
            heard=len(self.received),
            rate_hz=(len(self.received) - 1) / span if span > 0 else 0.0,
            stamped_hz=1 / step if step > 0 else 0.0,
            delay_s=statistics.median(delays) if delays else None,
            late_s=delays[int(0.95 * (len(delays) - 1))] if delays else None,
            stamped=stamped,
            names=tuple(self.names),
            values=self.values,
            ranges=self.ranges,
            **self.facts,
        )
