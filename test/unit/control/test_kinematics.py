"""Kinematics from a URDF: against MuJoCo, against finite differences, and where a pose is out of reach."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control.rotation import Pose, rotation_matrix, rotation_vector
from vla_adapter_ros.control.urdf import contract_kinematics, read_urdf
from vla_adapter_ros.errors import KinematicsError

pytest.importorskip("pinocchio", reason="kinematics need pinocchio: pip install pin")

from vla_adapter_ros.control.kinematics import ArmKinematics

CONTRACT = read_contract("franka_sim_ee")
FRANKA = read_urdf("package:franky_sim/assets/fr3.urdf")
READY = np.array([0.0, -0.6, 0.0, -2.4, 0.0, 1.8, 0.785])


def joint(name: str, kind: str, parent: str, child: str, place: str, axis: str, limit: str = "") -> str:
    return (
        f'<link name="{child}"/><joint name="{name}" type="{kind}"><parent link="{parent}"/>'
        f'<child link="{child}"/><origin xyz="{place}" rpy="0 0 0"/><axis xyz="{axis}"/>{limit}</joint>'
    )


LIMIT = '<limit lower="-3" upper="3" velocity="2" effort="1"/>'
# Two links of 1 m that turn about z, the first without end; a slide at the wrist; a finger that is no arm.
PLANAR = (
    '<robot name="planar"><link name="floor"/>'
    + joint("shoulder", "continuous", "floor", "upper", "0 0 0", "0 0 1")
    + joint("elbow", "revolute", "upper", "lower", "1 0 0", "0 0 1", LIMIT)
    + joint("slide", "prismatic", "lower", "wrist", "1 0 0", "0 0 1", LIMIT.replace("2", "0"))
    + joint("finger", "prismatic", "wrist", "fingertip", "0.1 0 0", "1 0 0", LIMIT)
    + joint("mount", "fixed", "wrist", "tool", "0 0 0", "0 0 1")
    + "</robot>"
)


@pytest.fixture(scope="module")
def franka() -> ArmKinematics:
    return contract_kinematics(CONTRACT)


@pytest.fixture(scope="module")
def planar() -> ArmKinematics:
    return ArmKinematics(PLANAR, ("shoulder", "elbow"), "floor", "tool")


def postures(arm: ArmKinematics, count: int, margin: float = 0.0) -> np.ndarray:
    return np.random.default_rng(3).uniform(arm.low + margin, arm.high - margin, (count, len(arm.joints)))


def test_pose_and_jacobian_are_those_of_the_simulator(franka):
    simulated = pytest.importorskip("vla_adapter_ros.simulation.mujoco_kinematics")
    mjcf = pytest.importorskip("vla_adapter_ros.simulation.mjcf")
    other = simulated.Kinematics(mjcf.build_model())
    for joints in postures(franka, 30):
        pose, (position, rotation) = franka.pose(joints), other.forward(joints)
        np.testing.assert_allclose(pose.position, position, atol=1e-6)
        np.testing.assert_allclose(pose.rotation, rotation, atol=1e-6)
        np.testing.assert_allclose(franka.jacobian(joints), other.jacobian(joints), atol=1e-6)


@pytest.mark.parametrize("base", ["base", "fr3_link0_accelerometer_top"])  # the second is turned and moved
def test_jacobian_is_the_derivative_of_the_pose(base):
    joints = tuple(reversed(CONTRACT.arm_joints))  # any order of columns
    arm = ArmKinematics(FRANKA, joints, base, "fr3_hand_tcp")
    step = 1e-6
    for posture in postures(arm, 10):
        jacobian = arm.jacobian(posture)
        for j in range(7):
            before, after = (arm.pose(posture + s * step * np.eye(7)[j]) for s in (-1, 1))
            turn = rotation_vector(after.rotation @ before.rotation.T)
            measured = np.concatenate([after.position - before.position, turn]) / (2 * step)
            np.testing.assert_allclose(jacobian[:, j], measured, atol=1e-7)


def test_joint_order_is_the_callers(franka):
    mixed = (3, 0, 6, 1, 5, 2, 4)
    arm = ArmKinematics(FRANKA, tuple(CONTRACT.arm_joints[i] for i in mixed), "base", "fr3_hand_tcp")
    order = list(mixed)
    np.testing.assert_array_equal(arm.low, franka.low[order])
    np.testing.assert_allclose(arm.pose(READY[order]).position, franka.pose(READY).position)
    np.testing.assert_allclose(arm.jacobian(READY[order]), franka.jacobian(READY)[:, order], atol=1e-12)


def test_limits_are_those_of_the_urdf():
    arm = ArmKinematics(PLANAR, ("shoulder", "elbow", "slide"), "floor", "tool")
    np.testing.assert_array_equal(arm.low, [-np.inf, -3, -3])
    np.testing.assert_array_equal(arm.high, [np.inf, 3, 3])
    assert arm.velocity[1] == 2 and arm.velocity[2] == np.inf


def test_continuous_and_sliding_joints(planar):
    arm = ArmKinematics(PLANAR, ("shoulder", "elbow", "slide"), "floor", "tool")
    pose = arm.pose(np.array([np.pi / 2 + 2 * np.pi, -np.pi / 2, 0.3]))
    np.testing.assert_allclose(pose.position, [1.0, 1.0, 0.3], atol=1e-12)
    np.testing.assert_allclose(pose.rotation, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_nearby_poses_are_reached(franka, seed):
    rng = np.random.default_rng(seed)
    for start in postures(franka, 15, margin=0.3):
        goal = start + rng.uniform(-0.1, 0.1, 7)
        reached = franka.solve_ik(franka.pose(goal), start, franka.low, franka.high)
        assert reached.position_error < 1e-5 and reached.rotation_error < 1e-5, reached
        again, target = franka.pose(reached.joints), franka.pose(goal)
        np.testing.assert_allclose(again.position, target.position, atol=1e-5)
        np.testing.assert_allclose(again.rotation, target.rotation, atol=2e-5)


def test_any_target_stays_within_limits_and_never_ends_farther_away(franka):
    rng = np.random.default_rng(4)
    for start in postures(franka, 15):
        target = Pose(rng.normal(0, 1.0, 3), rotation_matrix(rng.normal(0, 2.0, 3)))
        low, high = np.maximum(franka.low, start - 0.4), np.minimum(franka.high, start + 0.3)
        reached = franka.solve_ik(target, start, low, high)
        assert (reached.joints >= low).all() and (reached.joints <= high).all()
        assert np.isfinite(reached.joints).all()

        def cost(joints, target=target):
            here = franka.pose(joints)
            turn = rotation_vector(target.rotation @ here.rotation.T)
            return np.sum((target.position - here.position) ** 2) + np.sum((0.3 * turn) ** 2)

        assert cost(reached.joints) <= cost(start) + 1e-12


def test_a_limited_joint_is_made_up_for_by_the_others(franka):
    """Seven joints for six coordinates: with one held at its limit the pose is still reached exactly."""
    start = READY.copy()
    high = franka.high.copy()
    high[0] = start[0] + 0.01
    here = franka.pose(start)
    target = Pose(here.position + np.array([0.0, 0.06, 0.0]), here.rotation)
    free = franka.solve_ik(target, start, franka.low, franka.high).joints
    assert free[0] > high[0]
    reached = franka.solve_ik(target, start, franka.low, high)
    assert reached.joints[0] <= high[0] and reached.position_error < 1e-5 and reached.rotation_error < 1e-5


def test_out_of_reach_the_arm_stretches_towards_the_target(planar):
    bent = np.array([0.4, -0.8])
    target = Pose(np.array([3.0, 0.0, 0.0]), np.eye(3))
    reached = planar.solve_ik(target, bent, np.full(2, -3.0), np.full(2, 3.0))
    assert reached.position_error == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(reached.joints, 0.0, atol=0.05)


def test_a_stretched_arm_can_come_back(planar):
    """At the singular posture itself no joint leads inwards at first order; bending either way does."""
    target = Pose(np.array([1.9, 0.0, 0.0]), np.eye(3))
    reached = planar.solve_ik(target, np.zeros(2), np.full(2, -3.0), np.full(2, 3.0))
    # With joints (a, -2a) the cost is about (0.1 - a^2)^2 + (0.3 a)^2, lowest at a^2 = 0.055.
    bend = np.sqrt(0.055)
    np.testing.assert_allclose(np.abs(reached.joints), [bend, 2 * bend], atol=0.01)
    assert reached.position_error == pytest.approx(0.1 - 0.055, abs=2e-3)


def test_near_a_singular_posture_joints_follow_in_small_steps(franka):
    """Out until the arm is stretched and back: no joint jumps, and the way back is followed exactly."""
    low, high = franka.low, franka.high
    joints = READY.copy()
    first = franka.pose(READY)
    path = [joints]
    errors = []
    for x in np.concatenate([np.arange(0, 0.48, 0.005), np.arange(0.48, 0, -0.005)]):
        reached = franka.solve_ik(
            Pose(first.position + np.array([x, 0.0, 0.0]), first.rotation), joints, low, high
        )
        joints = reached.joints
        path.append(joints)
        errors.append(reached.position_error)
    values = [np.linalg.svd(franka.jacobian(q), compute_uv=False)[-1] for q in path]
    assert min(values) < 0.03
    # 5 mm of way move the elbow most where the arm is nearly stretched.
    assert np.abs(np.diff(path, axis=0)).max() < 0.2
    assert max(errors) < 0.1 and max(errors[:60]) < 1e-5 and max(errors[-60:]) < 1e-5


@pytest.mark.parametrize("side", [-0.01, 0.0, 0.01])
def test_of_two_branches_the_one_farther_from_the_limits_is_taken(franka, side):
    """Joint 4 of a stretched arm is at -0.467; bent the other way it would meet its limit at -0.117 soon."""
    joints = np.array([0.0, 0.737, 0.0, -0.467, 0.0, 1.278, 0.785])
    first = franka.pose(joints)
    joints = joints + side * np.array([0, -0.55, 0, 1, 0, -0.45, 0])  # a little on either side
    for x in np.arange(0.002, 0.08, 0.004):
        target = Pose(first.position - np.array([x, 0, 0]), first.rotation)
        before, reached = joints, franka.solve_ik(target, joints, franka.low, franka.high)
        joints = reached.joints
        assert reached.position_error < 1e-4 and np.abs(joints - before).max() < 0.2
    assert joints[3] < -0.8 and abs(joints[2]) < 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"urdf_text": "<robot"}, "no readable URDF"),
        ({"joints": ("shoulder", "knee")}, r"\['knee'\].*'elbow'"),
        ({"joints": ("elbow", "elbow")}, "at most once"),
        ({"joints": ()}, "at most once"),
        ({"tool_link": "hand"}, "'hand'.*'wrist'"),
        ({"base_link": "earth"}, "'earth'.*'floor'"),
        ({"tool_link": "upper"}, "'elbow' does not move 'upper' against 'floor'"),
        ({"base_link": "upper"}, "'shoulder' does not move 'tool' against 'upper'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, words):
    fitting = {
        "urdf_text": PLANAR,
        "joints": ("shoulder", "elbow"),
        "base_link": "floor",
        "tool_link": "tool",
    }
    with pytest.raises(KinematicsError, match=words):
        ArmKinematics(**(fitting | change))


def test_without_pinocchio_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pinocchio", None)
    with pytest.raises(KinematicsError, match="pip install pin"):
        ArmKinematics(PLANAR, ("shoulder",), "floor", "upper")
