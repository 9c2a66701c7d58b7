"""Forward and Cartesian drivers: last command held, timeouts, refusals; and which one a contract gets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.contract.schema import CommandGroup
from vla_adapter_ros.errors import CommandError, SimulationError, VlaAdapterError
from vla_adapter_ros.simulation.cartesian_controllers import (
    CartesianPoseController,
    CartesianTwistController,
    rotation_of,
)
from vla_adapter_ros.simulation.drivers import DriverSettings
from vla_adapter_ros.simulation.forward_controllers import (
    ForwardPositionController,
    ForwardVelocityController,
)
from vla_adapter_ros.simulation.mjcf import build_model
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.robot_models import FR3

CONTRACT = read_contract("franka_sim")
ARM_JOINTS = FR3.joints
READY = np.array(FR3.arms[0].ready)
AB = ("a", "b")
NAN = float("nan")


def contract_with(command: str, **changes):
    return dataclasses.replace(
        CONTRACT, command=dataclasses.replace(CONTRACT.command, type=command, **changes)
    )


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(build_model())


def test_positions_are_held_and_a_stream_has_a_speed() -> None:
    driver = ForwardPositionController(AB, np.zeros(2))
    driver.accept_positions([0.1, -0.1], now=1.0)
    assert driver.sample(1.0)[1].tolist() == [0.0, 0.0]  # one command has no speed
    driver.accept_positions([0.12, -0.1], now=1.01)
    position, velocity = driver.sample(1.015)
    assert position.tolist() == [0.12, -0.1] and velocity == pytest.approx([2.0, 0.0])
    position, velocity = driver.sample(9.0)
    assert position.tolist() == [0.12, -0.1] and velocity.tolist() == [0.0, 0.0]


def test_velocities_are_integrated_until_they_are_too_old() -> None:
    driver = ForwardVelocityController(AB, np.array([0.5, 0.0]), timeout_s=0.1)
    assert driver.sample(3.0)[0].tolist() == [0.5, 0.0]
    driver.accept_velocities([1.0, -2.0], now=1.0)
    position, velocity = driver.sample(1.05)
    assert position == pytest.approx([0.55, -0.1]) and velocity.tolist() == [1.0, -2.0]
    driver.accept_velocities([0.0, -2.0], now=1.08)
    assert driver.sample(1.1)[0] == pytest.approx([0.58, -0.2])
    for t in (1.19, 5.0):
        position, velocity = driver.sample(t)
        assert position == pytest.approx([0.58, -0.36]) and not velocity.any()


@pytest.mark.parametrize("values", [[0.1], [0.1, NAN], [[0.1, 0.2]], [0.1, 0.2, 0.3]])
def test_bad_commands_are_refused_and_the_old_one_stays(values) -> None:
    for kind in (ForwardPositionController, ForwardVelocityController):
        driver = kind(AB, np.array([0.3, 0.4]))
        position = kind is ForwardPositionController
        accept = driver.accept_positions if position else driver.accept_velocities
        with pytest.raises(CommandError, match="2 finite numbers"):
            accept(values, now=1.0)
        assert driver.sample(1.01)[0].tolist() == [0.3, 0.4]


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    import mujoco

    wxyz = np.zeros(4)
    mujoco.mju_mat2Quat(wxyz, rotation.reshape(-1))
    return np.concatenate([wxyz[1:], wxyz[:1]])


def test_a_quaternion_of_any_length_is_a_rotation(kinematics: Kinematics) -> None:
    rotation = kinematics.forward(READY + 0.1)[1]
    assert rotation_of(3.0 * quaternion_of(rotation)) == pytest.approx(rotation, abs=1e-9)
    with pytest.raises(CommandError, match="any length but 0"):
        rotation_of(np.zeros(4))


def test_a_stream_of_poses_moves_the_tool_along_a_line(kinematics: Kinematics) -> None:
    driver = CartesianPoseController(ARM_JOINTS, READY, kinematics)
    start, rotation = kinematics.forward(READY)
    turned = quaternion_of(rotation)
    for i in range(1, 101):
        driver.accept_pose(np.add(start, [0.0, 0.002 * i, 0.0]), turned, now=1.0 + 0.01 * i)
        here, frame = kinematics.forward(driver.sample(1.0 + 0.01 * i)[0])
        assert here == pytest.approx(np.add(start, [0.0, 0.002 * i, 0.0]), abs=1e-5)
        assert frame == pytest.approx(rotation, abs=1e-4)
    with pytest.raises(CommandError, match="in one command"):
        driver.accept_pose(start, turned, now=3.0)
    with pytest.raises(CommandError, match="in one command"):
        driver.accept_pose(np.add(start, [0.0, 0.2, 0.0]), [1.0, 0.0, 0.0, 1.0], now=3.0)


def test_a_twist_moves_the_tool_and_runs_out(kinematics: Kinematics) -> None:
    driver = CartesianTwistController(ARM_JOINTS, READY, kinematics, timeout_s=0.1)
    start, rotation = kinematics.forward(READY)
    for i in range(100):
        driver.accept_twist([0.0, 0.1, 0.0, 0.0, 0.0, 0.0], now=0.01 * i)
    here, frame = kinematics.forward(driver.sample(1.0)[0])
    assert here == pytest.approx(np.add(start, [0.0, 0.1, 0.0]), abs=1e-3)
    assert frame == pytest.approx(rotation, abs=5e-3)
    later, velocity = driver.sample(5.0)
    assert kinematics.forward(later)[0] == pytest.approx(np.add(start, [0.0, 0.109, 0.0]), abs=1e-3)
    assert not velocity.any()


@pytest.mark.parametrize(
    "kind", ["forward_position", "forward_velocity", "cartesian_pose", "cartesian_twist"]
)
def test_the_robot_takes_what_the_contract_says_and_nothing_else(kind: str) -> None:
    robot = SimulatedRobot(dataclasses.replace(contract_with(kind), cameras={}), "raycast")
    start = robot.joint_positions()[:7].copy()
    pose = robot.tool_pose()
    sends = {
        "forward_position": lambda i: robot.accept_forward(start + 0.002 * i),
        "forward_velocity": lambda i: robot.accept_forward(np.full(7, 0.2)),
        "cartesian_pose": lambda i: robot.accept_pose(np.add(pose[:3], [0.0, 0.001 * i, 0.0]), pose[3:]),
        "cartesian_twist": lambda i: robot.accept_twist([0.0, 0.1, 0.0, 0.0, 0.0, 0.0]),
    }
    for i in range(1, 51):
        sends[kind](i)
        robot.advance(0.01)
    if kind.startswith("forward"):
        assert robot.joint_positions()[:7] - start == pytest.approx(0.1 * np.ones(7), abs=0.01)
    else:
        assert robot.tool_pose()[:3] - pose[:3] == pytest.approx([0.0, 0.05, 0.0], abs=0.005)
    with pytest.raises(SimulationError, match=kind):
        robot.accept_trajectory(ARM_JOINTS, 0.0, [1.0], [start])


def test_forward_commands_are_in_the_contracts_order() -> None:
    back = dataclasses.replace(
        contract_with("forward_position"),
        cameras={},
        action=dataclasses.replace(
            CONTRACT.action,
            dimensions=(*reversed(CONTRACT.action.dimensions[:7]), CONTRACT.action.dimensions[7]),
        ),
    )
    robot = SimulatedRobot(back, "raycast")
    robot.accept_forward([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    assert robot.desired()[0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_a_blocked_arm_breaks_the_path_tolerance_and_the_driver_holds() -> None:
    robot = SimulatedRobot(
        dataclasses.replace(CONTRACT, cameras={}), "raycast", settings=DriverSettings(path_tolerance=0.05)
    )
    start = robot.joint_positions()[:7].copy()
    robot.accept_trajectory(CONTRACT.arm_joints, 0.0, [0.05], [start + 1.0])  # no arm is that fast
    robot.advance(0.1)
    assert "from the path: allowed is 0.05" in robot.problem
    robot.advance(1.0)
    assert np.abs(robot.joint_positions()[:7] - start).max() < 0.3
    robot.accept_trajectory(CONTRACT.arm_joints, 0.0, [1.0], [start])
    assert robot.problem == ""


def test_the_gripper_takes_a_trajectory() -> None:
    robot = SimulatedRobot(dataclasses.replace(CONTRACT, cameras={}), "raycast")
    robot.accept_gripper_trajectory((CONTRACT.grippers[0].joint,), 0.0, [0.5], [[0.0]])
    robot.advance(0.25)
    assert robot.gripper_command() == pytest.approx(0.02, abs=1e-3)
    robot.advance(0.5)
    assert robot.gripper_command() == 0.0 and robot.joint_positions()[7] < 0.003


@pytest.mark.parametrize("command", ["joint_trajectory", "forward_position", "forward_velocity"])
def test_two_drivers_move_one_arm(command) -> None:
    """Each has its own joints, in an order of its own; what one is told leaves the other where it is."""
    groups = (CommandGroup("/wrist", ARM_JOINTS[:3:-1]), CommandGroup("/base", ARM_JOINTS[:4]))
    robot = SimulatedRobot(contract_with(command, topic="", groups=groups), "raycast")
    try:
        start = robot.desired()[0].copy()
        values = start[:3:-1] + np.array([0.1, 0.2, 0.3])
        if command == "joint_trajectory":
            robot.accept_trajectory(ARM_JOINTS[4:], 0.0, [0.1], [values[::-1]], group=0)
        else:
            told = values if command == "forward_position" else [1.0, 2.0, 3.0]
            robot.accept_forward(told, group=0)
        robot.advance(0.1)
        moved = robot.desired()[0] - start
        assert moved == pytest.approx([0, 0, 0, 0, 0.3, 0.2, 0.1], abs=1e-9)
        with pytest.raises(VlaAdapterError):  # the other driver has four joints
            if command == "joint_trajectory":
                robot.accept_trajectory(ARM_JOINTS, 0.0, [0.1], [start], group=1)
            else:
                robot.accept_forward(told, group=1)
    finally:
        robot.close()


def test_an_arm_answers_later_by_its_delay_and_a_hold_drops_what_is_under_way() -> None:
    contract = contract_with("forward_position")
    prompt = SimulatedRobot(contract, backend="raycast")
    late = SimulatedRobot(contract, backend="raycast", settings=DriverSettings(response_delay_s=0.1))
    paths = []
    for robot in (prompt, late):
        robot.accept_forward(READY + 0.1 * np.eye(7)[6])
        path = []
        for _ in range(40):
            robot.advance(0.01)
            path.append(robot.arm_positions()[-1])
        paths.append(np.array(path))
        robot.accept_forward(READY)
        robot.reset(0)
        robot.advance(0.2)
        np.testing.assert_allclose(robot.desired()[0], robot.scene.joints, atol=1e-9)
        robot.close()
    assert np.ptp(paths[0]) > 0.09
    np.testing.assert_allclose(paths[1][11:], paths[0][1:-10], atol=1e-3)
