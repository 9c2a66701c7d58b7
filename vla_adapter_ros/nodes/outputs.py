"""What the controller sends to the arm: one small class per command type of the contract.

Each controller of the robot has an output of its own; all are given the one limited motion of all joints.
Every tick an output gets an `Outgoing`, and answers how many messages it sent.
All of them end safely: positions, poses and trajectories leave the arm where
it was told to be, velocities and twists end with a zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.schema import CommandGroup
from vla_adapter_ros.control import Trajectory
from vla_adapter_ros.control.kinematics import ArmKinematics
from vla_adapter_ros.control.motion import Setpoint
from vla_adapter_ros.control.rotation import rotation_vector
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.conversions import command_message, pose_message, trajectory_message, twist_message

REST_S = 0.5
"""How long feedback goes on after the end of a motion, before a last zero [s]."""
_STILL = 1e-9  # a velocity below this is none [rad/s]


@dataclass(frozen=True)
class Outgoing:
    """What the controller knows at a tick.

    Attributes:
        now: ROS time [s].
        setpoint: What the arm should do now (`MotionCore.setpoint`); None while nothing is commanded.
        trajectory: What a trajectory controller should be told, in ticks in which it is told.
        measured, measured_at: Newest joint positions (J,) and their stamp [s]; None before the first.
        released: A human drives the robot directly, so nothing may be sent, not even a zero.
    """

    now: float
    setpoint: Setpoint | None
    trajectory: Trajectory | None
    measured: np.ndarray | None
    measured_at: float
    released: bool = False


class ArmOutput:
    """Base of all outputs; `kinematics` is there once a URDF is, and only this thread uses it.

    Args:
        node: Publishes.
        contract: The robot's contract.
        feedback: Velocity per position error [1/s].
        group: The joints that the controller drives, and its topic.
    """

    kind: type
    kinematics: ArmKinematics | None = None

    def __init__(
        self, node: ManagedNode[Any], contract: Contract, feedback: float, group: CommandGroup
    ) -> None:
        self._contract, self._feedback = contract, feedback
        self._base_link = contract.kinematics.base_link if contract.kinematics is not None else ""
        self._names = contract.names_in_commands(group)
        self._places = [contract.arm_joints.index(joint) for joint in group.joints]
        factors = contract.joint_factors
        self._factors = np.array([factors.get(joint, 1.0) for joint in group.joints])
        self._publisher = node.publish_on(self.kind, group.topic, QoSProfile(depth=10))

    def send(self, out: Outgoing) -> int:
        """Publish the command of this tick; returns the number of messages."""
        raise NotImplementedError

    def end(self, now: float) -> int:
        """Leave the arm safe, since no more will be sent; returns the number of messages."""
        return 0

    def flush(self) -> None:
        """Wait until the driver has what was sent."""
        self._publisher.flush()

    def _in_messages(self, values: np.ndarray) -> np.ndarray:
        """Positions, or their derivatives, of all joints (..., J) as those of the group in its units."""
        sent: np.ndarray = values[..., self._places] / self._factors
        return sent

    def _publish(self, message: Any) -> int:
        self._publisher.publish(message)
        return 1


class TrajectoryOutput(ArmOutput):
    """Timed points with positions, velocities and accelerations, to a joint trajectory controller."""

    kind = JointTrajectory

    def send(self, out: Outgoing) -> int:
        """Publish the committed trajectory, where this tick has a new one."""
        if out.trajectory is None or out.released:
            return 0
        whole, accelerations = out.trajectory, out.trajectory.accelerations
        part = replace(
            whole,
            joints=self._names,
            positions=self._in_messages(whole.positions),
            velocities=self._in_messages(whole.velocities),
            accelerations=None if accelerations is None else self._in_messages(accelerations),
        )
        return self._publish(trajectory_message(part, out.now))


class PositionOutput(ArmOutput):
    """The positions of the setpoint, in the order of the group's joints, to a forward position controller."""

    kind = Float64MultiArray

    def send(self, out: Outgoing) -> int:
        """Publish the positions of the setpoint."""
        if out.setpoint is None or out.released:
            return 0
        return self._publish(Float64MultiArray(data=self._in_messages(out.setpoint.position).tolist()))


class JointStateOutput(ArmOutput):
    """As positions, with the joints' names, to drivers that take joint states.

    Velocities and efforts are left out: some drivers take them for settings.
    """

    kind = JointState

    def send(self, out: Outgoing) -> int:
        """Publish the positions of the setpoint, by name."""
        if out.setpoint is None or out.released:
            return 0
        return self._publish(command_message(self._in_messages(out.setpoint.position), self._names, out.now))


