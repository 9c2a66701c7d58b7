"""The scripted teleoperator, played through the real motion core."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.control.core import MotionCore
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.expert import PickExpert
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.robot_models import FR3

CONTRACT = read_contract("franka_sim")
TICK_S = 0.01


@pytest.fixture(scope="module")
def robot() -> SimulatedRobot:
    return SimulatedRobot(CONTRACT, "raycast")


def demonstrate(
    robot: SimulatedRobot, color: str, limit_s: float = 8.0
) -> tuple[PickExpert, list[np.ndarray]]:
    """Play the expert at 50 Hz through the controller's limits; its commands are the result."""
    core, expert = MotionCore(CONTRACT, TICK_S), PickExpert(robot, color)
    commands, end, tick = [], robot.time + limit_s, 0
    while robot.time < end and not expert.done:
        now = robot.time
        core.measure(dict(zip(robot.joint_names, robot.joint_positions(), strict=True)), now)
        if tick % 2 == 0:
            commands.append(expert.command(now))
            core.accept_teleop(commands[-1], now)
        core.tick(now)
        path = core.trajectory(now)
        if path is not None:
            robot.accept_trajectory(path.joints, now, path.times - now, path.positions, path.velocities)
        for position in core.gripper_positions or ():
            robot.accept_gripper(position)
        robot.advance(TICK_S)
        tick += 1
    return expert, commands


SLOW = ((0.0, 0.0, 10, 10), (0.008, 0.0, 10, 9), (0.012, 0.4, 20, 19))


@pytest.mark.parametrize(
    ("amplitude", "slips", "scenes", "needed"),
    [(0.0, 0.0, 4, 4), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_it_picks_the_named_cube(
    robot: SimulatedRobot, amplitude: float, slips: float, scenes: int, needed: int
) -> None:
    picked = 0
    for seed in range(200, 200 + scenes):
        scene = robot.reset(seed)
        robot.set_disturbance(amplitude, seed, slips)
        color = scene.names[seed % 3]
        expert, _ = demonstrate(robot, color)
        picked += expert.done and robot.lifted() == color
    assert picked >= needed


def test_commands_are_a_short_way_ahead_of_the_arm(robot: SimulatedRobot) -> None:
    scene = robot.reset(3)
    robot.advance(0.1)
    before = robot.tool_pose()[:3]
    expert = PickExpert(robot, scene.names[0])
    command = [expert.command(robot.time + n * 0.02) for n in range(60)][-1]
    assert command.shape == (8,) and command[7] == CONTRACT.grippers[0].open
    way = robot.kinematics.forward(command[:7])[0] - before
    assert 0.01 < np.linalg.norm(way[:2]) <= FR3.area.step + 1e-5
    assert abs(way[2]) <= FR3.area.step + 1e-5


def test_after_the_lift_it_stands_still_and_keeps_the_cube(robot: SimulatedRobot) -> None:
    scene = robot.reset(11)
    expert, commands = demonstrate(robot, scene.names[0])
    assert expert.done and expert.phase == "done"
    later = [expert.command(robot.time + k * 0.02) for k in range(60)]  # it comes to rest
    assert np.allclose(later[-1], later[-2], atol=1e-4)
    assert later[-1][7] == CONTRACT.grippers[0].closed
    assert np.allclose(later[-1], commands[-1], atol=0.1)


@pytest.mark.parametrize("amplitude", [0.0, 0.012])
def test_it_asks_for_nothing_beyond_the_limits_of_the_arm(robot: SimulatedRobot, amplitude: float) -> None:
    scene = robot.reset(13)
    robot.set_disturbance(amplitude, 13)
    expert, commands = demonstrate(robot, scene.names[1])
    limits = [CONTRACT.limits[joint] for joint in CONTRACT.arm_joints]
    velocity = np.diff(np.array(commands)[:, CONTRACT.arm_places], axis=0) * 50
    assert expert.done
    assert np.all(np.abs(velocity) <= [limit.velocity for limit in limits])
    assert np.all(np.abs(np.diff(velocity, axis=0) * 50) <= [limit.acceleration for limit in limits])


def test_it_tries_again_when_the_cube_is_pulled_away(robot: SimulatedRobot) -> None:
    scene = robot.reset(12)
    color = scene.names[0]
    expert, _ = demonstrate(robot, color, limit_s=0.0)
    while expert.phase != "lift":
        command = expert.command(robot.time)
        robot.accept_trajectory(CONTRACT.arm_joints, 0.0, [0.1], [command[:7]])
        robot.accept_gripper(0.04 if command[7] > 0.5 else 0.0)
        robot.advance(0.02)
    joint = robot.world.model.joint(f"cube{scene.names.index(color)}")
    robot.world.data.qpos[joint.qposadr[0] : joint.qposadr[0] + 3] = [0.5, 0.2, 0.02]
    for _ in range(30):
        command = expert.command(robot.time)
        robot.accept_gripper(0.04 if command[7] > 0.5 else 0.0)
        robot.advance(0.02)
    assert expert.phase == "approach" and command[7] == CONTRACT.grippers[0].open


def test_a_cube_that_is_not_there_is_refused(robot: SimulatedRobot) -> None:
    robot.reset(3, ("red",))
    with pytest.raises(SimulationError, match="blue"):
        PickExpert(robot, "blue")


def test_a_contract_of_another_action_space_is_refused() -> None:
    robot = SimulatedRobot(read_contract("franka_sim_ee"), "raycast")
    robot.reset(3, ("red",))
    with pytest.raises(SimulationError, match=r"ee_.*joint_position"):
        PickExpert(robot, "red")
