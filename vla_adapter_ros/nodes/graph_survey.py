"""Listens to a running graph, and says what is there: for drafts and checks of contracts."""

from __future__ import annotations

import importlib.util
import struct
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

from rclpy.action.graph import get_action_names_and_types
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.commissioning.survey import Controller, Endpoint, GraphSurvey, TopicRecord
from vla_adapter_ros.contract.enums import JointField
from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION
from vla_adapter_ros.errors import ImageError, NoAnswerError
from vla_adapter_ros.nodes import streams
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.topics import LATCHED, node_of
from vla_adapter_ros.observation import bag
from vla_adapter_ros.observation.image_headers import picture_header

NAME = "vla_adapter_survey"
LISTEN_S = 3.0
SETTLED_S, LONGEST_DISCOVERY_S = 1.0, 5.0  # nothing new for so long: all are known. Longest wait for that
LATE_S = 8.0  # longest wait for what should be there and for first images, after all else was listened to
ANSWER_S = 3.0
_KINDS: dict[str, type] = {  # name of the type -> its class
    **{bag.IMAGE_TYPES[word]: kind for word, kind in streams.IMAGE_TYPES.items()},
    **{bag.TOPIC_TYPES[word]: kind for word, kind in streams.TOPIC_TYPES.items()},
}
_IMAGES = (Image, CompressedImage)
_UNSTAMPED = (Float64MultiArray, JointTrajectory)  # no header, or one that says when the motion begins
_LIST_CONTROLLERS = "controller_manager_msgs/srv/ListControllers"
_PACKAGES = ("control_msgs", "controller_manager_msgs", "cv_bridge")


def survey_graph(
    seconds: float = LISTEN_S, namespace: str = "", expected: Collection[str] = ()
) -> GraphSurvey:
    """Listen to everything that a contract may name.

    Args:
        seconds: How long [s], after everybody is known.
        namespace: Of the robot's nodes; relative topics such as robot_description are looked for there.
        expected: Topics that should be there: of a busy computer's nodes, one may be known late.
    """
    with RosClient(NAME, namespace or None, own_clock=_has_own_clock(namespace)) as client:
        return replace(_Survey(client, expected).listen(seconds), namespace=namespace)


def _has_own_clock(namespace: str) -> bool:
    """Whether a simulation in the namespace has a clock of its own."""
    if not namespace:
        return False
    with RosClient(f"{NAME}_of_clocks", namespace) as client:
        return client.poll_until(lambda: client.node.count_publishers("clock") > 0, SETTLED_S)


