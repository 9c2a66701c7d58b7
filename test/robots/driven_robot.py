"""A simulated arm behind the topics of a real robot's drivers, with a scripted human who can demonstrate.

The base of the scripts beside it. What they publish and hear has no names of this package.
"""

from __future__ import annotations

import argparse
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.image_messages import array_to_image, camera_info
from vla_adapter_ros.simulation.expert import PickExpert
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.scene import sample_scene

STEP_S = 0.002  # joint states come at 500 Hz
HUMAN_S = 0.02
JITTER_S = 0.0003
DRAWN = 320, 240  # images are drawn in this size and enlarged: on two cores there is no time for more
OBJECT = "red"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RETURN_SPEED = 0.5  # rad/s
HOLD_S = 0.6  # the human holds the cube up for so long
LIMIT_S = 25.0
LATE_S = 0.1  # no real driver stamps its joints later than that


class DrivenRobot(Node):
    """Physics in real time by the system clock; children publish and hear what their drivers would.

    Args:
        name: Of the node.
        robot: Shipped contract of the simulated robot, for its joints and meshes alone.
        camera_rate_hz: Images per second and camera; 30 as real ones, less where the computer is slow [Hz].
        seed: Of the first scene.
    """

    def __init__(self, name: str, robot: str, camera_rate_hz: float = 30.0, seed: int = 0) -> None:
        super().__init__(name)
        self._camera_s = 1.0 / camera_rate_hz
        contract = read_contract(robot)
        cameras = {
            n: dataclasses.replace(c, width=DRAWN[0], height=DRAWN[1]) for n, c in contract.cameras.items()
        }
        self._contract = dataclasses.replace(contract, cameras=cameras)
        self._seed = seed
        self._random = np.random.default_rng(seed)
        self.lock = threading.Lock()
        self._state = self.create_publisher(String, "/operator/state", LATCHED)
        self._script: Iterable[None] | None = None
        self.create_service(
            Trigger, "/operator/prepare", lambda _, r: self._begin(r, self._prepare, "preparing")
        )
        self.create_service(
            Trigger, "/operator/demonstrate", lambda _, r: self._begin(r, self._demonstrate, "demonstrating")
        )

    # What children say

    def publish_joints(self, positions: np.ndarray, velocities: np.ndarray, stamp: Time) -> None:
        """Publish measured joints in the simulation's order, every STEP_S."""
        raise NotImplementedError

    def publish_images(self, images: dict[str, np.ndarray], stamp: Time) -> None:
        """Publish what the cameras see, uint8 (H, W, 3) RGB by camera, time after time."""
        raise NotImplementedError

    def publish_leader(self, command: np.ndarray | None, stamp: Time) -> None:
        """Publish where the human holds the leader, every HUMAN_S; None: nobody touches it."""
        raise NotImplementedError

    def gripper_value(self, *, opened: bool) -> float:
        """What the leader says of an open or a closed gripper."""
        raise NotImplementedError

    # Simulation

    def sim_time(self, stamp: Time) -> float:
        """Time of the simulation for a stamp of the system clock [s]; 0 stays 0: now."""
        seconds = stamp.sec + 1e-9 * stamp.nanosec
        return seconds - self._epoch if seconds else 0.0

    def command(self, act: Callable[[], None]) -> None:
        """Carry out a command; what the driver refuses is logged, as drivers do."""
        try:
            with self.lock:
                act()
        except VlaAdapterError as error:
            self.get_logger().error(f"refused: {error}")

    def run(self) -> None:
        """Simulate until ROS ends, in the thread that draws."""
        self.robot = SimulatedRobot(self._contract)
        scene = sample_scene(self._seed, (OBJECT,), self.robot.model)
        self.robot.reset_scene(scene)
        self._start = np.array(scene.joints)
        self._epoch = time.time()
        spinning = threading.Thread(target=rclpy.spin, args=(self,), daemon=True)
        spinning.start()
        self.listen()
        self._say("resting")
        due = {"human": 0.0, "camera": 0.0}
        while rclpy.ok():
            behind = time.time() - self._epoch - self.robot.time
            if behind < STEP_S:
                time.sleep(STEP_S - behind)
                continue
            if behind > LATE_S:  # the computer was busy: the robot's time goes on from here
                self._epoch += behind
            with self.lock:
                self.robot.advance(STEP_S)
                self.publish_joints(
                    self.robot.joint_positions(), self.robot.joint_velocities(), self._stamp()
                )
                if self.robot.time >= due["human"]:
                    due["human"] += HUMAN_S
                    self._move_human()
                if self.robot.time >= due["camera"]:
                    due["camera"] = max(due["camera"] + self._camera_s, self.robot.time - self._camera_s)
                    stamp = self._stamp()
                    self.publish_images({name: self._draw(name) for name in self._contract.cameras}, stamp)

    def listen(self) -> None:
        """Subscribe to commands, once the robot is there."""
        raise NotImplementedError

    def _stamp(self) -> Time:
        return to_stamp(self._epoch + self.robot.time + abs(self._random.normal(0.0, JITTER_S)))

    def _draw(self, camera: str) -> np.ndarray:
        return cv2.resize(self.robot.render(camera), (640, 480), interpolation=cv2.INTER_NEAREST)

    # The human

    def _begin(
        self, answer: Trigger.Response, script: Callable[[], Iterable[None]], name: str
    ) -> Trigger.Response:
        with self.lock:
            answer.success = self._script is None
            answer.message = name if answer.success else "busy: wait until /operator/state is resting"
            if answer.success:
                self._script = iter(script())
                self._say(name)
        return answer

    def _say(self, state: str) -> None:
        self._state.publish(String(data=state))

    def _move_human(self) -> None:
        if self._script is not None:
            try:
                if next(self._script, "ended") == "ended":
                    self._script = None
            except VlaAdapterError as error:
                self.get_logger().error(f"the human gives up: {error}")
                self._script = None
            if self._script is None:
                self._say("resting")
        if self._script is None:
            self.publish_leader(None, self._stamp())

    def _arm(self) -> np.ndarray:
        return self.robot.joint_positions()[: len(self._start)].copy()

    def _lead(self, joints: np.ndarray, gripper: float) -> None:
        self.publish_leader(np.append(joints, gripper), self._stamp())

    def _prepare(self) -> Iterable[None]:
        """Lead the arm back with an open gripper, and lay the cube somewhere else."""
        target, opened = self._arm(), self.gripper_value(opened=True)
        begun = self.robot.time
        while np.abs(self._arm() - self._start).max() > 0.02 and self.robot.time - begun < LIMIT_S:
            way = self._start - target
            target = target + way * min(1.0, RETURN_SPEED * HUMAN_S / max(np.abs(way).max(), 1e-9))
            self._lead(target, opened)
            yield
        if np.abs(self._arm() - self._start).max() > 0.05:
            self.get_logger().error("the arm did not follow the leader")
            return
        self._seed += 1
        scene = sample_scene(self._seed, (OBJECT,), self.robot.model)
        here = dataclasses.replace(scene, joints=tuple(self._arm().tolist()))
        self.robot.reset_scene(here)

    def _demonstrate(self) -> Iterable[None]:
        """Lift the cube by leading, hold it up, and let go of the leader."""
        expert = PickExpert(self.robot, OBJECT)
        begun, done = self.robot.time, None
        command = expert.command(begun)
        due = begun
        while done is None or self.robot.time - done < HOLD_S:
            if self.robot.time >= due:
                due += 0.1
                before, command = command, expert.command(self.robot.time)
            part = 1.0 - max(due - self.robot.time, 0.0) / 0.1  # the hand moves evenly
            self.publish_leader(before + part * (command - before), self._stamp())
            if expert.done and done is None:
                done = self.robot.time
            if self.robot.time - begun > LIMIT_S:
                self.get_logger().error("the arm did not follow the leader, or the cube was lost")
                return
            yield


