"""Physics: gravity, contact, tracking, and what the world measures."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.mjcf import TIME_STEP_S
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics
from vla_adapter_ros.simulation.robot_models import FR3
from vla_adapter_ros.simulation.scene import Scene, sample_scene
from vla_adapter_ros.simulation.things import Shape, Thing
from vla_adapter_ros.simulation.world import World

STILL = np.zeros(7)


@pytest.fixture(scope="module")
def world() -> World:
    return World({})


def scene_with_cube(position: tuple[float, float, float], tool: tuple[float, float, float]) -> Scene:
    scene = sample_scene(0, ("red",))
    joints = Kinematics(World({}).model).inverse(np.array(tool))
    cube = Thing("red", Shape.CUBE, position, 0.1, scene.things[0].rgb)
    return replace(scene, things=(cube,), joints=tuple(joints.tolist()))


def test_a_dropped_cube_falls_as_gravity_says(world: World) -> None:
    scene = scene_with_cube((0.5, 0.1, 0.5), (0.4, -0.1, 0.25))
    world.reset(scene)
    world.advance(np.array(scene.joints), STILL, 0.04, 0.2)
    fallen = 0.5 - world.object_positions()["red"][2]
    assert fallen == pytest.approx(9.81 * 0.2**2 / 2, abs=0.005)
    world.advance(np.array(scene.joints), STILL, 0.04, 1.0)
    assert world.object_positions()["red"][2] == pytest.approx(FR3.area.rest_height, abs=0.002)


def test_the_arm_carries_its_own_weight(world: World) -> None:
    scene = sample_scene(3)
    world.reset(scene)
    world.advance(np.array(scene.joints), STILL, 0.04, 1.0)
    assert np.abs(world.joint_positions()[:7] - scene.joints).max() < 1e-3


def test_the_gripper_holds_a_cube_and_drops_it(world: World) -> None:
    scene = scene_with_cube((0.45, 0.0, FR3.area.rest_height), (0.45, 0.0, 0.02))
    kinematics = Kinematics(world.model)
    world.reset(scene)
    down = np.array(scene.joints)
    up = kinematics.inverse(np.array([0.45, 0.0, 0.17]))
    world.advance(down, STILL, 0.0, 0.4)
    assert 0.015 < world.joint_positions()[7] < 0.025  # stopped at the cube
    assert world.lifted() == ""
    for i in range(100):
        world.advance(down + (up - down) * (i + 1) / 100, (up - down), 0.0, 0.01)
    world.advance(up, STILL, 0.0, 2.0)
    assert world.lifted() == "red"
    assert world.object_positions()["red"][2] > 0.14  # nothing slipped in two seconds
    world.advance(up, STILL, 0.04, 0.6)
    assert world.lifted() == ""
    assert world.object_positions()["red"][2] < 0.05


def test_a_cube_high_up_but_not_in_the_hand_is_not_lifted(world: World) -> None:
    world.reset(scene_with_cube((0.6, 0.2, 0.4), (0.4, -0.1, 0.25)))
    assert world.lifted() == ""


def test_a_closing_gripper_meets_itself_without_a_cube(world: World) -> None:
    scene = sample_scene(3)
    world.reset(scene)
    world.advance(np.array(scene.joints), STILL, 0.0, 0.5)
    assert world.joint_positions()[7:].max() < 0.003


def test_reset_forgets_motion(world: World) -> None:
    world.reset(sample_scene(1))
    first = world.joint_positions().copy(), world.object_positions()
    world.advance(np.array(sample_scene(2).joints), STILL, 0.0, 0.5)
    world.reset(sample_scene(1))
    assert np.array_equal(world.joint_positions(), first[0])
    assert not world.joint_velocities().any()
    assert {c: tuple(p) for c, p in world.object_positions().items()} == {
        c: tuple(p) for c, p in first[1].items()
    }


def test_the_tool_pose_is_fresh_and_a_unit_quaternion(world: World) -> None:
    scene = sample_scene(4)
    world.reset(scene)
    goal = np.array(scene.joints) + 0.1
    world.advance(goal, STILL, 0.04, 0.5)
    position, rotation = Kinematics(world.model).forward(world.joint_positions()[:7])
    pose = world.tool_pose()
    assert np.allclose(pose[:3], position, atol=1e-9)
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, pose[[6, 3, 4, 5]])
    assert np.allclose(matrix.reshape(3, 3), rotation, atol=1e-6)


def test_joint_names_are_those_of_the_real_driver(world: World) -> None:
    assert world.joint_names[0] == "fr3_joint1"
    assert world.joint_names[7:] == ("fr3_finger_joint1", "fr3_finger_joint2")
    assert world.joint_positions().shape == world.joint_velocities().shape == (9,)


@pytest.mark.parametrize("dt", [0.0, -0.01, 0.003])
def test_odd_time_steps_are_refused(world: World, dt: float) -> None:
    with pytest.raises(SimulationError, match=str(TIME_STEP_S)):
        world.advance(STILL, STILL, 0.04, dt)


def test_unknown_cameras_are_refused(world: World) -> None:
    with pytest.raises(SimulationError, match="roof"):
        World({"roof": (64, 64)})
    with pytest.raises(SimulationError, match="third_view"):
        world.render("third_view")


def test_a_displaced_camera_sees_from_elsewhere_until_it_is_put_back() -> None:
    world = World({"third_view": (48, 48)}, "raycast")
    world.reset(sample_scene(0))
    before, index = world.render("third_view"), world.model.camera("third_view").id
    place = world.data.cam_xpos[index].copy()
    world.displace_camera("third_view", (0.0, 0.0, 0.05), (0.0, 0.0, 0.2))
    turned = world.render("third_view")
    assert np.linalg.norm(world.data.cam_xpos[index] - place) == pytest.approx(0.05)
    assert (turned != before).mean() > 0.05
    world.reset(sample_scene(0))
    np.testing.assert_array_equal(world.render("third_view"), turned)
    world.displace_camera("third_view", np.zeros(3), np.zeros(3))
    np.testing.assert_array_equal(world.render("third_view"), before)
    with pytest.raises(SimulationError, match="unknown camera 'gripper': allowed are third_view"):
        world.displace_camera("gripper", np.zeros(3), np.zeros(3))
    world.close()