class _Survey:
    def __init__(self, client: RosClient, expected: Collection[str]) -> None:
        self._client, self._node = client, client.node
        self._expected = [self._node.resolve_topic_name(name) for name in expected]
        self._records: dict[str, TopicRecord] = {}
        self._types: list[type] = []  # of the messages that each record is about
        self._description = ""

    def listen(self, seconds: float) -> GraphSurvey:
        topics = self._discover()
        simulated = bool(self._node.count_publishers(self._node.resolve_topic_name("/clock")))
        if simulated:
            self._node.set_parameters([Parameter("use_sim_time", value=True)])
            time.sleep(0.3)  # until the first message on /clock
        self._subscribe_to_new(topics)
        self._client.subscribe(String, ROBOT_DESCRIPTION, self._on_description, LATCHED)
        self._wait(seconds)
        controllers, manager = self._controllers()
        found = {}
        for name in self._discover(0.0):
            found[name] = self._records.get(name, TopicRecord()).summary(*self._endpoints(name))
        nodes = [f"{space.rstrip('/')}/{name}" for name, space in self._node.get_node_names_and_namespaces()]
        actions = {name: types[0] for name, types in get_action_names_and_types(self._node)}
        return GraphSurvey(
            seconds,
            found,
            tuple(sorted(name for name in nodes if not name.endswith(f"/{NAME}"))),
            actions,
            controllers,
            manager,
            {name: importlib.util.find_spec(name) is not None for name in _PACKAGES},
            self._description,
            simulated,
        )

    def _wait(self, seconds: float) -> None:
        """Let messages come; longer while some are missing: their sender may not know us yet, nor we it."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end or (self._is_incomplete() and now < end + LATE_S):
            time.sleep(0.1)
            self._subscribe_to_new(self._discover(0.0))

    def _is_incomplete(self) -> bool:
        """Whether nobody is known on an expected topic, or messages of one, or of a camera, are missing."""
        kinds = dict(zip(self._records, self._types, strict=True))
        silent = {name for name, record in self._records.items() if len(record.received) < 2}
        if any(kinds[name] in _IMAGES or name in self._expected for name in silent):
            return True
        return not all(any(self._endpoints(name)) for name in self._expected)

    def _discover(self, settled_s: float = SETTLED_S) -> dict[str, list[str]]:
        """Topics and their types, once nothing new has come for a while."""
        begun = changed = time.monotonic()
        seen: set[tuple[Any, ...]] = set()
        while True:
            topics = dict(self._node.get_topic_names_and_types())
            now = time.monotonic()
            ends = {(n, self._node.count_publishers(n), self._node.count_subscribers(n)) for n in topics}
            if ends != seen or len(self._node.get_node_names()) < 2:  # alone: the others are not known yet
                seen, changed = ends, now
            if now - changed >= settled_s or now - begun >= LONGEST_DISCOVERY_S:
                return {n: types for n, types in topics.items() if "/_" not in n}
            time.sleep(0.05)

    def _endpoints(self, name: str) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
        """Publishers and subscriptions of a topic whose nodes are known."""
        publishers = self._ends(self._node.get_publishers_info_by_topic(name))
        return publishers, self._ends(self._node.get_subscriptions_info_by_topic(name))

    def _ends(self, found: list[Any]) -> tuple[Endpoint, ...]:
        return tuple(
            Endpoint(
                name,
                end.topic_type,
                end.qos_profile.reliability.name == "RELIABLE",
                end.qos_profile.durability.name == "TRANSIENT_LOCAL",
            )
            for end in found
            if end.node_name != NAME and (name := node_of(end))
        )

    # What comes

    def _subscribe_to_new(self, topics: dict[str, list[str]]) -> None:
        for name, types in topics.items():
            kind = next((_KINDS[t] for t in types if t in _KINDS), None)
            if kind is not None and name not in self._records and self._node.count_publishers(name):
                self._subscribe(kind, name)

    def _subscribe(self, kind: type, name: str) -> None:
        record = self._records[name] = TopicRecord()
        self._types.append(kind)
        take = partial(self._on_message, kind, record)
        quality = streams.best_effort(50 if kind in _IMAGES else 1000)
        self._node.create_subscription(kind, name, take, quality, raw=True)

    def _on_message(self, kind: type, record: TopicRecord, data: bytes) -> None:
        take_message(kind, record, data, self._node.get_clock().now().nanoseconds * 1e-9)

    def _on_description(self, message: String) -> None:
        self._description = message.data

    # Who drives the arm

    def _controllers(self) -> tuple[tuple[Controller, ...] | None, str]:
        services = dict(self._node.get_service_names_and_types())
        name = next((n for n, types in services.items() if _LIST_CONTROLLERS in types), "")
        if not name:
            return None, "no controller manager is there to ask"
        try:
            from controller_manager_msgs.srv import ListControllers
        except ImportError:
            return None, f"{name} cannot be asked: the package controller_manager_msgs is not installed"
        try:
            service = self._client.service(ListControllers, name)
            answer = service.call(ListControllers.Request(), ANSWER_S)
        except NoAnswerError as error:
            return None, str(error)
        return tuple(
            Controller(c.name, c.type, c.state, joints_claimed(c.claimed_interfaces))
            for c in answer.controller
        ), ""


def take_message(kind: type, record: TopicRecord, data: bytes, now: float) -> None:
    """Note what a message says, as it was sent (CDR) and received at `now` [s]."""
    record.add_receipt(now, None if kind in _UNSTAMPED else _stamp(data))
    if kind is JointState or not record.facts:  # of images, only the first is unpacked
        _READERS.get(kind, _read_other)(record, deserialize_message(data, kind))


def joints_claimed(interfaces: list[str]) -> tuple[str, ...]:
    """Joints of interfaces such as joint1/position, in their order."""
    return tuple(dict.fromkeys(text.rpartition("/")[0] for text in interfaces))


def _stamp(data: bytes) -> float:
    """Stamp of a message that begins with a header, as it is sent (CDR) [s]."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return float(seconds + nanoseconds * 1e-9)


def _read_image(record: TopicRecord, message: Image) -> None:
    record.facts.update(
        size=(message.width, message.height), encoding=message.encoding, frame=message.header.frame_id
    )


def _read_compressed(record: TopicRecord, message: CompressedImage) -> None:
    record.facts.update(encoding=message.format, frame=message.header.frame_id)
    try:
        header = picture_header(bytes(message.data))
        record.facts["size"] = header.width, header.height
    except ImageError:  # compressedDepth has a header of its own before the picture
        pass


def _read_joints(record: TopicRecord, message: JointState) -> None:
    record.names[tuple(message.name)] = None
    counts: dict[str, int] = record.facts.setdefault("counts", {})
    for name in JointField.words():  # several publishers may say other fields
        counts[name] = max(counts.get(name, 0), len(getattr(message, name)))
    if len(message.position) == len(message.name):
        record.add_values(message.name, message.position)


def _read_array(record: TopicRecord, message: Float64MultiArray) -> None:
    record.facts["counts"] = {"data": len(message.data)}


def _read_trajectory(record: TopicRecord, message: JointTrajectory) -> None:
    record.names[tuple(message.joint_names)] = None


def _read_other(record: TopicRecord, message: Any) -> None:
    record.facts["frame"] = message.header.frame_id


_READERS: dict[type, Callable[[TopicRecord, Any], None]] = {
    Image: _read_image,
    CompressedImage: _read_compressed,
    JointState: _read_joints,
    Float64MultiArray: _read_array,
    JointTrajectory: _read_trajectory,
}
