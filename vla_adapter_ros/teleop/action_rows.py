"""Joint positions as the row that a human's device sends, in the action space of the contract."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, Frame
from vla_adapter_ros.control.rotation import Pose, rotation_vector
from vla_adapter_ros.control.spaces import pose_columns
from vla_adapter_ros.errors import KinematicsError
from vla_adapter_ros.teleop.jog import Kinematics


def action_row(
    contract: Contract,
    before: np.ndarray,
    joints: np.ndarray,
    grippers: np.ndarray,
    dt: float,
    kinematics: Kinematics | None,
) -> np.ndarray:
    """The action that asks for joint positions.

    A delta is carried out during one row's time: it is the motion of the last `dt`, continued for so long.

    Args:
        contract: The robot's contract.
        before: What was asked for before, float64 (J,) [rad or m].
        joints: What is asked for now, float64 (J,).
        grippers: Values of the grippers' dimensions, float64 (G,).
        dt: Time between both [s].
        kinematics: Of all joints, in the spaces of the tool.

    Returns:
        float64 (A,), as in the contract.

    Raises:
        KinematicsError: a space of the tool without kinematics.
    """
    action, per_row = contract.action, 1.0 / (contract.rate_hz * dt)
    if action.space is ActionSpace.JOINT_POSITION:
        arm = joints
    elif action.space is ActionSpace.JOINT_DELTA:
        arm = (joints - before) * per_row
    elif kinematics is None:
        raise KinematicsError(f"action space {action.space}: the arm's URDF is not known yet")
    elif action.space is ActionSpace.EE_POSE:
        arm = pose_columns(kinematics.pose(joints))
    else:
        arm = _way(kinematics.pose(before), kinematics.pose(joints), action.frame) * per_row
    row = np.empty(len(contract.action_names))
    scale = np.array([action.dimensions[n].scale for n in contract.arm_places])
    row[contract.arm_places] = arm / scale
    row[contract.gripper_places] = grippers
    return row


def joints_of_row(contract: Contract, row: np.ndarray) -> np.ndarray | None:
    """Joint positions (J,) that an action (A,) asks for; None in spaces that do not say them."""
    if contract.action.space is not ActionSpace.JOINT_POSITION:
        return None
    scale = np.array([contract.action.dimensions[n].scale for n in contract.arm_places])
    return np.asarray(row[contract.arm_places] * scale)


def _way(before: Pose, after: Pose, frame: Frame) -> np.ndarray:
    """The displacement (6,) from one pose to another: see `control.spaces.moved`."""
    way, turn = after.position - before.position, after.rotation @ before.rotation.T
    if frame is Frame.TOOL:
        way, turn = before.rotation.T @ way, before.rotation.T @ after.rotation
    return np.concatenate([way, rotation_vector(turn)])
