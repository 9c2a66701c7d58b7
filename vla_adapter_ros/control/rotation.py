"""Poses and rotations in numpy.

A rotation is a matrix (3, 3) whose columns are the axes of the turned frame. A
rotation vector is the axis times the angle [rad], right-handed (REP 103).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SMALL_RAD = 1e-4  # below, series replace quotients that would lose digits


@dataclass(frozen=True)
class Pose:
    """A frame in another one: position float64 (3,) [m] and rotation float64 (3, 3)."""

    position: np.ndarray
    rotation: np.ndarray


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Matrix (3, 3) of a rotation vector (3,) [rad] of any length.

    Source: Rodrigues' formula R = I + sin(a)/a K + (1 - cos(a))/a^2 K^2, with K
    the cross-product matrix of the vector and a its length.
    """
    angle = float(np.linalg.norm(vector))
    if angle < _SMALL_RAD:
        first, second = 1.0 - angle**2 / 6.0, 0.5 - angle**2 / 24.0
    else:
        first, second = np.sin(angle) / angle, (1.0 - np.cos(angle)) / angle**2
    x, y, z = vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + first * cross + second * cross @ cross


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) [rad] of a matrix (3, 3), of length 0 to pi.

    At exactly pi both signs mean the same rotation; one of them is returned.
    """
    return quaternion_vector(quaternion(matrix))


def quaternion(matrix: np.ndarray) -> np.ndarray:
    """Unit quaternion x, y, z, w (4,) of a rotation matrix (3, 3), with w >= 0.

    Source: Shepperd (1978): divide by the largest of the four parts, so that no
    digits are lost, near half turns neither.
    """
    m = np.asarray(matrix, dtype=np.float64)
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    largest = int(np.argmax([m[0, 0], m[1, 1], m[2, 2], trace]))
    if largest == 3:
        parts = [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1.0 + trace]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        parts = [0.0] * 4
        parts[i] = 1.0 - trace + 2.0 * m[i, i]
        parts[j] = m[j, i] + m[i, j]
        parts[k] = m[k, i] + m[i, k]
        parts[3] = m[k, j] - m[j, k]
    q = np.array(parts)
    return q / np.linalg.norm(q) * (-1.0 if q[3] < 0 else 1.0)


def quaternion_vector(xyzw: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) [rad], of length 0 to pi, of a unit quaternion x, y, z, w (4,)."""
    xyzw = np.asarray(xyzw, dtype=np.float64)
    if xyzw[3] < 0:
        xyzw = -xyzw
    length = float(np.linalg.norm(xyzw[:3]))
    if length < _SMALL_RAD:
        return xyzw[:3] * (2.0 + length**2 / 3.0)
    return xyzw[:3] * (2.0 * np.arctan2(length, xyzw[3]) / length)