class PoseOutput(ArmOutput):
    """The tool pose of the setpoint, in the contract's base link, to a Cartesian controller."""

    kind = PoseStamped

    def send(self, out: Outgoing) -> int:
        """Publish the tool pose of the setpoint; nothing before the URDF is there."""
        if out.setpoint is None or out.released or self.kinematics is None:
            return 0
        pose = self.kinematics.pose(out.setpoint.position)
        return self._publish(pose_message(pose, self._base_link, out.now))


class VelocityOutput(ArmOutput):
    """The velocities of the setpoint, to a forward velocity controller.

    A velocity alone would let the arm drift off, so `feedback` times the
    position error (setpoint minus measured, both at the stamp of the measurement)
    is added, and the sum is kept within the velocity limits. What is sent is
    the velocity of the middle of the tick.
    """

    kind = Float64MultiArray

    def __init__(
        self, node: ManagedNode[Any], contract: Contract, feedback: float, group: CommandGroup
    ) -> None:
        super().__init__(node, contract, feedback, group)
        self._limit = np.array([contract.limits[joint].velocity for joint in contract.arm_joints])
        self._sending = False
        self._moved_at = -np.inf
        self._last = 0.0  # time of the tick before, for the middle of this one

    def send(self, out: Outgoing) -> int:
        """Publish the velocity while the arm moves, and one zero when it rests."""
        step, self._last = min(out.now - self._last, 0.02), out.now
        if out.released:
            self._sending = False
            return 0
        if out.setpoint is None:
            return self.end(out.now)
        if np.abs(out.setpoint.velocity).max() > _STILL:
            self._moved_at = out.now
        if not self._moved_at <= out.now <= self._moved_at + REST_S:
            return self.end(out.now)
        velocity = out.setpoint.velocity + out.setpoint.acceleration * step / 2
        message = self._message(out, out.setpoint, velocity)
        self._sending = self._sending or message is not None
        return 0 if message is None else self._publish(message)

    def end(self, now: float) -> int:
        """Publish a zero, unless one was sent last."""
        if not self._sending:
            return 0
        self._sending = False
        return self._publish(self._zero(now))

    def _message(self, out: Outgoing, setpoint: Setpoint, velocity: np.ndarray) -> Any | None:
        if out.measured is not None:
            velocity = velocity + self._feedback * (_setpoint_at_measurement(out, setpoint) - out.measured)
        velocity = np.clip(velocity, -self._limit, self._limit)
        return Float64MultiArray(data=self._in_messages(velocity).tolist())

    def _zero(self, now: float) -> Any:
        return Float64MultiArray(data=[0.0] * len(self._places))


class TwistOutput(VelocityOutput):
    """The setpoint's tool twist, in the contract's base link, to a Cartesian controller or MoveIt Servo.

    Feedback is as for velocities, on the tool's pose: a redundant arm may take another posture.
    """

    kind = TwistStamped

    def _message(self, out: Outgoing, setpoint: Setpoint, velocity: np.ndarray) -> Any | None:
        if self.kinematics is None:
            return None
        velocity = np.clip(velocity, -self._limit, self._limit)
        twist = self.kinematics.jacobian(setpoint.position) @ velocity
        if out.measured is not None:
            wanted, here = (
                self.kinematics.pose(_setpoint_at_measurement(out, setpoint)),
                self.kinematics.pose(out.measured),
            )
            twist[:3] += self._feedback * (wanted.position - here.position)
            twist[3:] += self._feedback * rotation_vector(wanted.rotation @ here.rotation.T)
        return twist_message(twist, self._base_link, out.now)

    def _zero(self, now: float) -> Any:
        return twist_message(np.zeros(6), self._base_link, now)


OUTPUTS: dict[str, type[ArmOutput]] = {
    "joint_trajectory": TrajectoryOutput,
    "forward_position": PositionOutput,
    "forward_velocity": VelocityOutput,
    "joint_state": JointStateOutput,
    "cartesian_pose": PoseOutput,
    "cartesian_twist": TwistOutput,
}


def arm_outputs(node: ManagedNode[Any], contract: Contract, feedback: float) -> list[ArmOutput]:
    """One output per controller of the arm, as `contract.command` names them.

    Args:
        node: Publishes.
        contract: The robot's contract.
        feedback: Velocity per position error, for velocities and twists [1/s].
    """
    kind = OUTPUTS[contract.command.type]
    return [kind(node, contract, feedback, group) for group in contract.command_groups]


def _setpoint_at_measurement(out: Outgoing, setpoint: Setpoint) -> np.ndarray:
    """Positions (J,) of the setpoint at the time at which the arm was measured."""
    positions: np.ndarray = setpoint.position - setpoint.velocity * (out.now - out.measured_at)
    return positions
