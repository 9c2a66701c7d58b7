"""Motion by velocities: straight, within limits, soft at their ends, and never wound up."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="kinematics need pinocchio: pip install pin")

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.enums import Frame
from vla_adapter_ros.contract.schema import Workspace
from vla_adapter_ros.control.limits import Limits
from vla_adapter_ros.control.rotation import rotation_vector
from vla_adapter_ros.control.urdf import contract_kinematics
from vla_adapter_ros.teleop.jog import SINGULAR_BELOW, JogLimits, JointJog, ToolJog

CONTRACT = read_contract("franka_sim_ee")
LIMITS = Limits.of(CONTRACT)
JOG = JogLimits(LIMITS.low, LIMITS.high, 0.3 * LIMITS.velocity)
HOME = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8])
DT = 0.02


@pytest.fixture(scope="module")
def franka():
    return contract_kinematics(CONTRACT)


def go(jog: JointJog, velocity, seconds: float) -> np.ndarray:
    """Joints (N, J) at every step."""
    path = [jog.joints]
    for _ in range(round(seconds / DT)):
        jog.advance(np.asarray(velocity, dtype=float), DT)
        path.append(jog.joints)
    path = np.array(path)
    assert (path >= LIMITS.low - 1e-12).all() and (path <= LIMITS.high + 1e-12).all()
    assert (np.abs(np.diff(path, axis=0)) <= JOG.velocity * DT + 1e-12).all()
    return path


def tool_jog(franka, frame=Frame.BASE, workspace=None, start=HOME) -> ToolJog:
    jog = ToolJog(JOG, franka, frame, workspace)
    jog.begin(start)
    return jog


def turn(a, b) -> float:
    return float(np.linalg.norm(rotation_vector(a.rotation @ b.rotation.T)))


def test_the_tool_goes_straight_and_keeps_its_rotation(franka):
    jog, begun = tool_jog(franka), franka.pose(HOME)
    for velocity in np.vstack([np.eye(3), -np.eye(3)]) * 0.1:
        go(jog, [*velocity, 0, 0, 0], 0.5)
    ended = franka.pose(jog.joints)  # there and back, six times: nothing has drifted
    np.testing.assert_allclose(ended.position, begun.position, atol=1e-5)
    assert turn(ended, begun) < 1e-5
    go(jog, [0.1, 0, 0, 0, 0, 0], 0.5)
    np.testing.assert_allclose(franka.pose(jog.joints).position - begun.position, [0.05, 0, 0], atol=1e-5)


def test_the_tool_turns_about_its_own_point(franka):
    jog, begun = tool_jog(franka), franka.pose(HOME)
    go(jog, [0, 0, 0, 0, 0, 0.4], 1.0)
    ended = franka.pose(jog.joints)
    np.testing.assert_allclose(ended.position, begun.position, atol=1e-5)
    np.testing.assert_allclose(rotation_vector(ended.rotation @ begun.rotation.T), [0, 0, 0.4], atol=1e-4)


def test_along_the_tools_own_axes(franka):
    start = HOME + np.array([0, 0, 0, 0, 0.3, 0.4, 0])
    jog, begun = tool_jog(franka, Frame.TOOL, start=start), franka.pose(start)
    go(jog, [0, 0, 0.1, 0, 0, 0], 0.4)
    way = begun.rotation.T @ (franka.pose(jog.joints).position - begun.position)
    np.testing.assert_allclose(way, [0, 0, 0.04], atol=1e-5)


def test_walls_of_the_workspace_stop_softly_and_the_way_back_begins_at_once(franka):
    begun = franka.pose(HOME).position
    box = Workspace(tuple(begun - 0.05), tuple(begun + 0.05))
    jog = tool_jog(franka, workspace=box)
    path = go(jog, [0.15, 0.02, 0, 0, 0, 0], 3.0)
    points = np.array([franka.pose(joints).position for joints in path])
    assert points[:, 0].max() <= begun[0] + 0.05 - 0.004
    assert points[-1, 0] > begun[0] + 0.04
    # It slides along the wall, and comes to rest without a step of its velocity there.
    assert points[-1, 1] > begun[1] + 0.03
    speed = np.diff(points[:, 0]) / DT
    assert speed.max() == pytest.approx(0.15, rel=0.02) and (np.diff(speed) >= -0.15 * DT / 0.15 * 1.5).all()
    back = go(jog, [-0.15, 0, 0, 0, 0, 0], 0.1)
    moved = franka.pose(back[-1]).position[0] - points[-1, 0]
    assert moved == pytest.approx(-0.015, abs=1e-4), "what was asked for beyond the wall was kept"


def test_at_a_joints_limit_nothing_winds_up(franka):
    jog = tool_jog(franka, start=np.array([0.0, -0.2, 0.0, -2.0, 0.0, 4.2, 0.8]))
    begun = franka.pose(jog.joints)
    path = go(jog, [0, 0, 0, 0, -0.6, 0], 4.0)  # joint 6 comes to its end
    rest = franka.pose(path[-1])
    assert path[-1, 5] == pytest.approx(LIMITS.high[5], abs=0.01)
    assert np.abs(np.diff(path[-50:], axis=0)).max() < 1e-4, "it has come to rest"
    assert np.linalg.norm(rest.position - begun.position) < 0.01, "the tool strayed"
    turned_back = go(jog, [0, 0, 0, 0, 0.6, 0], 0.2)
    assert turn(franka.pose(turned_back[-1]), rest) > 0.06


def test_a_stretched_arm_does_not_leap(franka):
    start = np.array([0.0, 0.3, 0.0, -0.9, 0.0, 1.9, 0.8])
    jog = tool_jog(franka, start=start)
    path = go(jog, [0.15, 0, 0, 0, 0, 0], 2.5)  # `go` checks the velocities of all joints
    assert franka.pose(path[-1]).position[0] > franka.pose(start).position[0] + 0.02
    assert franka.dexterity(path[-1]) == pytest.approx(SINGULAR_BELOW, abs=1e-3)
    assert path[-1, 3] < -0.47, "the elbow has not gone through, where it is stretched"
    assert (
        np.abs(np.diff(path[-25:], axis=0)).max() < 1e-3 and np.abs(np.diff(path, n=2, axis=0)).max() < 0.013
    )
    back = go(jog, [-0.15, 0, 0, 0, 0, 0], 1.5)
    assert franka.pose(back[-1]).position[0] < franka.pose(path[-1]).position[0] - 0.1
    jog.begin(np.array([0.0, 0.3, 0.0, -0.467, 0.0, 1.9, 0.8]))  # already there: only inwards
    go(jog, [-0.15, 0, -0.1, 0, 0, 0], 1.0)
    assert franka.dexterity(jog.joints) > SINGULAR_BELOW


def test_the_targets_stay_near_what_is_measured(franka):
    jog = tool_jog(franka)
    near = np.full(7, 0.05)
    for _ in range(200):  # the arm is held fast
        jog.advance(np.array([0.15, 0, 0, 0, 0, 0]), DT)
        jog.stay_near(HOME, near)
    assert np.abs(jog.joints - HOME).max() <= 0.05 + 1e-12
    blocked = franka.pose(jog.joints).position
    go(jog, [-0.15, 0, 0, 0, 0, 0], 0.1)
    assert franka.pose(jog.joints).position[0] < blocked[0] - 0.01


def test_joints_stop_softly_at_their_limits():
    jog = JointJog(JOG)
    jog.begin(HOME)
    path = go(jog, 9 * np.eye(7)[3], 6.0)
    assert path[-1, 3] == pytest.approx(LIMITS.high[3], abs=1e-3)
    assert np.diff(path[:, 3]).max() == pytest.approx(JOG.velocity[3] * DT)
    assert np.abs(np.delete(path, 3, axis=1) - np.delete(HOME, 3)).max() == 0
    go(jog, -9 * np.eye(7)[3], DT)
    assert jog.joints[3] == pytest.approx(path[-1, 3] - JOG.velocity[3] * DT)


def test_from_beyond_a_limit_only_the_way_back_is_open():
    jog = JointJog(JOG)
    outside = HOME.copy()
    outside[1] = LIMITS.high[1] + 0.02
    jog.begin(outside)
    jog.advance(np.eye(7)[1], DT)
    assert jog.joints[1] == outside[1]
    jog.advance(-np.eye(7)[1], DT)
    assert jog.joints[1] < outside[1]
