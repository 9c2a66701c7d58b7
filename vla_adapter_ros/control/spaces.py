"""Action spaces: rows of any of them become absolute joint rows, on which all motion is planned.

Rotations and grippers are so never mixed by arithmetic on columns, and joint
limits hold for every space. docs/reference/action_spaces.md says what the columns mean.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace, DeltaReference, Frame
from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.kinematics import ArmKinematics, IkResult
from vla_adapter_ros.control.rotation import Pose, rotation_matrix, rotation_vector
from vla_adapter_ros.errors import ChunkError, KinematicsError

UNREACHABLE_M = 0.1
"""A row whose pose lies farther than this from the nearest posture is refused [m]."""
UNREACHABLE_RAD = 0.5
"""The same for its rotation [rad]."""


def absolute_chunk(
    chunk: Chunk, contract: Contract, start: np.ndarray, kinematics: ArmKinematics | None
) -> Chunk:
    """The chunk as absolute joint rows.

    Rows of joint_position and ee_pose stay at their times. A delta row k is the
    way during [stamp + k / rate, stamp + (k + 1) / rate], so H rows become H + 1:
    row 0 is `start`. Gripper columns are never added up: row k keeps their
    values, a last row that was added repeats the one before.

    From row to row no joint is asked to go faster than its limit: where inverse
    kinematics would want that (near singular postures), the nearest posture
    within reach is taken, and later rows catch up.

    Args:
        chunk: Finite rows in the contract's action space, columns in any order.
        contract: The robot's contract.
        start: What the first delta is added to, and where inverse kinematics
            begin, at the chunk's stamp: float64 (J,), order of `contract.arm_joints`.
        kinematics: Needed in the ee spaces.

    Returns:
        A chunk in the space joint_position with the columns
        `contract.arm_joints` and then the grippers' dimensions. Rows may lie
        outside the limits in joint spaces; in ee spaces they do not.

    Raises:
        ChunkError: columns are missing, or a pose lies farther than
            `UNREACHABLE_M` or `UNREACHABLE_RAD` from what the arm can reach.
        KinematicsError: an ee space without kinematics.
    """
    space = contract.action.space
    arm, grippers = _physical(chunk, contract)
    start = np.asarray(start, dtype=np.float64)
    if not len(arm):
        arm = np.zeros((0, len(contract.arm_joints)))
    elif space is ActionSpace.JOINT_DELTA:
        arm = _added_up(start, arm, contract.action.delta_reference)
    elif space.is_cartesian:
        arm = _joint_rows(arm, chunk.rate_hz, contract, start, _needed(kinematics, contract))
    grippers = grippers[np.minimum(np.arange(len(arm)), len(grippers) - 1)]
    return dataclasses.replace(
        chunk,
        rows=np.column_stack([arm, grippers]),
        names=(*contract.arm_joints, *(gripper.dimension for gripper in contract.grippers)),
        space=ActionSpace.JOINT_POSITION,
    )


def resting_row(
    contract: Contract, joints: np.ndarray, grippers: ArrayLike, kinematics: ArmKinematics | None
) -> np.ndarray:
    """The action that means "stay here": float64 (A,), in the contract's columns.

    Args:
        contract: The robot's contract.
        joints: Where the arm is, float64 (J,).
        grippers: Values of the grippers' columns, float64 (G,).
        kinematics: Needed in ee_pose.

    Raises:
        KinematicsError: ee_pose without kinematics.
    """
    space = contract.action.space
    if space is ActionSpace.JOINT_POSITION:
        arm = np.asarray(joints, dtype=np.float64)
    elif space is ActionSpace.EE_POSE:
        arm = pose_columns(_needed(kinematics, contract).pose(joints))
    else:
        arm = np.zeros(len(contract.arm_columns))
    row = np.empty(len(contract.action_names))
    for name, value in zip(contract.arm_columns, arm, strict=True):
        column = contract.action_names.index(name)
        row[column] = value / contract.action.dimensions[column].scale
    row[contract.gripper_places] = grippers
    return row


def pose_columns(pose: Pose) -> np.ndarray:
    """A pose as x, y, z [m], rx, ry, rz [rad] (6,): position and rotation vector."""
    return np.concatenate([pose.position, rotation_vector(pose.rotation)])


def pose_of_columns(columns: np.ndarray) -> Pose:
    """The pose of x, y, z [m], rx, ry, rz [rad] (6,)."""
    return Pose(np.array(columns[:3], dtype=np.float64), rotation_matrix(columns[3:6]))


def moved(pose: Pose, delta: np.ndarray, frame: Frame) -> Pose:
    """The pose after a delta.

    Args:
        pose: Pose before.
        delta: Translation [m] and rotation vector [rad], (6,).
        frame: Whose axes both are along: `base`, or `tool` as it is before. The
            tool turns about its own origin in either.
    """
    turn = rotation_matrix(delta[3:6])
    if frame is Frame.TOOL:
        return Pose(pose.position + pose.rotation @ delta[:3], pose.rotation @ turn)
    return Pose(pose.position + delta[:3], turn @ pose.rotation)


def target_poses(rows: np.ndarray, contract: Contract, start: Pose) -> list[Pose]:
    """Poses that rows of an ee space ask for: H for ee_pose, H + 1 with `start` first for ee_delta.

    Args:
        rows: Arm columns times their scale, float64 (H, 6) [m, rad].
        contract: Space, frame and reference of the deltas.
        start: Pose of the tool at the chunk's stamp.
    """
    action = contract.action
    if action.space is ActionSpace.EE_POSE:
        return [pose_of_columns(row) for row in rows]
    poses = [start]
    for row in rows:
        before = start if action.delta_reference is DeltaReference.CHUNK_START else poses[-1]
        poses.append(moved(before, row, action.frame))
    return poses


def _physical(chunk: Chunk, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Arm columns times their scale (H, .), and the grippers' as they are (H, G)."""
    missing = [name for name in contract.action_names if name not in chunk.names]
    if missing:
        raise ChunkError(f"columns {chunk.names}: {missing} missing, allowed are {contract.action_names}")
    scale = {d.name: d.scale for d in contract.action.dimensions}
    arm = chunk.rows[:, [chunk.names.index(name) for name in contract.arm_columns]]
    arm = arm * np.array([scale[name] for name in contract.arm_columns])
    return arm, chunk.rows[:, [chunk.names.index(gripper.dimension) for gripper in contract.grippers]]


