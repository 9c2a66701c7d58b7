"""Plays a UR5e with a Robotiq 2F-85 and two cameras as their usual drivers do, and a human with a leader.

- `ur_robot_driver`: /joint_states at 500 Hz, elbow first; the topic of scaled_joint_trajectory_controller;
  robot_description.
- Gripper: its joint comes on /joint_states, too, in messages of its own at 50 Hz; a forward controller takes
  its position [rad].
- A camera above the table sends raw bgr8 images of 640x480 at 30 Hz, one at the wrist sends JPEGs.
- The leader publishes while the human leads, and is silent otherwise.
"""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from driven_robot import HUMAN_S, LATCHED, Camera, DrivenRobot, joint_state, options, play
from model_urdf import urdf_text
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.nodes.conversions import trajectory_arrays

GRIPPER = "robotiq_85_left_knuckle_joint"
LIMITS = {  # of the driver's URDF: position [rad], velocity [rad/s], effort [Nm]
    "shoulder_pan_joint": (6.283, 3.1416, 150.0),
    "shoulder_lift_joint": (6.283, 3.1416, 150.0),
    "elbow_joint": (3.1416, 3.1416, 150.0),
    "wrist_1_joint": (6.283, 3.1416, 28.0),
    "wrist_2_joint": (6.283, 3.1416, 28.0),
    "wrist_3_joint": (6.283, 3.1416, 28.0),
}
LINKS = ("base_link", "shoulder_link", "upper_arm_link", "forearm_link", "wrist_1_link", "wrist_2_link",
         "wrist_3_link")  # fmt: skip


class Ur5eDriver(DrivenRobot):
    """The UR5e."""

    def __init__(self, camera_rate_hz: float) -> None:
        super().__init__("ur_ros2_driver", "ur5e_sim", camera_rate_hz)
        self._joints = self.create_publisher(JointState, "/joint_states", 10)
        self._leader = self.create_publisher(JointState, "/gello/joint_states", 10)
        self._cameras = {
            "third_view": Camera(self, "/camera/color/image_raw", "camera_color_optical_frame", jpeg=False),
            "gripper": Camera(self, "/wrist_camera/image_raw", "wrist_camera_optical_frame", jpeg=True),
        }
        self._gripper_due = 0.0

    def listen(self) -> None:
        """Hear the controllers' topics, and publish the URDF."""
        self._order = sorted(LIMITS)
        topic = "/scaled_joint_trajectory_controller/joint_trajectory"
        self.create_subscription(JointTrajectory, topic, self._on_trajectory, 10)
        topic = "/robotiq_gripper_controller/commands"
        self.create_subscription(Float64MultiArray, topic, self._on_gripper, 10)
        text = urdf_text("ur5e", self.robot.world.model, LINKS, LIMITS, "tool0", GRIPPER, (0.0, 0.8))
        self._description = self.create_publisher(String, "/robot_description", LATCHED)
        self._description.publish(String(data=text))

    def _on_trajectory(self, message: JointTrajectory) -> None:
        names, _, *rest = trajectory_arrays(message)
        at = self.sim_time(message.header.stamp)
        self.command(lambda: self.robot.accept_trajectory(names, at, *rest))

    def _on_gripper(self, message: Float64MultiArray) -> None:
        if len(message.data) == 1:
            self.command(lambda: self.robot.accept_gripper(float(message.data[0])))

    def publish_joints(self, positions: np.ndarray, velocities: np.ndarray, stamp: Time) -> None:
        """The arm's joints, and now and then the gripper's."""
        at = {name: n for n, name in enumerate(self.robot.joint_names)}
        places = [at[name] for name in self._order]
        effort = [0.0] * len(places)
        self._joints.publish(
            joint_state(
                self._order, positions[places], stamp, velocity=velocities[places].tolist(), effort=effort
            )
        )
        if self.robot.time >= self._gripper_due:
            self._gripper_due += HUMAN_S
            self._joints.publish(joint_state([GRIPPER], [positions[at[GRIPPER]]], stamp))

    def publish_images(self, images: dict[str, np.ndarray], stamp: Time) -> None:
        """Both cameras are triggered together."""
        for name, image in images.items():
            self._cameras[name].publish(image, stamp)

    def publish_leader(self, command: np.ndarray | None, stamp: Time) -> None:
        """The leader has the arm's joints, and a trigger from 0 (released) to 1 (squeezed)."""
        if command is not None:
            values = np.append(command[:-1], 1.0 - command[-1])
            self._leader.publish(joint_state([*LIMITS, "gripper"], values, stamp))

    def gripper_value(self, *, opened: bool) -> float:
        """As the expert does: 1 is open."""
        return float(opened)


if __name__ == "__main__":
    rate = options().camera_rate
    play(lambda: Ur5eDriver(rate))
