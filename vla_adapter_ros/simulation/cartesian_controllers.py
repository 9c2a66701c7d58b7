"""What a robot with a Cartesian interface does with poses and twists of its tool point.

Such robots (and MoveIt Servo) solve the inverse kinematics themselves. Here it
is a damped Jacobian step from the present posture, which keeps the posture of a
redundant arm close to where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from vla_adapter_ros.errors import CommandError
from vla_adapter_ros.simulation.forward_controllers import (
    ForwardPositionController,
    ForwardVelocityController,
    checked,
)
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics, rotation_error

MAX_POSITION_STEP_M = 0.1
MAX_ROTATION_STEP_RAD = 0.5
_DAMPING = 1e-4  # of the squared singular values: bends motion only close to singular postures
_ITERATIONS = 10


class CartesianPoseController:
    """Holds the last commanded tool pose.

    Args:
        names: The arm's joints.
        positions: Where they stand, (J,) [rad].
        kinematics: Of the same joints.
    """

    def __init__(self, names: Sequence[str], positions: np.ndarray, kinematics: Kinematics) -> None:
        self._kinematics = kinematics
        self._joints = ForwardPositionController(names, positions)

    def hold(self, positions: np.ndarray) -> None:
        """Drop the command and hold `positions` (J,)."""
        self._joints.hold(positions)

    def accept_pose(self, position: ArrayLike, quaternion: ArrayLike, *, now: float) -> None:
        """Hold a new pose from `now` [s] on.

        Args:
            position: Tool point (3,) [m], base frame.
            quaternion: x, y, z, w; any length but 0.
            now: Time [s].

        Raises:
            CommandError: not finite, no rotation, or a jump that a robot would refuse (farther
                than 0.1 m or 0.5 rad from the present set-point); the old command stays.
        """
        goal = checked(position, 3, "tool position")
        rotation = rotation_of(checked(quaternion, 4, "quaternion"))
        joints = self._joints.sample(now)[0].copy()
        for i in range(_ITERATIONS):
            here, frame = self._kinematics.forward(joints)
            away, rotation_away = goal - here, rotation_error(rotation, frame)
            if i == 0:
                _refuse_jump(away, rotation_away)
            if max(np.abs(away).max(), np.abs(rotation_away).max()) < 1e-6:
                break
            jacobian = self._kinematics.jacobian(joints)
            joints = joints + joint_motion(jacobian, np.concatenate([away, rotation_away]))
            joints = np.clip(joints, self._kinematics.low, self._kinematics.high)
        self._joints.accept_positions(joints, now=now)

    def sample(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Joint set-point and its speed at `t` [s]."""
        return self._joints.sample(t)


class CartesianTwistController:
    """Moves the tool at the last commanded twist, and stops when it is not renewed.

    Args:
        names: The arm's joints.
        positions: Where they stand, (J,) [rad].
        kinematics: Of the same joints.
        timeout_s: Age at which a command counts as 0 [s], > 0.
    """

    def __init__(
        self, names: Sequence[str], positions: np.ndarray, kinematics: Kinematics, timeout_s: float = 0.1
    ) -> None:
        self._kinematics = kinematics
        self._joints = ForwardVelocityController(names, positions, timeout_s)

    def hold(self, positions: np.ndarray) -> None:
        """Drop the command and hold `positions` (J,)."""
        self._joints.hold(positions)

    def accept_twist(self, twist: ArrayLike, *, now: float) -> None:
        """Move at a new twist from `now` [s] on.

        Args:
            twist: (6,), linear [m/s] before angular [rad/s], base frame, of the tool point.
            now: Time [s].

        Raises:
            CommandError: another number of values, or one that is not finite; the old command stays.
        """
        wanted = checked(twist, 6, "twist")
        jacobian = self._kinematics.jacobian(self._joints.sample(now)[0])
        self._joints.accept_velocities(joint_motion(jacobian, wanted), now=now)

    def sample(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Joint set-point and its speed at `t` [s]."""
        return self._joints.sample(t)


def joint_motion(jacobian: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Least joint motion (J,) for a tool motion (6,), damped near singular postures."""
    return jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + _DAMPING * np.eye(6), motion)


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of a quaternion x, y, z, w (4,).

    Raises:
        CommandError: its length is 0.
    """
    length = np.linalg.norm(quaternion)
    if length < 1e-9:
        raise CommandError(f"quaternion {quaternion.tolist()}: allowed is any length but 0")
    x, y, z, w = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _refuse_jump(away: np.ndarray, rotation_away: np.ndarray) -> None:
    distance, angle = float(np.linalg.norm(away)), float(np.linalg.norm(rotation_away))
    if distance > MAX_POSITION_STEP_M or angle > MAX_ROTATION_STEP_RAD:
        raise CommandError(
            f"pose is {distance:.3f} m and {angle:.2f} rad away: "
            f"allowed are {MAX_POSITION_STEP_M} m and {MAX_ROTATION_STEP_RAD} rad in one command"
        )
