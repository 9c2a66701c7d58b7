"""What viewers of a capsule see: ROS 2 messages with their definitions, of what policy and core remember."""

from __future__ import annotations

import functools
import importlib
import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import String

from vla_adapter_ros.capsule.contents import PolicyRecord
from vla_adapter_ros.capsule.mcap_file import Schema, Topic
from vla_adapter_ros.capsule.policy_replay import AS_PREDICTED
from vla_adapter_ros.capsule.policy_ring import Inference
from vla_adapter_ros.capsule.recorded_core import Call, Refusal, Snapshot
from vla_adapter_ros.contract import Contract
from vla_adapter_ros.nodes.conversions import chunk_message, command_message, to_stamp
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, INSTRUCTION_TOPIC, STATUS_TOPIC

COMMAND, SETPOINT, HUMAN, RECEIVED = (
    "/controller/command", "/controller/setpoint", "/human_command", "/controller/received_chunk",
)  # fmt: skip
CAMERA = "/camera/"
_SEPARATOR = "=" * 80
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # fast: it is about losing nothing
_WORDS = {"boolean": "bool", "float": "float32", "double": "float64", "octet": "byte"}


class Sent(NamedTuple):
    """A message for viewers: its topic, its time [s] and the message."""

    topic: str
    time: float
    message: Any


def core_messages(contract: Contract, snapshot: Snapshot, calls: Iterable[Call]) -> Iterator[Sent]:
    """Joint states, human's commands, chunks, commands before limiting and set-points of the core."""
    names, joints, field = contract.action_names, contract.arm_joints, contract.action.field
    now, description = 0.0, snapshot.kinematics.urdf_text if snapshot.kinematics is not None else ""
    for name, arguments, outcome in calls:
        if isinstance(outcome, Refusal):
            continue
        if description and name == "tick":  # the first time that is known
            yield Sent("/robot_description", arguments[0], String(data=description))
            description = ""
        if name == "measure":
            positions, stamp, *received = arguments
            message = JointState(name=list(positions), position=list(positions.values()))
            message.header.stamp = to_stamp(stamp)
            when = received[0] if received and received[0] is not None else stamp
            yield Sent("/joint_states", when, message)
        elif name == "accept_teleop":
            command, stamp = arguments[:2]
            yield Sent(HUMAN, stamp, command_message(np.asarray(command), names, stamp, field))
        elif name == "chunk_start":
            chunk, now = arguments
            yield Sent(RECEIVED, now, chunk_message(chunk, 0, chunk.seen_at, 0.0))
        elif name == "tick":
            now = arguments[0]
            if outcome.command is not None:
                yield Sent(COMMAND, now, command_message(outcome.command, names, now, field))
        elif name == "setpoint" and outcome is not None:
            message = JointState(
                name=list(joints), position=outcome.position.tolist(), velocity=outcome.velocity.tolist()
            )
            message.header.stamp = to_stamp(arguments[0])
            yield Sent(SETPOINT, arguments[0], message)
        elif name == "set_kinematics":
            description = arguments[0].urdf_text


def inference_messages(contract: Contract, inference: Inference) -> tuple[list[Sent], PolicyRecord]:
    """Pictures, state, instruction and chunk of a prediction, and what a replay needs of it."""
    frame, topics = inference.frame, {}
    sent = []
    for name, image in frame.images.items():
        if name in contract.camera_names:
            topics[name] = f"{CAMERA}{name}"
            sent.append(Sent(topics[name], frame.stamp, _lossless(image, frame.stamp)))
    for name, message in inference.received.items():
        topics[name] = f"{CAMERA}{name}"
        sent.append(Sent(topics[name], frame.stamp, message))
    state = JointState(name=list(contract.state_names), position=frame.state.tolist())
    state.header.stamp = to_stamp(frame.stamp)
    sent += [
        Sent("/policy/state", frame.stamp, state),
        Sent(f"/{INSTRUCTION_TOPIC}", frame.stamp, String(data=inference.instruction)),
        Sent(f"/{CHUNK_TOPIC}", frame.stamp, inference.message),
    ]
    record = PolicyRecord(
        frame.stamp, inference.instruction, frame.state, inference.rows, topics, time_ns(frame.stamp),
        inference.committed,
    )  # fmt: skip
    return sent, record


def status_messages(statuses: Iterable[tuple[float, Any]]) -> Iterator[Sent]:
    """The controller's status, as it was published."""
    return (Sent(f"/{STATUS_TOPIC}", time, message) for time, message in statuses)


def time_ns(time: float) -> int:
    """Seconds as nanoseconds."""
    return round(time * 1e9)


@functools.cache
def topic_of(name: str, kind: type) -> Topic:
    """The topic of messages of a class, as an MCAP file has it."""
    return Topic(name, Schema(_type_name(kind), "ros2msg", message_definition(kind)), "cdr")


@functools.cache
def message_definition(kind: type) -> str:
    """The definition of a message class with those of all that it holds, as bags have it.

    It is made of what the class knows of its fields, so that no .msg file must be there.
    """
    seen: dict[str, str] = {}
    waiting = [kind]
    while waiting:
        next_kind = waiting.pop(0)
        if (name := _type_name(next_kind)) in seen:
            continue
        lines, parts = [], []
        for field, its in next_kind.get_fields_and_field_types().items():  # type: ignore[attr-defined]
            word, part = _field_type(its)
            lines.append(f"{word} {field}")
            parts += [part] if part is not None else []
        seen[name] = "\n".join(lines) + "\n"
        waiting += parts
    texts = iter(seen.items())
    text = next(texts)[1]
    for name, lines_of in texts:
        text += f"{_SEPARATOR}\nMSG: {name.replace('/msg/', '/')}\n{lines_of}"
    return text


def _type_name(kind: type) -> str:
    package, _, _ = kind.__module__.partition(".")
    return f"{package}/msg/{kind.__name__}"


def _field_type(its: str) -> tuple[str, type | None]:
    """A field's type as .msg files write it, and the message class if it holds one."""
    found = re.fullmatch(r"sequence<(.+?)(?:, (\d+))?>", its)
    suffix = ""
    if found:
        its, bound = found.groups()
        suffix = f"[<={bound}]" if bound else "[]"
    elif found := re.fullmatch(r"(.+)\[(\d+)\]", its):
        its, suffix = found[1], f"[{found[2]}]"
    if bounded := re.fullmatch(r"(w?string)<(\d+)>", its):
        return f"{bounded[1]}<={bounded[2]}{suffix}", None
    if "/" not in its:
        return f"{_WORDS.get(its, its)}{suffix}", None
    package, _, name = its.partition("/")
    return f"{its}{suffix}", getattr(importlib.import_module(f"{package}.msg"), name)


def _lossless(image: np.ndarray, stamp: float) -> CompressedImage:
    """The very pixels, as PNG."""
    message = CompressedImage(format="png")
    message.header.frame_id, message.header.stamp = AS_PREDICTED, to_stamp(stamp)
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _PNG)
    message.data = array("B", data.tobytes())
    return message
