"""Made-up messages of the simulated Franka, delayed and out of order, and bags that hold them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vla_adapter_ros.contract import Contract, full_name

START_NS = 1_760_000_000_000_000_000
TYPES = get_typestore(Stores.ROS2_HUMBLE)
TYPES.register(
    get_types_from_msg(
        "std_msgs/Header header\nstring state\nint64 episode", "vla_adapter_ros/msg/RecorderStatus"
    )
)


TYPES.register(
    get_types_from_msg(
        "std_msgs/Header header\nstring state\nstring control_source", "vla_adapter_ros/msg/ControllerStatus"
    )
)


@dataclass(frozen=True)
class Sample:
    """A message before it is one: stream (camera or topic), stamp and receipt [ns], values or image.

    `picture` is how a compressed image is coded.
    """

    stream: str
    stamp: int
    received: int
    content: Any
    picture: str = "png"


def make_samples(
    contract: Contract,
    seconds: float,
    seed: int,
    longest_delay_s: float = 0.08,
    *,
    in_order: Collection[str] = (),
    apart_s: float | None = None,
    picture: str = "png",
) -> list[Sample]:
    """Samples of every stream at 30 (cameras), 20 (action) and 50 Hz, in the order of their receipt.

    Each is delayed at random, so that those of one stream overtake each other, but for streams `in_order`.
    Cameras jitter each for itself or, with `apart_s`, are triggered together and stamped so far apart.
    """
    rng = np.random.default_rng(seed)
    samples = []
    streams = [
        *((c, 30) for c in contract.recorded_cameras),
        *((t, 50) for t in contract.topics),
        (contract.action.topic, 20),
    ]
    for stream, rate in streams:
        last = 0
        for n in range(int(seconds * rate)):
            stamp = START_NS + int((n / rate + rng.uniform(0, 0.004)) * 1e9)
            if apart_s is not None and stream in contract.recorded_cameras:
                step = list(contract.recorded_cameras).index(stream) * apart_s
                stamp = START_NS + int((n / rate + 0.002 + 0.002 * np.sin(n + seed) + step) * 1e9)
            delay = int(rng.uniform(0, longest_delay_s) * 1e9)
            if stream in contract.cameras:
                camera = contract.cameras[stream]
                image = np.full((camera.height, camera.width, 3), (n * 8) % 256, np.uint8)
                image[: camera.height // 2, :, 1] = rng.integers(0, 256)
                content = image
            elif stream in contract.depth_cameras:
                camera = contract.depth_cameras[stream]
                content = rng.integers(0, 9000, (camera.height, camera.width), np.uint16)
            elif stream == contract.action.topic:
                content = rng.normal(size=len(contract.action_names))
            else:
                content = rng.normal(size=9)
            last = max(last + 1, stamp + delay) if stream in in_order else stamp + delay
            samples.append(Sample(stream, stamp, last, content, picture))
    return sorted(samples, key=lambda sample: sample.received)


def joint_names(contract: Contract, topic: str) -> list[str]:
    """Joints of a joint-state topic, with one that nobody asked for, and not in the arm's order."""
    return [*reversed([d.joint for d in contract.state if d.topic == topic]), "unasked"]


def header(stamp: int) -> Any:
    """A header stamped at `stamp` [ns]."""
    sec, nanosec = divmod(stamp, 1_000_000_000)
    return TYPES.types["std_msgs/msg/Header"](TYPES.types["builtin_interfaces/msg/Time"](sec, nanosec), "")


def joint_state(stamp: int, names: list[str], **fields: Any) -> Any:
    """A JointState message; fields that are not given are empty."""
    filled = {f: np.asarray(fields.get(f, ()), np.float64) for f in ("position", "velocity", "effort")}
    return TYPES.types["sensor_msgs/msg/JointState"](header(stamp), names, **filled)


def image_message(stamp: int, image: np.ndarray, transport: str, picture: str = "png") -> Any:
    """An image as bgr8 or, compressed, as PNG or JPEG; depth [mm] as 16UC1 or, compressed, as PNG."""
    kind = TYPES.types["sensor_msgs/msg/Image"]
    compressed = TYPES.types["sensor_msgs/msg/CompressedImage"]
    if image.ndim == 2:
        height, width = image.shape
        if transport == "compressed":
            return compressed(header(stamp), "16UC1; png compressed", cv2.imencode(".png", image)[1].ravel())
        return kind(header(stamp), height, width, "16UC1", 0, 2 * width, image.view(np.uint8).ravel())
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if transport == "compressed":
        data = cv2.imencode(f".{picture}", bgr)[1].ravel()
        return compressed(header(stamp), picture, data)
    height, width = image.shape[:2]
    return kind(header(stamp), height, width, "bgr8", 0, 3 * width, bgr.ravel())


def pose_message(stamp: int, values: np.ndarray) -> Any:
    """A pose of the first seven values."""
    types = TYPES.types
    point, turned = (
        types["geometry_msgs/msg/Point"](*values[:3]),
        types["geometry_msgs/msg/Quaternion"](*values[3:7]),
    )
    return types["geometry_msgs/msg/PoseStamped"](
        header(stamp), types["geometry_msgs/msg/Pose"](point, turned)
    )


def to_message(contract: Contract, sample: Sample) -> tuple[str, Any]:
    """Topic and message of a sample."""
    if sample.stream in contract.recorded_cameras:
        camera = contract.recorded_cameras[sample.stream]
        return camera.topic, image_message(sample.stamp, sample.content, camera.transport, sample.picture)
    if sample.stream == contract.action.topic:
        names = list(contract.action_names)
        return sample.stream, joint_state(sample.stamp, names, **{contract.action.field: sample.content})
    if contract.topics[sample.stream].type == "pose":
        return sample.stream, pose_message(sample.stamp, sample.content)
    names = joint_names(contract, sample.stream)
    return sample.stream, joint_state(sample.stamp, names, position=sample.content[: len(names)])


def text(words: str) -> Any:
    """A String message."""
    return TYPES.types["std_msgs/msg/String"](words)


def clock(time: int) -> Any:
    """What a simulation publishes on /clock."""
    types = TYPES.types
    return types["rosgraph_msgs/msg/Clock"](
        types["builtin_interfaces/msg/Time"](*divmod(time, 1_000_000_000))
    )


def recorder_status(stamp: int, state: str, episode: int) -> Any:
    """The part of a recorder's status that says when it records."""
    return TYPES.types["vla_adapter_ros/msg/RecorderStatus"](header(stamp), state, episode)


def controller_status(stamp: int, source: str) -> Any:
    """The part of a controller's status that says who leads."""
    return TYPES.types["vla_adapter_ros/msg/ControllerStatus"](header(stamp), "running", source)


def write_bag(path: Path, messages: list[tuple[str, int, Any]], storage: str = "mcap") -> Path:
    """Write (topic, log time [ns], message) as a bag."""
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for name, time, message in messages:
            topic = full_name(name)
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(connections[topic], time, TYPES.serialize_cdr(message, kind))
    return path


def bag_of(path: Path, contract: Contract, samples: list[Sample], more=(), storage: str = "mcap") -> Path:
    """Write samples, and further messages, as a bag."""
    messages = [(topic, s.received, m) for s in samples for topic, m in [to_message(contract, s)]]
    return write_bag(path, sorted([*messages, *more], key=lambda entry: entry[1]), storage)
