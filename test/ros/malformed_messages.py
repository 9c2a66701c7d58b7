"""Malformed messages that are no images: what they are, where they go, who must name them, and how."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from bench import CONTRACT, HOME
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from vla_adapter_ros.msg import ActionChunk, ControllerStatus
from vla_adapter_ros.nodes.conversions import to_stamp

JOINTS, POSE, TELEOP, COMMAND = (
    CONTRACT.joint_state_topic, "end_effector_pose", CONTRACT.teleop.topic, CONTRACT.action.topic,
)  # fmt: skip
NAMES = [*CONTRACT.arm_joints, CONTRACT.grippers[0].joint]
NAN, INF, LARGE = math.nan, math.inf, 1e39  # the last is finite, but not as float32


@dataclass(frozen=True)
class BadMessage:
    """A message by the time [s] at which it is sent; `words` empty: it is good enough to be ignored."""

    name: str
    topic: str
    make: Callable[[float], Any]
    node: str = ""
    words: str = ""


def joints(names: list[str], late: float = 0.0, **fields: Any) -> Callable[[float], JointState]:
    def make(now: float) -> JointState:
        message = JointState(name=names, **fields)
        message.header.stamp = to_stamp(max(now + late, 0.0))
        return message

    return make


def one_off(value: float, names: list[str] = NAMES, **more: Any) -> Callable[[float], JointState]:
    """Good positions but for the second."""
    good = [*HOME, *[1.0] * (len(names) - len(HOME))]
    return joints(names, position=[value if i == 1 else float(v) for i, v in enumerate(good)], **more)


def pose(value: float, late: float = 0.0, part: str = "position") -> Callable[[float], PoseStamped]:
    def make(now: float) -> PoseStamped:
        message = PoseStamped()
        message.header.stamp = to_stamp(now + late)
        getattr(message.pose, part).x = value
        return message

    return make


def chunk(value: float = 0.0, late: float = 0.0, **changes: Any) -> Callable[[float], ActionChunk]:
    def make(now: float) -> ActionChunk:
        rows = np.column_stack([np.tile(HOME, (8, 1)), np.ones(8)])
        rows[3, 2] += value
        message = ActionChunk(
            session_id="stranger", instruction_id=1, sequence=1, action_space="joint_position",
            names=list(CONTRACT.action_names), rate_hz=CONTRACT.rate_hz, num_rows=8, num_columns=8,
            execution_horizon=4, data=rows.ravel().tolist(),
        )  # fmt: skip
        message.header.stamp = to_stamp(max(now + late, 0.0))
        for name, its in changes.items():
            setattr(message, name, its)
        return message

    return make


def bad_messages() -> Iterator[BadMessage]:
    a, c, r = list(CONTRACT.action_names), "controller_node", "recorder_node"
    for name, make, node, words in (
        ("more names than values", joints(NAMES, position=[0.0]), c, "8 names but 1 positions"),
        ("NaN", one_off(NAN), c, "fr3_joint2 is nan, must be finite"),
        ("infinite", one_off(INF), c, "fr3_joint2 is inf, must be finite"),
        ("too large for float32", one_off(LARGE), c, "fr3_joint2 is 1e+39, the contract's limits"),
        ("too small for float32", one_off(-LARGE), c, "fr3_joint2 is -1e+39, the contract's limits"),
        ("1e300", one_off(1e300), c, "1e+300"),
        ("from the future", one_off(0.0, late=900.0), c, "future"),
        ("from the past", one_off(0.0, late=-1e9), "", ""),
        ("empty", joints([]), "", ""),
        ("names alone", joints(NAMES), "", ""),
        ("a strange joint", joints(["", "\u00e4" * 1000], position=[NAN, INF]), "", ""),
        ("10000 joints", joints([str(i) for i in range(10_000)], position=[0.0] * 10_000), "", ""),
        ("efforts of another length", joints(NAMES, position=[0.0] * 8, effort=[1.0], late=-1e9), "", ""),
    ):
        yield BadMessage(f"joint state: {name}", JOINTS, make, node, words)
    for name, make, words in (
        ("NaN", pose(NAN), "position.x not finite"),
        ("infinite", pose(INF), "position.x not finite"),
        ("too large for float32", pose(LARGE), "position.x too large"),
        ("from the future", pose(0.5, 900.0), ""),
        ("an orientation of NaN", pose(NAN, part="orientation"), ""),
    ):
        yield BadMessage(f"pose: {name}", POSE, make, "policy_node" if words else "", words)
    for name, make, words in (
        ("strange names", joints(["a"] * 8, position=[0.0] * 8), "command lacks"),
        ("empty", joints([]), "command lacks"),
        ("too few values", joints(a, position=[0.0]), "8 names but 1 values"),
        ("NaN", one_off(NAN, a), "expected finite values"),
        ("too large for float32", one_off(LARGE, a), "values beyond"),
        ("from the future", one_off(0.0, a, late=900.0), "s in the future"),
        ("old", one_off(0.0, a, late=-0.5), "s old"),
        ("a gripper that nobody means", joints(a, position=[*HOME.tolist(), 50.0]), "gripper = 50"),
    ):
        yield BadMessage(f"teleop: {name}", TELEOP, make, c, words)
    for name, make, words in (
        ("more names than values", joints(a, position=[0.0]), "8 names but 1 values"),
        ("strange names", joints(["a"] * 8, position=[0.0] * 8), ""),
        ("NaN", one_off(NAN, a), ""),
        ("too large for float32", one_off(LARGE, a), ""),
    ):
        yield BadMessage(f"command: {name}", COMMAND, make, r if words else "", words)
    for name, make, words in (
        ("NaN", chunk(NAN), "must be finite"),
        ("infinite", chunk(INF), "must be finite"),
        ("too large for float32", chunk(LARGE), "beyond"),
        ("strange names", chunk(names=["a"] * 8), "the robot takes"),
        ("100000 names", chunk(names=["a"] * 100_000), "the robot takes"),
        ("another width", chunk(data=[0.0] * 5), "shape (5, 1)"),
        ("no data", chunk(data=[]), "shape"),
        ("2**31 rows", chunk(num_rows=2**31), "rows: allowed are at most"),
        ("rate 0", chunk(rate_hz=0.0), "rate 0.0 Hz"),
        ("rate NaN", chunk(rate_hz=NAN), "rate nan Hz"),
        ("rate -1", chunk(rate_hz=-1.0), "rate -1.0 Hz"),
        ("another space", chunk(action_space="ee_delta"), "action space 'ee_delta'"),
        ("from the future", chunk(late=900.0), "s in the future"),
        ("too late", chunk(late=-1e9), "too late"),
    ):
        yield BadMessage(f"chunk: {name}", "action_chunk", make, c, words)
    for name, topic, text in (
        ("a command that does not exist", "recorder_node/command", "dance"),
        ("an empty command", "recorder_node/command", ""),
        ("a long command", "recorder_node/command", "start " + "x" * 100_000),
        ("a long instruction", "instruction", "pick up " * 20_000),
        ("a strange instruction", "instruction", "\u8d64\u3044 \U0001f916 e\u0301"),
        ("a robot description", "robot_description", "<robot"),
    ):
        yield BadMessage(f"text: {name}", topic, lambda now, text=text: String(data=text))
    for state in ("", "flying", "x" * 10_000):
        yield BadMessage(
            f"status: {state[:10]!r}",
            "controller/status",
            lambda now, state=state: ControllerStatus(state=state, control_source=state, transition_step=NAN),
        )


BAD_MESSAGES = tuple(bad_messages())
