"""A client of the running graph, as a user's own script would be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.msg import ActionChunk, ControllerStatus, SceneState, StepAck
from vla_adapter_ros.nodes.conversions import seconds, to_stamp
from vla_adapter_ros.nodes.instruct_client import InstructClient
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.nodes.topics import ACK_QOS, ACK_TOPIC, CHUNK_TOPIC, SCENE_TOPIC, STATUS_TOPIC
from vla_adapter_ros.srv import Demonstrate, ResetScene, StartEpisode

SETTLING_S = 0.3  # after a reset; several images show the new scene by then
READY_WITHIN_S = 20.0  # wall time that policy and controller get to be ready for an instruction
PATIENCE_S = 60.0  # longest wait for an answer, wall time
REPEAT_AFTER_S = {"simulator/reset": 10.0}  # requests that may be carried out twice
SERVICES = {
    "simulator/reset": ResetScene,
    "simulator/demonstrate": Demonstrate,
    "recorder_node/start_episode": StartEpisode,
    "recorder_node/stop_episode": Trigger,
    "recorder_node/discard_episode": Trigger,
}


class GraphClient(RosClient):
    """Calls the graph's services and watches its topics.

    In lock step it acknowledges every image time, as node `client`, so that
    simulated time does not run ahead of what was seen here.

    Args:
        contract: Contract of the running robot.
        check_alive: Called while waiting; raises when the graph has died.
        watch_images: Also receive images, chunks and joint states (see `on_message`).
        watch_joints: The same without images.
    """

    def __init__(
        self,
        contract: Contract,
        check_alive: Callable[[], None],
        watch_images: bool = False,
        watch_joints: bool = False,
    ) -> None:
        super().__init__("vla_adapter_client", check_alive=check_alive)
        self._changed = threading.Condition()
        self.scene: SceneState | None = None
        self.status: ControllerStatus | None = None
        self.on_message: Callable[[str, Any], None] = lambda stream, message: None
        cameras = contract.cameras if watch_images else {}
        watch_joints = watch_joints or watch_images
        streams = ["scene", *cameras, *(["joints"] if watch_joints else [])]
        self._newest = dict.fromkeys(streams, 0.0)  # stream -> newest stamp, of what is waited for
        self._acknowledged = 0.0
        self._acks = self.node.create_publisher(StepAck, ACK_TOPIC, ACK_QOS)
        self.subscribe(SceneState, SCENE_TOPIC, self._on_scene, QoSProfile(depth=100))
        self.subscribe(ControllerStatus, STATUS_TOPIC, self._on_status, QoSProfile(depth=50))
        if watch_joints:
            images = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
            joints = QoSProfile(depth=100)
            for name, camera in cameras.items():
                self.subscribe(Image, camera.topic, self._forward(name), images)
            self.subscribe(ActionChunk, CHUNK_TOPIC, self._forward("chunk"), QoSProfile(depth=20))
            self.subscribe(JointState, contract.joint_state_topic, self._forward("joints"), joints)
        self._services = {name: self.service(kind, name) for name, kind in SERVICES.items()}
        self._policy = InstructClient(self)
        self._acks.publish(StepAck(node="client"))  # after the subscriptions, which must miss nothing

    @property
    def now(self) -> float:
        """Stamp of the newest scene [s]; 0 before the first."""
        return seconds(self.scene.header.stamp) if self.scene is not None else 0.0

    @property
    def lifted(self) -> str:
        """Name of the object that is lifted; empty: none is, or no scene was seen yet."""
        return str(self.scene.lifted) if self.scene is not None else ""

    def call(self, name: str, request: Any) -> Any:
        """Call one of `SERVICES` and wait for its answer.

        Raises:
            NoAnswerError: there was none within PATIENCE_S of wall time.
        """
        return self._services[name].call(request, PATIENCE_S, repeat_after_s=REPEAT_AFTER_S.get(name))

    def instruct(self, text: str) -> None:
        """Give an instruction; asks again while policy or controller refuse it, and says what they wait for.

        Raises:
            NoAnswerError: no answer came, and the policy does not follow the instruction.
            ServiceError: the instruction was refused for READY_WITHIN_S.
        """
        begun, waiting_said = time.monotonic(), False
        while True:
            answer = self._policy.give(text, found_within_s=PATIENCE_S)
            if answer.accepted:
                return
            waited = time.monotonic() - begun
            if waited > READY_WITHIN_S:
                raise ServiceError(f"the policy refused the instruction: {answer.message}")
            if waited > 1.0 and not waiting_said:
                print(f"waiting: {answer.message}", flush=True)
                waiting_said = True
            time.sleep(0.1)

    def reset(self, seed: int, objects: tuple[str, ...] = ()) -> list[str]:
        """Put up a scene and wait until it is seen. Returns the objects on the table."""
        answer = self.call("simulator/reset", ResetScene.Request(seed=seed, objects=list(objects)))
        if not answer.success:
            raise ServiceError(f"the simulator refused the reset: {answer.message}")
        shown = seconds(answer.stamp) + SETTLING_S
        if not self.wait_until(lambda: self.now >= shown):
            raise ServiceError(f"no image of the new scene: simulated time stands still at {self.now:.2f} s")
        return list(answer.objects)

    def wait_until(self, condition: Callable[[], bool], patience_s: float = 120.0) -> bool:
        """Wait for a condition on what was received; False after `patience_s` of wall time."""
        deadline = time.monotonic() + patience_s
        with self._changed:
            while not condition():
                if time.monotonic() > deadline:
                    return False
                self._changed.wait(0.2)
                self.check_alive()
        return True

    def sleep(self, duration_s: float) -> None:
        """Let simulated time pass.

        Raises:
            ServiceError: time stands still.
        """
        self.wait_until(lambda: self.scene is not None)
        end = self.now + duration_s
        if not self.wait_until(lambda: self.now >= end):
            raise ServiceError(f"simulated time stands still at {self.now:.2f} s")

    def _on_scene(self, message: SceneState) -> None:
        with self._changed:
            self.scene = message
            self.on_message("scene", message)
            self._changed.notify_all()
        self._acknowledge("scene", message)

    def _on_status(self, message: ControllerStatus) -> None:
        with self._changed:
            self.status = message
            self._changed.notify_all()

    def _forward(self, stream: str) -> Callable[[Any], None]:
        def forward(message: Any) -> None:
            self.on_message(stream, message)
            self._acknowledge(stream, message)

        return forward

    def _acknowledge(self, stream: str, message: Any) -> None:
        """Acknowledge the time up to which every stream has arrived."""
        if stream in self._newest:
            self._newest[stream] = seconds(message.header.stamp)
            image_time = self._newest["scene"]
            if image_time > self._acknowledged and min(self._newest.values()) >= image_time:
                self._acknowledged = image_time
                self._acks.publish(StepAck(node="client", stamp=to_stamp(image_time)))
