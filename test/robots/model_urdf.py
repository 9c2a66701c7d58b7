"""The chain of a MuJoCo arm as a URDF, as its maker's driver would publish it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np


def urdf_text(
    name: str,
    model: mujoco.MjModel,
    links: Sequence[str],
    limits: Mapping[str, tuple[float, float, float]],
    tool: str,
    gripper: str,
    stroke: tuple[float, float],
) -> str:
    """Links and joints from the base to the tool, with limits, and the gripper's joint.

    Args:
        name: Of the robot.
        model: Has the joints, by these names, one per body.
        links: Names of the links, base first: one more than joints.
        limits: Joint -> largest position to both sides [rad], velocity [rad/s] and effort [Nm].
        tool: Name of the frame at the last link.
        gripper: Name of its joint.
        stroke: Its lowest and highest position [rad].
    """
    lines = [f'<robot name="{name}">', f'  <link name="{links[0]}"/>']
    for (joint, (span, velocity, effort)), parent, child in zip(
        limits.items(), links, links[1:], strict=False
    ):
        number = model.joint(joint).id
        body = int(model.jnt_bodyid[number])
        axis = " ".join(f"{value:g}" for value in model.jnt_axis[number])
        lines += [
            f'  <link name="{child}"/>',
            f'  <joint name="{joint}" type="revolute">',
            f'    <parent link="{parent}"/><child link="{child}"/>',
            f"    {_origin(model.body_pos[body], model.body_quat[body])}",
            f'    <axis xyz="{axis}"/>',
            f'    <limit lower="{-span:g}" upper="{span:g}" velocity="{velocity:g}" effort="{effort:g}"/>',
            "  </joint>",
        ]
    lines += [
        f'  <link name="{tool}"/>',
        f'  <joint name="{tool}_joint" type="fixed">',
        f'    <parent link="{links[-1]}"/><child link="{tool}"/>',
        '    <origin xyz="0 0.1 0" rpy="-1.5708 0 0"/>',
        "  </joint>",
        '  <link name="gripper_finger"/>',
        f'  <joint name="{gripper}" type="revolute">',
        f'    <parent link="{tool}"/><child link="gripper_finger"/>',
        '    <axis xyz="0 1 0"/>',
        f'    <limit lower="{stroke[0]:g}" upper="{stroke[1]:g}" velocity="2" effort="50"/>',
        "  </joint>",
        "</robot>",
    ]
    return "\n".join(lines)


def _origin(position: np.ndarray, wxyz: np.ndarray) -> str:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, wxyz)
    m = matrix.reshape(3, 3)
    roll, pitch = np.arctan2(m[2, 1], m[2, 2]), np.arctan2(-m[2, 0], np.hypot(m[0, 0], m[1, 0]))
    yaw = np.arctan2(m[1, 0], m[0, 0])
    xyz = " ".join(f"{value:.6g}" for value in position)
    return f'<origin xyz="{xyz}" rpy="{roll:.6g} {pitch:.6g} {yaw:.6g}"/>'
