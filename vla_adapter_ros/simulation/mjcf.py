"""A simulated robot and its table as one MuJoCo model. Table, light, things on it and cameras are ours."""

from __future__ import annotations

import copy
import functools

import mujoco
import numpy as np

from vla_adapter_ros.choices import Table
from vla_adapter_ros.simulation.meshes import DRAWN_GROUP, LOADERS
from vla_adapter_ros.simulation.robot_models import FR3, Point, RobotModel
from vla_adapter_ros.simulation.thing_bodies import add_cubes, add_things

TIME_STEP_S = 0.002

# One directional light without shadow or gloss, plus ambient light. The ray-cast renderer
# repeats exactly this, so keep the two in step by reading these constants only.
AMBIENT = 0.45
DIFFUSE = 0.55
LIGHT_DIRECTION = (-0.35, -0.25, -0.9)
BACKGROUND = (0.0, 0.0, 0.0)
TABLE_RGB = (0.62, 0.58, 0.52)
FLOOR_RGB = (0.35, 0.36, 0.38)


@functools.lru_cache(maxsize=4)
def _compiled(robot: RobotModel, table: Table) -> mujoco.MjModel:
    spec = _arms(robot)
    for body in spec.bodies:
        if body.name != "world":
            body.gravcomp = 1.0  # the real arm compensates its own weight, too
    _add_surroundings(spec)
    if table is Table.CUBES:
        add_cubes(spec, robot.area.cube_side)
    else:
        add_things(spec, table)
    _add_tools_and_cameras(spec, robot)
    spec.option.timestep = TIME_STEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 5.0
    spec.visual.quality.offsamples = 0  # one sample per pixel, as the ray-cast renderer has
    spec.visual.headlight.active = 1
    spec.visual.headlight.ambient = [AMBIENT] * 3
    spec.visual.headlight.diffuse = [0.0] * 3
    spec.visual.headlight.specular = [0.0] * 3
    spec.stat.extent = 1.0  # of the workspace, so that znear and zfar are plain meters
    spec.visual.map.znear = 0.005  # the hand is close to its camera
    spec.visual.map.zfar = 20.0
    return spec.compile()


def build_model(robot: RobotModel = FR3, table: Table = Table.CUBES) -> mujoco.MjModel:
    """A fresh model of a robot, a table with what it is laid with, and the robot's cameras.

    Each call returns a copy of its own, since colors are written into the model.

    Raises:
        SimulationError: the wheel with the meshes is not installed.
    """
    return copy.deepcopy(_compiled(robot, table))


def _arms(robot: RobotModel) -> mujoco.MjSpec:
    load = LOADERS[robot.source]
    if len(robot.arms) == 1:
        return load()
    spec = mujoco.MjSpec()
    for arm in robot.arms:
        child = load()
        for key in list(child.keys):
            child.delete(key)  # it knows the joints of one arm
        child.option.cone, child.option.impratio = spec.option.cone, spec.option.impratio
        spec.option.integrator = child.option.integrator
        frame = spec.worldbody.add_frame(pos=[*arm.base, 0.0])
        spec.attach(child, prefix=arm.prefix, frame=frame)
    return spec


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    common = {"type": mujoco.mjtGeom.mjGEOM_BOX, "group": DRAWN_GROUP}
    world.add_geom(
        name="table", size=[0.62, 0.55, 0.02], pos=[0.5, 0.0, -0.02], rgba=[*TABLE_RGB, 1.0], **common
    )
    world.add_geom(
        name="floor", size=[4.0, 4.0, 0.05], pos=[0.0, 0.0, -0.55], rgba=[*FLOOR_RGB, 1.0], **common
    )
    for light in list(spec.lights):
        spec.delete(light)
    world.add_light(
        name="lamp",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.5, 0.0, 2.0],
        dir=list(LIGHT_DIRECTION),
        castshadow=False,
        ambient=[0.0] * 3,
        diffuse=[DIFFUSE] * 3,
        specular=[0.0] * 3,
    )


def _add_tools_and_cameras(spec: mujoco.MjSpec, robot: RobotModel) -> None:
    for arm in robot.arms:
        spec.body(arm.tool_body).add_site(
            name=arm.tool, pos=list(arm.tool_point), quat=list(arm.tool_rotation)
        )
    for name, view in robot.cameras:
        body = spec.body(view.body) if view.body else spec.worldbody
        body.add_camera(
            name=name,
            pos=list(view.position),
            quat=_looking(view.position, view.target, view.up),
            fovy=view.fovy,
        )


def _looking(position: Point, target: Point, up: Point) -> np.ndarray:
    """Quaternion wxyz of a camera (x right, y up, looking along -z) at `position` that looks at `target`."""
    back = np.subtract(position, target)
    back = back / np.linalg.norm(back)
    right = np.cross(up, back)
    right = right / np.linalg.norm(right)
    matrix = np.column_stack([right, np.cross(back, right), back])
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, matrix.reshape(-1))
    return quaternion
