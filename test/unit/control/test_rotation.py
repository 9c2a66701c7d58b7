"""Rotations: round trips at every angle, and composition."""

from __future__ import annotations

import numpy as np
import pytest
from reference_math import compose, inverse

from vla_adapter_ros.control.rotation import (
    Pose,
    quaternion,
    quaternion_vector,
    rotation_matrix,
    rotation_vector,
)

ANGLES = [0.0, 1e-12, 1e-6, 0.9e-4, 1.1e-4, 0.1, 1.0, 2.0, 3.0, np.pi - 1e-4, np.pi - 1e-7, np.pi - 1e-10]


def axes(count: int = 20) -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(count, 3))
    plain = np.vstack([np.eye(3), -np.eye(3), drawn])
    return plain / np.linalg.norm(plain, axis=1, keepdims=True)


def random_pose(rng: np.random.Generator) -> Pose:
    return Pose(rng.normal(size=3), rotation_matrix(rng.normal(size=3)))


@pytest.mark.parametrize("angle", ANGLES)
def test_vector_and_matrix_are_inverse_of_each_other(angle):
    for axis in axes():
        matrix = rotation_matrix(angle * axis)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-14)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        np.testing.assert_allclose(
            rotation_vector(matrix), angle * axis, rtol=1e-7, atol=1e-14 + 1e-9 * angle
        )


def test_half_turns_keep_their_axis():
    for axis in axes():
        vector = rotation_vector(rotation_matrix(np.pi * axis))
        assert np.linalg.norm(vector) == pytest.approx(np.pi)
        assert abs(vector @ axis) == pytest.approx(np.pi)


def test_known_rotations_are_right_handed():
    quarter = rotation_matrix(np.array([0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(quarter @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(quaternion(quarter), [0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)], atol=1e-15)
    # More than half a turn comes back as the shorter one.
    np.testing.assert_allclose(
        rotation_vector(rotation_matrix(np.array([4.0, 0.0, 0.0]))), [4.0 - 2 * np.pi, 0.0, 0.0]
    )


def test_either_sign_of_a_quaternion_gives_the_same_vector():
    for axis in axes():
        xyzw = quaternion(rotation_matrix(2.5 * axis))
        assert xyzw[3] >= 0 and np.linalg.norm(xyzw) == pytest.approx(1.0)
        np.testing.assert_allclose(quaternion_vector(-xyzw), quaternion_vector(xyzw))


def test_composition_is_that_of_homogeneous_matrices():
    def homogeneous(pose: Pose) -> np.ndarray:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = pose.rotation, pose.position
        return matrix

    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = random_pose(rng), random_pose(rng)
        np.testing.assert_allclose(homogeneous(compose(a, b)), homogeneous(a) @ homogeneous(b), atol=1e-12)
        for product in (compose(a, inverse(a)), compose(inverse(a), a)):
            np.testing.assert_allclose(homogeneous(product), np.eye(4), atol=1e-12)