def options(**more: dict) -> argparse.Namespace:
    """What the command line says: --camera-rate, and `more`, a flag's name -> its settings."""
    parser = argparse.ArgumentParser(description="Play a robot with two cameras and a leader")
    parser.add_argument("--camera-rate", type=float, default=30.0, help="images per second; default: 30")
    for flag, settings in more.items():
        parser.add_argument(f"--{flag}", **settings)
    return parser.parse_args()


def play(make: Callable[[], DrivenRobot]) -> None:
    """Play a robot until Ctrl-C."""
    rclpy.init()
    try:
        make().run()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


class Camera:
    """One camera's topics.

    Args:
        node: Publishes.
        topic: Of the images, without `/compressed`.
        frame: Its optical frame.
        jpeg: Whether it sends JPEGs, and not bgr8.
    """

    def __init__(self, node: Node, topic: str, frame: str, *, jpeg: bool) -> None:
        self._frame, self._jpeg = frame, jpeg
        kind, name = (CompressedImage, f"{topic}/compressed") if jpeg else (Image, topic)
        self._images = node.create_publisher(kind, name, qos_profile_sensor_data)
        info = topic.rsplit("/", 1)[0] + "/camera_info"
        self._info = node.create_publisher(CameraInfo, info, qos_profile_sensor_data)

    def publish(self, image: np.ndarray, stamp: Time) -> None:
        """Publish an image, uint8 (H, W, 3) RGB, and the calibration."""
        raw = array_to_image(image[..., ::-1], self._frame)
        raw.encoding, raw.header.stamp = "bgr8", stamp
        message = raw
        if self._jpeg:
            _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            message = CompressedImage(
                header=raw.header, format="bgr8; jpeg compressed bgr8", data=data.tobytes()
            )
        self._images.publish(message)
        self._info.publish(camera_info(raw, np.radians(45.0)))


def joint_state(
    names: Iterable[str], positions: Iterable[float], stamp: Time, **more: list[float]
) -> JointState:
    """A JointState message; `more` are its other fields."""
    message = JointState(name=list(names), position=[float(p) for p in positions], **more)
    message.header.stamp = stamp
    return message
