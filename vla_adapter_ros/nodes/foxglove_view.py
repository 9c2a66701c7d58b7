"""Live view for Foxglove: topics of the robot over a WebSocket of this computer, read only."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.urdf import ROBOT_DESCRIPTION
from vla_adapter_ros.errors import ConsoleError
from vla_adapter_ros.msg import ActionChunk, ControllerStatus, RecorderStatus
from vla_adapter_ros.nodes.capsule_messages import CAMERA, COMMAND, topic_of
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.streams import IMAGE_TYPES, TOPIC_TYPES, best_effort
from vla_adapter_ros.nodes.topics import CHUNK_TOPIC, INSTRUCTION_TOPIC, LATCHED, RECORDER_TOPIC, STATUS_TOPIC

HOST = "127.0.0.1"
JOINTS = "/joint_states"
ROBOT = "/console/robot"
_BACKLOG = 64  # messages that wait for a viewer; the oldest is dropped then
_DEPTH = best_effort(10)


class Shown(NamedTuple):
    """A topic of the robot, and what Foxglove calls it: as in a capsule, so that one layout suits both."""

    kind: type
    topic: str
    name: str
    quality: QoSProfile = _DEPTH


def shown_topics(contract: Contract) -> list[Shown]:
    """What can be looked at: cameras, joints, commands, chunks, instruction, status and description."""
    shown = [
        Shown(IMAGE_TYPES[camera.transport], camera.topic, f"{CAMERA}{name}", best_effort(1))
        for name, camera in contract.recorded_cameras.items()
    ]
    for topic, entry in contract.topics.items():
        if topic == contract.action.topic:
            continue  # the command, below
        joints = topic in contract.joint_state_topics and not any(s.name == JOINTS for s in shown)
        shown.append(Shown(TOPIC_TYPES[entry.type], topic, JOINTS if joints else f"/{topic.lstrip('/')}"))
    return [
        *shown,
        Shown(TOPIC_TYPES[contract.action.type], contract.action.topic, COMMAND),
        Shown(ActionChunk, CHUNK_TOPIC, f"/{CHUNK_TOPIC}"),
        Shown(ControllerStatus, STATUS_TOPIC, f"/{STATUS_TOPIC}"),
        Shown(RecorderStatus, RECORDER_TOPIC, f"/{RECORDER_TOPIC}"),
        Shown(String, INSTRUCTION_TOPIC, f"/{INSTRUCTION_TOPIC}", LATCHED),
        Shown(String, ROBOT_DESCRIPTION, f"/{ROBOT_DESCRIPTION}", LATCHED),
    ]


class FoxgloveView:
    """Hears a topic only while somebody looks at it, and hands its messages on as they are.

    Viewers cannot send anything. It listens on this computer alone, with a client of its own, so that its
    pictures stand in the way of nothing else.

    Args:
        contract: Names the topics.
        namespace: Of the robot's nodes.
        port: TCP port; 0: any free one.

    Raises:
        ConsoleError: foxglove-sdk is missing, or the port is taken.
    """

    def __init__(self, contract: Contract, namespace: str, port: int) -> None:
        try:
            import foxglove
        except ImportError:
            raise ConsoleError("foxglove:=true needs foxglove-sdk: pip install foxglove-sdk") from None
        self._foxglove: Any = foxglove
        self._context = context = foxglove.Context()  # the channels do not keep it
        self._channels = [(shown, self._channel(shown, context)) for shown in shown_topics(contract)]
        self._robot = foxglove.Channel(ROBOT, schema={"type": "object"}, context=context)
        try:
            self._server = foxglove.start_server(
                name=contract.name, host=HOST, port=port, context=context, capabilities=[],
                message_backlog_size=_BACKLOG,
            )  # fmt: skip
        except Exception as error:  # the SDK has no class of its own for it
            raise ConsoleError(f"Foxglove cannot be served on {HOST}:{port}: {error}") from None
        self._client = RosClient(f"foxglove_view_{os.getpid()}", namespace)
        self._heard: dict[str, Any] = {}  # what it is called -> its subscription
        self.url = f"ws://localhost:{self._server.port}"

    def look(self, figure: dict[str, object] | None) -> None:
        """Hear what is looked at now, and nothing else; to be called a few times per second.

        Args:
            figure: Bones and path of the robot, as the pages have them; None: there is none.
        """
        node = self._client.node
        for shown, channel in self._channels:
            looked_at = channel.has_sinks()
            if looked_at and shown.name not in self._heard:
                self._heard[shown.name] = _listen(node, shown, channel)
            elif not looked_at and (subscription := self._heard.pop(shown.name, None)) is not None:
                node.destroy_subscription(subscription)
        if figure is not None and self.watched:
            self._robot.log(figure)

    @property
    def watched(self) -> bool:
        """Whether anybody looks at the robot's figure."""
        return bool(self._robot.has_sinks())

    def close(self) -> None:
        """Listen no more."""
        self._server.stop()
        self._client.close()

    def _channel(self, shown: Shown, context: Any) -> Any:
        topic = topic_of(shown.name, shown.kind)
        schema = self._foxglove.Schema(
            name=topic.schema.name, encoding=topic.schema.encoding, data=topic.schema.definition.encode()
        )
        return self._foxglove.Channel(
            shown.name, schema=schema, message_encoding=topic.encoding, context=context
        )


def _listen(node: Node, shown: Shown, channel: Any) -> Any:
    """A subscription that hands serialized messages on."""

    def hand_on(message: bytes) -> None:
        channel.log(bytes(message))

    return node.create_subscription(shown.kind, shown.topic, hand_on, shown.quality, raw=True)
