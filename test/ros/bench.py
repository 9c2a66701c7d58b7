"""A bench that plays robot, cameras and clock for real nodes, in simulated time."""

from __future__ import annotations

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import rclpy
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.msg import ActionChunk, ControllerStatus, RecorderStatus, StepAck
from vla_adapter_ros.nodes.conversions import seconds, to_stamp, trajectory_arrays
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.nodes.image_messages import array_to_image
from vla_adapter_ros.nodes.topics import ACK_QOS, ACK_TOPIC
from vla_adapter_ros.simulation.lock_step import LEAVING_S
from vla_adapter_ros.simulation.trajectory_controller import TrajectoryController, TrajectoryError
from vla_adapter_ros.srv import Instruct

CONTRACT = read_contract("franka_sim")
HOME = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8])
PERIOD_S = 0.01
PATIENCE_S = 60.0
ASK_AGAIN_S = 5.0


class Bench:
    """Plays robot, cameras and clock for nodes under test; time moves only in `run`.

    The arm follows what the controller sends through the same trajectory
    controller rules that a real robot's driver has.
    """

    def __init__(self) -> None:
        # A signal ends the test run: ROS would end instead, and the test would fail with a riddle.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("bench")
        self.now = 1.0
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.acks: dict[str, float] = {}
        self.cameras = set(CONTRACT.cameras)  # those that are alive
        self.image_size: tuple[int, int] | None = (
            None  # height and width of all images, if not the contract's
        )
        self.pictures: dict[str, np.ndarray] = {}  # camera -> what it sees, if not a plain gray
        self.image_encoding: dict[str, str] = {}  # camera -> what its messages say, if not rgb8
        self.joints_alive = True
        self.joint_override: dict[str, float] = {}
        self.joint_names = ["fr3_finger_joint1", *reversed(CONTRACT.arm_joints)]  # those that are reported
        self.held: list[str] = []  # topics on which true is sent every tick, such as a deadman's
        self.path: list[np.ndarray] = []
        self._tick = 0
        self._switches: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._arm = TrajectoryController(CONTRACT.arm_joints, HOME)
        publisher = self.node.create_publisher
        self._clock = publisher(Clock, "/clock", QoSProfile(depth=10))
        self._joints = publisher(JointState, CONTRACT.joint_state_topic, QoSProfile(depth=10))
        self._pose = publisher(PoseStamped, "end_effector_pose", QoSProfile(depth=10))
        self._images = {
            name: publisher(Image, camera.topic, qos_profile_sensor_data)
            for name, camera in CONTRACT.cameras.items()
        }
        self.chunks = publisher(ActionChunk, "action_chunk", QoSProfile(depth=1))
        self.teleop = publisher(JointState, CONTRACT.teleop.topic, QoSProfile(depth=10))
        subscribe = self.node.create_subscription
        subscribe(StepAck, ACK_TOPIC, self._on_ack, ACK_QOS)
        subscribe(JointTrajectory, CONTRACT.command.topic, self._on_trajectory, QoSProfile(depth=10))
        for kind, topic in (
            (Float64MultiArray, CONTRACT.grippers[0].topic),
            (JointState, CONTRACT.action.topic),
            (ControllerStatus, "controller/status"),
            (RecorderStatus, "recorder_node/status"),
            (ActionChunk, "action_chunk"),
        ):
            subscribe(kind, topic, lambda m, t=topic: self._keep(t, m), QoSProfile(depth=100))
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def start_controller(self, graph: Any, **changes: Any) -> Any:
        """Start an armed controller node in lock step (`graph` is the fixture); returns its runner."""
        parameters = {"use_sim_time": True, "lock_step": True, "armed": True}
        runner = graph([NodeSpec("controller", parameters | changes)])
        self.wait_for("controller")
        self.run(0.1, "controller")
        return runner

    def spin_also(self, node: Any) -> None:
        """Execute the callbacks of a further node too."""
        self._executor.add_node(node)

    def close(self) -> None:
        rclpy.try_shutdown()
        self._thread.join()

    def wait_for(self, *nodes: str) -> None:
        """Block until the nodes have announced themselves and the topics are connected."""
        assert self.until(lambda: all(n in self.acks for n in nodes)), f"{nodes} did not start: {self.acks}"
        if "controller" in nodes:  # it hears chunks, as the bench itself does
            assert self.until(lambda: self.chunks.get_subscription_count() > 1), "no controller hears chunks"
        time.sleep(0.5)  # discovery of the other topics

    def until(self, condition, patience_s: float = PATIENCE_S) -> bool:
        deadline = time.monotonic() + patience_s
        with self._changed:
            while not condition():
                if time.monotonic() > deadline:
                    return False
                self._changed.wait(0.1)
        return True

    def run(self, seconds_: float, *awaited: str) -> None:
        """Let simulated time pass; `awaited` nodes must acknowledge every tick."""
        for _ in range(round(seconds_ / PERIOD_S)):
            self._pass_tick()
            due, image_due = self.now, self._image_due
            for node in awaited:
                if node == "controller" or image_due:
                    assert self._handled(node, due), f"{node} did not handle {due} s: {self.acks.get(node)}"

    def _pass_tick(self) -> None:
        """Let one tick pass: the arm goes on, and what is due is published."""
        self._tick += 1
        self.now = round(self.now + PERIOD_S, 6)
        stamp = to_stamp(self.now)
        with self._changed:
            position, _ = self._arm.sample(self.now)
        self.path.append(position)
        if self.joints_alive:
            names = self.joint_names
            values = dict(zip(CONTRACT.arm_joints, position, strict=True)) | {"fr3_finger_joint1": 0.04}
            values |= self.joint_override
            message = JointState(name=names, position=[float(values[n]) for n in names])
            message.header.stamp = stamp
            self._joints.publish(message)
            pose = PoseStamped()
            pose.header.stamp = stamp
            pose.pose.position.x, pose.pose.position.z = 0.5, 0.2
            self._pose.publish(pose)
        if self._image_due:
            self._send_images(self.now)
        for topic in self.held:
            self.switch(topic, True)
        self._clock.publish(Clock(clock=stamp))

    @property
    def _image_due(self) -> bool:
        return self._tick % 10 == 0

    def _send_images(self, time_s: float) -> None:
        """Publish an image of a time [s] from every camera that is alive."""
        for name in self.cameras:
            camera = CONTRACT.cameras[name]
            height, width = self.image_size or (camera.height, camera.width)
            plain = np.full((height, width, 3), 90, np.uint8)
            image = array_to_image(self.pictures.get(name, plain), name)
            image.header.stamp = to_stamp(time_s)
            image.encoding = self.image_encoding.get(name, image.encoding)
            self._images[name].publish(image)

    def _handled(self, node: str, due: float) -> bool:
        """Wait until the node has acknowledged a time [s].

        A new node may miss its first clock message. Of a node that lags, an image may be lost, which is best
        effort, and a frame of a silent camera waits from the late receipt of its image: time goes on for it.
        """
        for _ in range(round(PATIENCE_S / 2)):
            if self.until(lambda: self.acks.get(node, 0) >= due - 1e-6, 2.0):
                return True
            if node == "controller":
                self._clock.publish(Clock(clock=to_stamp(self.now)))
            else:
                self._send_images(due)
                self._pass_tick()
        return False

    def run_until(self, condition: Callable[[], bool]) -> bool:
        """Let time pass, no faster than the nodes look, until `condition`; False after 30 simulated s."""
        for _ in range(300):
            if condition():
                return True
            self.run(0.1)
            time.sleep(0.1)
        return condition()

    def stop_process(self, process: Any) -> None:
        """Take the processor from a node until SIGCONT; what it has sent before arrives first."""
        process.send_signal(signal.SIGSTOP)
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.005)
        time.sleep(0.2)

    def switch(self, topic: str, on: bool) -> None:
        """Publish a Bool, such as a stop or a deadman."""
        if topic not in self._switches:
            self._switches[topic] = self.node.create_publisher(Bool, topic, QoSProfile(depth=10))
            self.until(lambda: self._switches[topic].get_subscription_count() > 0, 2.0)
        self._switches[topic].publish(Bool(data=on))

    def jump(self, by_s: float) -> None:
        """Set the clock ahead or back."""
        self.now = round(self.now + by_s, 6)
        with self._changed:
            self.acks.clear()
            position, _ = self._arm.sample(self.now)
            self._arm.hold(position)

    def ask(self, text: str, *awaited: str, until: Callable[[str], bool] = lambda answer: not answer) -> str:
        """Give the policy node an instruction, until the answer is as expected; returns the newest answer.

        It is empty where the instruction was accepted. Between two tries time passes for the `awaited` nodes.
        """
        for attempt in range(50):
            if attempt:
                self.run(0.1, *awaited)
                time.sleep(0.1)  # of discovery
            answer = self.call(Instruct, "instruct", Instruct.Request(instruction=text))
            message = "" if answer.accepted else answer.message
            if until(message):
                break
        return message

    def instruct(self, text: str, *awaited: str) -> None:
        """Give the policy node an instruction; it must accept once it is ready."""
        refusal = self.ask(text, *awaited)
        assert not refusal, refusal

    def watch(self, kind: Any, topic: str) -> None:
        """Keep what comes on a topic, in `received`."""
        self.node.create_subscription(kind, topic, lambda m: self._keep(topic, m), QoSProfile(depth=100))

    def drive(self, times: np.ndarray, positions: np.ndarray, velocities: np.ndarray) -> None:
        """Move the arm past the controller, as a human's own device does; times [s] from now."""
        with self._changed:
            self._arm.accept_trajectory(
                CONTRACT.arm_joints, self.now, times, positions, velocities, now=self.now
            )

    def newest(self, topic: str) -> Any:
        assert self.until(lambda: self.received[topic]), f"nothing on {topic}"
        return self.received[topic][-1]

    def velocity_of_arm(self) -> np.ndarray:
        return np.diff(np.array(self.path), axis=0) / PERIOD_S

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(PATIENCE_S), f"no service {name}"
        # A node that does not know this client yet answers nobody; a question may be asked again.
        tries = round(PATIENCE_S / ASK_AGAIN_S) if kind in (GetState, SetParameters) else 1
        futures = []
        for _ in range(tries):
            futures.append(client.call_async(request))
            if self.until(lambda: any(future.done() for future in futures), PATIENCE_S / tries):
                break
        answers = [future.result() for future in futures if future.done()]
        assert answers, f"{name} did not answer"
        self.node.destroy_client(client)
        return answers[0]

    def send_chunk(self, rows: np.ndarray, **changes: Any) -> ActionChunk:
        """Publish arm rows (H, 7) with an open gripper as a chunk stamped now."""
        data = np.column_stack([rows, np.ones(len(rows))]) if len(rows) else np.zeros((0, 8))
        message = ActionChunk(
            session_id="bench",
            instruction_id=1,
            sequence=len(self.received["sent"]) + 1,
            action_space="joint_position",
            names=list(CONTRACT.action_names),
            rate_hz=CONTRACT.rate_hz,
            num_rows=len(data),
            num_columns=8,
            execution_horizon=4,
            data=data.ravel().tolist(),
        )
        message.header.stamp = to_stamp(self.now)
        for name, value in changes.items():
            setattr(message, name, value)
        self.received["sent"].append(message)
        seen = len(self.received["action_chunk"])
        self.chunks.publish(message)
        assert self.until(lambda: len(self.received["action_chunk"]) > seen)
        time.sleep(0.1)  # the controller gets it at about the time we do
        return message

    def _keep(self, topic: str, message: Any) -> None:
        with self._changed:
            self.received[topic].append(message)
            self._changed.notify_all()

    def _on_ack(self, message: StepAck) -> None:
        with self._changed:
            if seconds(message.stamp) == LEAVING_S:
                self.acks.pop(message.node, None)
            else:
                self.acks[message.node] = max(self.acks.get(message.node, 0.0), seconds(message.stamp))
            self._changed.notify_all()

    def _on_trajectory(self, message: JointTrajectory) -> None:
        with self._changed:
            self.received["trajectory"].append(message)
            names, start, times, positions, velocities, accelerations = trajectory_arrays(message)
            try:
                self._arm.accept_trajectory(
                    names, start, times, positions, velocities, accelerations, now=self.now
                )
            except TrajectoryError as error:  # as a driver would: the trajectory before goes on
                self.received["refused trajectory"].append(str(error))

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
