"""A client of the running graph, as a user's own script would be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.msg import ActionChunk, ControllerStatus, SceneState, StepAck
from vla_adapter_ros.nodes.base import ACK_QOS, ACK_TOPIC
from vla_adapter_ros.nodes.conversions import seconds, to_stamp
from vla_adapter_ros.srv import Demonstrate, Instruct, ResetScene, StartEpisode

SETTLING_S = 0.3  # after a reset; several images show the new scene by then


class ClientError(VlaAdapterError):
    """A service did not answer, or refused."""


REPEATABLE = ("instruct", "simulator/reset")
READY_WITHIN_S = 20.0  # wall time that policy and controller get to be ready for an instruction
ANSWER_S = 10.0  # wall time after which a repeatable request is sent again


class GraphClient:
    """Calls the graph's services and watches its topics from a thread of its own.

    In lock step it acknowledges every image time, as node `client`, so that
    simulated time does not run ahead of what was seen here.

    Args:
        contract: Contract of the running robot.
        check: Called while waiting; raises when the graph has died.
        watch_images: Also receive images, chunks and joint states (see `on_message`).
    """

    def __init__(self, contract: Contract, check: Callable[[], None], watch_images: bool = False) -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # signals end the command, not just ROS
        self.node = rclpy.create_node("vla_adapter_client")
        self._check = check
        self._changed = threading.Condition()
        self.scene: SceneState | None = None
        self.status: ControllerStatus | None = None
        self.on_message: Callable[[str, Any], None] = lambda stream, message: None
        self._newest = {"scene": 0.0}  # stream -> newest stamp, of what is waited for
        self._acknowledged = 0.0
        self._acks = self.node.create_publisher(StepAck, ACK_TOPIC, ACK_QOS)
        subscribe = self.node.create_subscription
        subscribe(SceneState, "simulator/scene", self._on_scene, QoSProfile(depth=100))
        subscribe(ControllerStatus, "controller/status", self._on_status, QoSProfile(depth=50))
        if watch_images:
            images = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
            self._newest |= dict.fromkeys([*contract.cameras, "joints"], 0.0)
            for name, camera in contract.cameras.items():
                subscribe(Image, camera.topic, self._forward(name), images)
            subscribe(ActionChunk, "action_chunk", self._forward("chunk"), QoSProfile(depth=20))
            subscribe(JointState, contract.joint_state_topic, self._forward("joints"), QoSProfile(depth=100))
        types = {
            "instruct": Instruct,
            "simulator/reset": ResetScene,
            "simulator/demonstrate": Demonstrate,
            "recorder_node/start_episode": StartEpisode,
            "recorder_node/stop_episode": Trigger,
            "recorder_node/discard_episode": Trigger,
        }
        self._clients = {name: self.node.create_client(kind, name) for name, kind in types.items()}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self._acks.publish(StepAck(node="client"))  # after the subscriptions, which must miss nothing

    def close(self) -> None:
        """Leave the graph."""
        rclpy.try_shutdown()
        self._thread.join()

    def __enter__(self) -> GraphClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def now(self) -> float:
        """Stamp of the newest scene [s]; 0 before the first."""
        return seconds(self.scene.header.stamp) if self.scene is not None else 0.0

    def call(self, name: str, request: Any, patience_s: float = 60.0) -> Any:
        """Call a service and wait for its answer.

        An answer can be lost on a busy machine, when the server has not found our reader yet. Requests
        that may be carried out twice are therefore sent again after a while.

        Raises:
            ClientError: no answer within `patience_s` of wall time.
        """
        client = self._clients[name]
        deadline = time.monotonic() + patience_s
        while not client.wait_for_service(0.2):
            self._check()
            if time.monotonic() > deadline:
                raise ClientError(f"service {name} did not appear within {patience_s} s")
        future, sent = client.call_async(request), time.monotonic()
        while not future.done():
            self._check()
            if time.monotonic() > deadline:
                raise ClientError(f"service {name} did not answer within {patience_s} s")
            if name in REPEATABLE and time.monotonic() > sent + ANSWER_S:
                client.remove_pending_request(future)
                future, sent = client.call_async(request), time.monotonic()
            time.sleep(0.002)
        return future.result()

    def instruct(self, text: str) -> None:
        """Give an instruction; retried while policy or controller are not ready, which is then said.

        Raises:
            ClientError: refused for 20 s.
        """
        begun, told = time.monotonic(), False
        while True:
            answer = self.call("instruct", Instruct.Request(instruction=text))
            if answer.accepted:
                return
            waited = time.monotonic() - begun
            if waited > READY_WITHIN_S:
                raise ClientError(f"instruction refused: {answer.message}")
            if waited > 1.0 and not told:
                print(f"waiting: {answer.message}", flush=True)
                told = True
            time.sleep(0.1)

    def reset(self, seed: int, objects: tuple[str, ...] = ()) -> list[str]:
        """Put up a scene and wait until it is seen. Returns the objects on the table."""
        answer = self.call("simulator/reset", ResetScene.Request(seed=seed, objects=list(objects)))
        if not answer.success:
            raise ClientError(f"reset refused: {answer.message}")
        shown = seconds(answer.stamp) + SETTLING_S
        if not self.wait_until(lambda: self.now >= shown):
            raise ClientError(f"no image of the new scene: simulated time stands still at {self.now:.2f} s")
        return list(answer.objects)

    def wait_until(self, condition: Callable[[], bool], patience_s: float = 120.0) -> bool:
        """Wait for a condition on what was received; False after `patience_s` of wall time."""
        deadline = time.monotonic() + patience_s
        with self._changed:
            while not condition():
                if time.monotonic() > deadline:
                    return False
                self._changed.wait(0.2)
                self._check()
        return True

    def sleep(self, duration_s: float) -> None:
        """Let simulated time pass.

        Raises:
            ClientError: time stands still.
        """
        self.wait_until(lambda: self.scene is not None)
        end = self.now + duration_s
        if not self.wait_until(lambda: self.now >= end):
            raise ClientError(f"simulated time stands still at {self.now:.2f} s")

    def _on_scene(self, message: SceneState) -> None:
        with self._changed:
            self.scene = message
            self.on_message("scene", message)
            self._changed.notify_all()
        self._note("scene", message)

    def _on_status(self, message: ControllerStatus) -> None:
        with self._changed:
            self.status = message
            self._changed.notify_all()

    def _forward(self, stream: str) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            self.on_message(stream, message)
            self._note(stream, message)

        return take

    def _note(self, stream: str, message: Any) -> None:
        """Acknowledge the time up to which every stream has arrived."""
        if stream in self._newest:
            self._newest[stream] = seconds(message.header.stamp)
            image_time = self._newest["scene"]
            if image_time > self._acknowledged and min(self._newest.values()) >= image_time:
                self._acknowledged = image_time
                self._acks.publish(StepAck(node="client", stamp=to_stamp(image_time)))

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
