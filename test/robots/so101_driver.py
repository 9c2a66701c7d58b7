"""Plays an SO-101 leader and follower and two cameras, as nodes around LeRobot's drivers do.

- /follower/joint_states and /leader/joint_states at 50 Hz; the leader streams always, and rests where the
  human has left it. `--units degrees`: as LeRobot counts, degrees for the arm and 0 to 100 for the gripper;
  default: rad, as ROS asks for.
- /follower/forward_position_controller/commands takes six positions in the same units.
- /static_camera/image_raw sends raw bgr8 images of 640x480 at 30 Hz, the camera at the wrist JPEGs.
"""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from driven_robot import HUMAN_S, LATCHED, Camera, DrivenRobot, joint_state, options, play
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String

from vla_adapter_ros.simulation.meshes import robot_description

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
CLOSED, OPEN = -0.17, 1.74  # [rad], 0 and 100 of LeRobot's gripper


class So101Driver(DrivenRobot):
    """Leader, follower and cameras; `degrees`: LeRobot's units instead of rad."""

    def __init__(self, camera_rate_hz: float, *, degrees: bool) -> None:
        super().__init__("so101_follower", "so101_sim", camera_rate_hz)
        self._degrees = degrees
        self._joints = self.create_publisher(JointState, "/follower/joint_states", 10)
        self._leader = self.create_publisher(JointState, "/leader/joint_states", 10)
        self._cameras = {
            "third_view": Camera(self, "/static_camera/image_raw", "static_camera_optical", jpeg=False),
            "gripper": Camera(self, "/wrist_camera/image_raw", "wrist_camera_optical", jpeg=True),
        }
        self._held: np.ndarray | None = None  # where the leader was left
        self._due = 0.0

    def listen(self) -> None:
        """Hear the controller's topic, and publish the URDF."""
        topic = "/follower/forward_position_controller/commands"
        self.create_subscription(Float64MultiArray, topic, self._on_command, 10)
        self._description = self.create_publisher(String, "/robot_description", LATCHED)
        self._description.publish(String(data=robot_description("so101")))

    def _on_command(self, message: Float64MultiArray) -> None:
        values = np.array(message.data)
        if len(values) == len(JOINTS):
            self.command(lambda: self.robot.accept_forward(self._from_units(values)))

    def _to_units(self, radians: np.ndarray) -> np.ndarray:
        if not self._degrees:
            return radians
        return np.append(np.degrees(radians[:-1]), 100.0 * (radians[-1] - CLOSED) / (OPEN - CLOSED))

    def _from_units(self, values: np.ndarray) -> np.ndarray:
        if not self._degrees:
            return values
        return np.append(np.radians(values[:-1]), CLOSED + values[-1] / 100.0 * (OPEN - CLOSED))

    def publish_joints(self, positions: np.ndarray, velocities: np.ndarray, stamp: Time) -> None:
        """The follower's joints, at the rate of its servos' bus."""
        if self.robot.time >= self._due:
            self._due += HUMAN_S
            self._joints.publish(joint_state(JOINTS, self._to_units(positions), stamp))

    def publish_images(self, images: dict[str, np.ndarray], stamp: Time) -> None:
        """Both cameras."""
        for name, image in images.items():
            self._cameras[name].publish(image, stamp)

    def publish_leader(self, command: np.ndarray | None, stamp: Time) -> None:
        """The leader's joints: where the hand holds it, or has left it."""
        if command is not None:
            self._held = command
        if self._held is None:
            self._held = np.append(self._start, OPEN - 0.5)
        noise = self._random.normal(0.0, 0.001, len(self._held))
        self._leader.publish(joint_state(JOINTS, self._to_units(self._held + noise), stamp))

    def gripper_value(self, *, opened: bool) -> float:
        """As the expert does: the joint's position."""
        return 1.2 if opened else -0.1


if __name__ == "__main__":
    given = options(units={"choices": ("radians", "degrees"), "default": "radians"})
    play(lambda: So101Driver(given.camera_rate, degrees=given.units == "degrees"))