def _added_up(start: np.ndarray, deltas: np.ndarray, reference: str) -> np.ndarray:
    displacements = deltas if reference is DeltaReference.CHUNK_START else np.cumsum(deltas, axis=0)
    return start + np.vstack([np.zeros_like(start), displacements])


def _joint_rows(
    rows: np.ndarray, rate_hz: float, contract: Contract, start: np.ndarray, kinematics: ArmKinematics
) -> np.ndarray:
    limits = [contract.limits[joint] for joint in contract.arm_joints]
    low = np.maximum([limit.position[0] for limit in limits], kinematics.low)
    high = np.minimum([limit.position[1] for limit in limits], kinematics.high)
    row_step = np.minimum([limit.velocity for limit in limits], kinematics.velocity) / rate_hz
    poses = target_poses(rows, contract, kinematics.pose(start))
    is_delta = contract.action.space is ActionSpace.EE_DELTA
    joints = [start] if is_delta else []
    for k in range(len(joints), len(poses)):
        before = np.clip(joints[-1] if joints else start, low, high)
        room = (
            row_step if k > 0 else np.inf
        )  # the first pose may be far: whether it is too far, the gate says
        reached = kinematics.solve_ik(
            poses[k], before, np.maximum(low, before - room), np.minimum(high, before + room)
        )
        _refuse_unreachable(k - is_delta, reached, kinematics, poses[k], low, high)
        joints.append(reached.joints)
    return np.array(joints)


def _refuse_unreachable(
    row: int, reached: IkResult, kinematics: ArmKinematics, target: Pose, low: np.ndarray, high: np.ndarray
) -> None:
    def far(result: IkResult) -> bool:
        return result.position_error > UNREACHABLE_M or result.rotation_error > UNREACHABLE_RAD

    if not far(reached):
        return
    nearest = kinematics.solve_ik(target, reached.joints, low, high)  # however long it takes to get there
    if far(nearest):
        raise ChunkError(
            f"row {row}: the tool cannot reach {np.round(pose_columns(target), 3).tolist()} m, rad; "
            f"the nearest posture is {nearest.position_error:.3f} m and {nearest.rotation_error:.2f} rad "
            f"away, allowed are {UNREACHABLE_M} m and {UNREACHABLE_RAD} rad"
        )


def _needed(kinematics: ArmKinematics | None, contract: Contract) -> ArmKinematics:
    if kinematics is None:
        raise KinematicsError(
            f"action space {contract.action.space} needs the arm's kinematics: the contract's entry "
            "'kinematics', and its URDF"
        )
    return kinematics
