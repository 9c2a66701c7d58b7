"""One frame of a robot that runs now, for commands that look at it once."""

from __future__ import annotations

from functools import partial
from typing import Any

from rclpy.parameter import Parameter

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ObservationError, VlaAdapterError
from vla_adapter_ros.nodes.image_messages import decode_raw
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.streams import IMAGE_TYPES, TOPIC_TYPES, best_effort
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.observation.messages import message_types

NAME = "vla_adapter_look"
_DEPTH = 10


def take_frame(contract: Contract, namespace: str = "", patience_s: float = 10.0) -> Frame:
    """Listen to the streams of a contract until they give a good frame.

    Args:
        contract: The robot's.
        namespace: Of its nodes; relative topics are looked for there.
        patience_s: Longest wait [s].

    Raises:
        ObservationError: none came; says which stream is missing.
    """
    with RosClient(NAME, namespace or None) as client:
        return _Look(client, contract).wait(patience_s)


class _Look:
    def __init__(self, client: RosClient, contract: Contract) -> None:
        self._client, self._contract = client, contract
        self._builder = ObservationBuilder(contract, with_action=False)
        self._refused: dict[str, str] = {}  # stream -> why its newest message was
        self._simulated = False

    def wait(self, patience_s: float) -> Frame:
        for name, camera in self._builder.cameras.items():
            self._listen(IMAGE_TYPES[camera.transport], camera.topic, name, decode_raw)
        for topic, kind in message_types(self._contract, with_action=False).items():
            self._listen(TOPIC_TYPES[kind], topic, topic)
        good: list[Frame] = []

        def has_come() -> bool:
            self._follow_clock()
            good.extend(frame for frame in self._builder.take_frames(self._now()) if not frame.problem)
            return bool(good)

        if self._client.poll_until(has_come, patience_s):
            return good[-1]
        title = self._contract.stream_title
        causes = [f"{title(stream)}: {why}" for stream, why in self._refused.items()]
        causes = causes or self._builder.obstacles(self._now())
        why = "; ".join(causes) or "the streams do not fit together in time"
        raise ObservationError(f"no frame within {patience_s:g} s: {why}")

    def _follow_clock(self) -> None:
        """Take the time from /clock once somebody is known to publish it; what came before counts no more."""
        if not self._simulated and self._client.node.count_publishers("/clock"):
            self._client.node.set_parameters([Parameter("use_sim_time", value=True)])
            self._builder, self._simulated = ObservationBuilder(self._contract, with_action=False), True

    def _now(self) -> float:
        return float(self._client.node.get_clock().now().nanoseconds * 1e-9)

    def _listen(self, kind: type, topic: str, stream: str, *decode: Any) -> None:
        self._client.subscribe(kind, topic, partial(self._add, stream, *decode), best_effort(_DEPTH))

    def _add(self, stream: str, *arguments: Any) -> None:
        *decode, message = arguments
        try:
            self._builder.add_message(stream, message, self._now(), *decode)
            self._refused.pop(stream, None)
        except VlaAdapterError as error:
            self._refused[stream] = str(error)
