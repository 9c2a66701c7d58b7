"""Publishes an episode of a data set into the running graph: as a robot would, or as a human's commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Float64MultiArray

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import TopicType
from vla_adapter_ros.dataset.layout import ACTION, STAMP, STATE
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.msg import ControllerStatus
from vla_adapter_ros.nodes.conversions import action_message, seconds, teleop_messages, to_stamp
from vla_adapter_ros.nodes.graph import nobody_here
from vla_adapter_ros.nodes.image_messages import array_to_image
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.streams import IMAGE_TYPES, TOPIC_TYPES
from vla_adapter_ros.nodes.topics import STATUS_TOPIC
from vla_adapter_ros.observation.images import turn

DISCOVERY_S = 1.0  # time for readers and publishers to find each other
SETTLED_S = 0.5  # without a new listener: those that there are have come
LISTENERS_S = 10.0  # longest wait for the first one


def replay_frames(dataset: Dataset, contract: Contract, episode: int, speed: float = 1.0) -> int:
    """Publish an episode's images, state and actions on the contract's topics, stamped as they are sent.

    A message of which the data has only a part, such as a pose, has NaN in place of the rest.

    Args:
        dataset: With the names of the contract.
        contract: Topics, types and fields.
        episode: Its place among those that can be read.
        speed: Factor on the time between rows, > 0.

    Returns:
        Rows published.

    Raises:
        DatasetError: no such episode, a damaged data set, or nobody listens.
    """
    if not contract.hand_guided and contract.command_topics != {contract.action.topic: "joint_state"}:
        raise DatasetError(
            f"contract.action: commands on {contract.command_topics}: allowed for a replay are "
            "joint states on action.topic alone"
        )
    rows = _rows(dataset, episode)
    images = {name: dataset.images(name, episode) for name in contract.cameras}
    with _Publisher() as publisher:
        depth = QoSProfile(depth=10)  # reliable: whoever listens with best effort gets it too
        for camera in contract.cameras.values():
            publisher.advertise(IMAGE_TYPES[camera.transport], camera.topic, depth)
        for name, topic in contract.topics.items():
            publisher.advertise(TOPIC_TYPES[topic.type], name, depth)
        publisher.advertise(JointState, contract.action.topic, depth)
        publisher.settle()
        for row in publisher.pace(rows, speed):
            now = publisher.now()
            for name, topic in contract.topics.items():
                for message in state_messages(contract, name, topic.type, rows[STATE][row], now):
                    publisher.send(name, message)
            action = rows[ACTION][row].astype(np.float64)
            publisher.send(contract.action.topic, action_message(action, contract, now))
            for name, camera in contract.cameras.items():
                image = turn(next(images[name]), -camera.rotation % 360)
                publisher.send(camera.topic, image_message(image, camera.transport, now))
    return len(rows[ACTION])


def replay_commands(dataset: Dataset, contract: Contract, episode: int, speed: float = 1.0) -> int:
    """Publish an episode's actions on the teleoperation topic, where the controller limits them.

    Args, errors: as `replay_frames`. The arm must stand where the episode begins.

    Returns:
        Rows published.

    Raises:
        DatasetError: also if the contract's route is direct, or the controller did not follow.
    """
    if contract.teleop.route != "through_controller":
        raise DatasetError(
            f"teleop.route = {contract.teleop.route!r}: commands would pass the controller's limits by; "
            "allowed is 'through_controller'"
        )
    if not contract.teleop_groups:
        raise DatasetError(
            "teleop has no topic: nobody would hear the commands; allowed is a contract with one: --contract"
        )
    rows = _rows(dataset, episode)
    followed, said = 0, ""

    def listen(status: ControllerStatus) -> None:
        nonlocal followed, said
        followed += status.control_source == "human"
        if status.reason or not said:  # what it says when all is over tells nothing
            said = f"{status.state}: {status.reason}"

    with _Publisher() as publisher:
        for group in contract.teleop_groups:
            publisher.advertise(JointState, group.topic, QoSProfile(depth=10))
        publisher.subscribe(ControllerStatus, STATUS_TOPIC, listen, QoSProfile(depth=10))
        publisher.settle()
        for row in publisher.pace(rows, speed):
            action = rows[ACTION][row].astype(np.float64)
            for topic, message in teleop_messages(contract, action, publisher.now()).items():
                publisher.send(topic, message)
        time.sleep(0.2)  # the last status comes after the last command
    if not followed:
        raise DatasetError(f"the controller did not follow the commands: {said or 'none answered'}")
    return len(rows[ACTION])


def state_messages(contract: Contract, topic: str, kind: str, state: np.ndarray, now: float) -> list[Any]:
    """Messages that bring the values of a state (S,) in SI on one topic, a joint state per field."""
    values = {
        (d.joint, d.field): float(v) / d.unit.factor
        for d, v in zip(contract.state, state, strict=True)
        if d.topic == topic
    }
    if not values:
        return []
    if kind == TopicType.FLOAT64_ARRAY:
        data = [values.get(("", name), float("nan")) for name in contract.topics[topic].joints]
        return [Float64MultiArray(data=data)]
    if kind != TopicType.JOINT_STATE:
        message = TOPIC_TYPES[kind]()
        message.header.stamp = to_stamp(now)
        for field in TopicType(kind).fields:
            part, axis = field.split(".")
            setattr(getattr(getattr(message, kind), part), axis, values.get(("", field), float("nan")))
        return [message]
    messages = []
    for field in dict.fromkeys(field for _, field in values):
        chosen = {joint: value for (joint, its), value in values.items() if its == field}
        message = JointState(name=list(chosen), **{field: list(chosen.values())})
        message.header.stamp = to_stamp(now)
        messages.append(message)
    return messages


def image_message(image: np.ndarray, transport: str, now: float) -> Any:
    """An image, uint8 (H, W, 3) RGB, as a raw message or as PNG, which loses nothing."""
    if transport == "raw":
        message = array_to_image(image, "camera")
    else:
        message = CompressedImage(format="png")
        message.data.frombytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
    message.header.stamp = to_stamp(now)
    return message


def _rows(dataset: Dataset, episode: int) -> dict[str, np.ndarray]:
    rows = dataset.rows(episode)
    count, stamps = len(rows["index"]), rows.get(STAMP, rows["timestamp"])
    if not np.isfinite(stamps).all():  # they are not known
        stamps = rows["timestamp"]
    return {
        STATE: rows[STATE].reshape(count, -1),
        ACTION: rows[ACTION].reshape(count, -1),
        STAMP: np.asarray(stamps, dtype=np.float64),
    }


class _Publisher(RosClient):
    """Publishes at given times of the graph's clock, simulated or real."""

    def __init__(self) -> None:
        super().__init__("vla_adapter_replay")
        self._publishers: dict[str, Publisher[Any]] = {}

    def advertise(self, kind: Any, topic: str, qos: QoSProfile) -> None:
        """Make a publisher."""
        self._publishers[topic] = self.node.create_publisher(kind, topic, qos)

    def send(self, topic: str, message: Any) -> None:
        """Publish."""
        self._publishers[topic].publish(message)

    def now(self) -> float:
        """Time of the graph's clock [s]."""
        return seconds(self.node.get_clock().now().to_msg())

    def settle(self) -> None:
        """Let the graph find this node, until no more listeners come; take its clock if there is one.

        Raises:
            DatasetError: nobody listens.
        """
        time.sleep(DISCOVERY_S)
        heard, since = -1, time.monotonic()

        def settled() -> bool:
            nonlocal heard, since
            count = sum(publisher.get_subscription_count() for publisher in self._publishers.values())
            if count != heard:
                heard, since = count, time.monotonic()
            return heard > 0 and time.monotonic() - since > SETTLED_S

        self.poll_until(settled, LISTENERS_S)
        if not heard:
            raise DatasetError(nobody_here(f"nobody listens to {', '.join(self._publishers)}", "bringup"))
        if self.node.count_publishers("/clock") and not self.node.get_parameter("use_sim_time").value:
            self.node.set_parameters([Parameter("use_sim_time", value=True)])
            self.poll_until(lambda: self.now() > 0, 10.0)

    def pace(self, rows: dict[str, np.ndarray], speed: float) -> Iterator[int]:
        """Give out row numbers when they are due.

        Raises:
            DatasetError: the clock stands still.
        """
        start = self.now()
        for row, stamp in enumerate(rows[STAMP]):
            due = float(start + (stamp - rows[STAMP][0]) / speed)
            if not self.poll_until(partial(self._is_at, due), 30.0 + (due - self.now()), 0.001):
                raise DatasetError("the graph's clock stands still")
            yield row

    def _is_at(self, due: float) -> bool:
        return self.now() >= due
