"""The simulated robot as a driver: tracking, gripper, resets, pushes."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.disturbance import Disturbance
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.robot_models import FR3
from vla_adapter_ros.simulation.trajectory_controller import TrajectoryError

CONTRACT = read_contract("franka_sim")


@pytest.fixture
def robot() -> SimulatedRobot:
    return SimulatedRobot(CONTRACT, "raycast")


def test_the_arm_follows_a_timed_trajectory_with_little_lag(robot: SimulatedRobot) -> None:
    start = robot.joint_positions()[:7].copy()
    times = np.arange(0.02, 2.01, 0.02)
    swing = 0.15 * (1 - np.cos(np.pi * times))[:, None]
    speed = 0.15 * np.pi * np.sin(np.pi * times)[:, None] * np.ones(7)
    speed[-1] = 0.0
    robot.accept_trajectory(CONTRACT.arm_joints, 0.0, times, start + swing * np.ones(7), speed)
    errors, speeds = [], []
    for _ in range(195):
        robot.advance(0.01)
        desired, velocity = robot.desired()
        errors.append(desired - robot.joint_positions()[:7])
        speeds.append(velocity)
    lag = (np.array(errors) * speeds).sum(0) / np.square(speeds).sum(0)
    assert np.abs(errors).max() < 0.004
    assert np.abs(lag).max() < 0.006  # seconds


def test_time_goes_on_through_resets(robot: SimulatedRobot) -> None:
    robot.advance(0.01)
    assert robot.time == pytest.approx(0.01)
    scene = robot.reset(4, ("red", "green"))
    assert robot.time == pytest.approx(0.01) and scene == robot.scene
    robot.advance(0.01)
    assert robot.time == pytest.approx(0.02)
    assert set(robot.object_positions()) == {"red", "green"}


def test_reset_drops_trajectory_and_gripper_command(robot: SimulatedRobot) -> None:
    target = robot.joint_positions()[:7] + 0.2
    robot.accept_trajectory(CONTRACT.arm_joints, 0.0, [0.5], [target])
    robot.accept_gripper(0.0)
    robot.advance(0.1)
    scene = robot.reset(9)
    robot.advance(0.5)
    assert np.allclose(robot.joint_positions()[:7], scene.joints, atol=2e-3)
    assert robot.gripper_command() == 0.04


def test_a_refused_reset_changes_nothing(robot: SimulatedRobot) -> None:
    before = robot.joint_positions().copy()
    with pytest.raises(SimulationError, match="pink"):
        robot.reset(1, ("pink",))
    assert np.array_equal(robot.joint_positions(), before)


def test_bad_commands_are_refused(robot: SimulatedRobot) -> None:
    with pytest.raises(TrajectoryError, match="joints"):
        robot.accept_trajectory(("elbow",), 0.0, [0.1], [[0.0]])
    with pytest.raises(SimulationError, match="finite"):
        robot.accept_gripper(float("nan"))
    with pytest.raises(SimulationError, match="multiples"):
        robot.advance(0.0015)
    with pytest.raises(SimulationError, match="allowed is 0 to"):
        robot.set_disturbance(0.5, 0)
    with pytest.raises(SimulationError, match="slips per second: allowed is 0 to"):
        robot.set_disturbance(0.0, 0, slips_per_s=-1.0)
    robot.accept_gripper(7.0)
    assert robot.gripper_command() == 0.04


def test_images_have_the_contracts_sizes(robot: SimulatedRobot) -> None:
    for name, camera in CONTRACT.cameras.items():
        assert robot.render(name).shape == (camera.height, camera.width, 3)


def test_runs_repeat_exactly() -> None:
    ends = []
    for _ in range(2):
        robot = SimulatedRobot(CONTRACT, "raycast")
        robot.reset(3)
        robot.set_disturbance(0.015, 5)
        robot.advance(1.0)
        ends.append((robot.joint_positions().copy(), robot.render("third_view")))
    assert np.array_equal(ends[0][0], ends[1][0])
    assert np.array_equal(ends[0][1], ends[1][1])


def test_pushes_move_an_open_hand_and_leave_a_closed_one_alone(robot: SimulatedRobot) -> None:
    def spread(closed: bool) -> float:
        robot.reset(3)
        rest = robot.tool_pose()[:3]
        robot.set_disturbance(0.015, 1)
        robot.accept_gripper(0.0 if closed else 0.04)
        robot.advance(0.5)
        places = []
        for _ in range(60):
            robot.advance(0.05)
            places.append(robot.tool_pose()[:3] - rest)
        return float(np.abs(places).max())

    assert 0.005 < spread(closed=False) < 0.02
    assert spread(closed=True) < 0.001


def test_an_open_hand_slips_shut_for_moments_and_is_told_to_be_open(robot: SimulatedRobot) -> None:
    robot.reset(3)
    robot.set_disturbance(0.0, 1, slips_per_s=0.5)
    opened = []
    for _ in range(200):
        robot.advance(0.05)
        assert robot.gripper_command() == 0.04
        opened.append(FR3.grippers[0].opening(float(robot.world.gripper_positions()[0])))
    assert 0.5 < np.mean(np.array(opened) > 0.9) < 0.98
    shut = np.array(opened) < 0.2
    assert 2 <= np.sum(shut[1:] & ~shut[:-1]) <= 9


def test_offsets_are_smooth_and_bounded() -> None:
    push = Disturbance(0.015, 3, start=1.0)
    times = np.arange(1.0, 31.0, 0.01)
    offsets, speeds = map(np.array, zip(*(push.offset(t, True) for t in times), strict=True))
    assert np.allclose(offsets[0], 0.0)
    assert np.abs(offsets).max() <= 0.015
    assert 0.007 < offsets.std() < 0.012
    assert np.allclose(np.gradient(offsets, 0.01, axis=0)[1:-1], speeds[1:-1], atol=0.05)
    knots = offsets[::10]
    correlation = np.mean(knots[1:] * knots[:-1]) / np.mean(knots**2)
    assert 0.5 < correlation < 0.85
    last = [push.offset(31.0 + t, False)[0] for t in np.arange(0, 3, 0.1)][-1]
    assert np.abs(last).max() < 1e-4
