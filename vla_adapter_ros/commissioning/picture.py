"""A picture of a robot from its URDF: with its meshes where they can be read, else as a skeleton."""

from __future__ import annotations

import importlib.util
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import SimulationError

WIDTH, HEIGHT = 560, 420  # [px]
_READABLE = (".stl", ".obj")  # MuJoCo reads no Collada
_VIEW = np.array([1.0, 0.75, 0.55])  # from the robot's middle to the camera
_FOVY = 35.0  # [degrees]
_ROOM = 1.05  # around the robot, as a factor on the distance
_BACKGROUND = 250
_BONE = 0.03  # radius of a skeleton's bones, as a fraction of the robot's extent


def draw_urdf(text: str, folder: Path | None = None) -> tuple[np.ndarray, str]:
    """Draw a robot with its joints in the middle of their ranges.

    Args:
        text: The URDF.
        folder: Where relative names of meshes lie; None: they cannot be found.

    Returns:
        uint8 (H, W, 3) RGB, and what is to be said of it: which meshes are missing.

    Raises:
        SimulationError: mujoco is not installed, or cannot read the URDF.
    """
    try:
        import mujoco
    except ImportError as error:
        raise SimulationError("a picture needs mujoco: pip install mujoco") from error
    from vla_adapter_ros.simulation.meshes import DRAWN_GROUP
    from vla_adapter_ros.simulation.render import RayCastRenderer

    readable, missing = _with_absolute_meshes(text, folder)
    try:
        spec = mujoco.MjSpec.from_string(readable)
        if missing or not any(body.geoms for body in spec.bodies):
            _add_bones(mujoco, spec)
        for number, body in enumerate(spec.bodies):
            shade = 0.55 + 0.3 * (number % 2)
            for geom in body.geoms:
                geom.group, geom.rgba = DRAWN_GROUP, [shade, shade, min(shade + 0.08, 1.0), 1.0]
        camera = spec.worldbody.add_camera(name="portrait", fovy=_FOVY)
        _aim(spec, camera)
        model = spec.compile()
        data = mujoco.MjData(model)
        data.qpos[:] = _middle(model)
        mujoco.mj_forward(model, data)
        image, geoms = RayCastRenderer(model, WIDTH, HEIGHT).render_with_geoms(data, "portrait")
    except (ValueError, RuntimeError, mujoco.FatalError) as error:
        raise SimulationError(f"the URDF cannot be drawn: {' '.join(str(error).split())[:200]}") from error
    image[geoms < 0] = _BACKGROUND
    said = f"without {len(missing)} meshes that are not here, such as {missing[0]}" if missing else ""
    return image, said


def _with_absolute_meshes(text: str, folder: Path | None) -> tuple[str, list[str]]:
    """The URDF for MuJoCo, with paths of meshes that are here, and the names of those that are not."""
    robot = ElementTree.fromstring(text)
    missing: list[str] = []
    for link in robot.findall("link"):
        _set_mass(link)
        drawn = 0
        for kind in ("collision", "visual"):  # hulls first: they are simple, and no Collada
            for part in link.findall(kind):
                mesh = part.find("geometry/mesh")
                path = _mesh_path(mesh.get("filename", ""), folder) if mesh is not None else None
                if mesh is not None and path is not None:
                    mesh.set("filename", str(path))
                if (mesh is not None and path is None) or (kind == "visual" and drawn):
                    link.remove(part)
                    if mesh is not None and path is None and kind == "collision":
                        missing.append(Path(mesh.get("filename", "")).name)
                else:
                    drawn += 1
    options = ElementTree.SubElement(robot, "mujoco")
    settings = dict.fromkeys(("strippath", "discardvisual", "fusestatic"), "false")
    ElementTree.SubElement(options, "compiler", settings)
    return ElementTree.tostring(robot, encoding="unicode"), missing


def _set_mass(link: ElementTree.Element) -> None:
    """Give a link the same mass as all others: it may have none, and for a picture it does not matter."""
    for inertial in link.findall("inertial"):
        link.remove(inertial)
    inertial = ElementTree.SubElement(link, "inertial")
    ElementTree.SubElement(inertial, "mass", value="1")
    around = dict.fromkeys(("ixx", "iyy", "izz"), "1") | dict.fromkeys(("ixy", "ixz", "iyz"), "0")
    ElementTree.SubElement(inertial, "inertia", around)


def _mesh_path(name: str, folder: Path | None) -> Path | None:
    """The file of a mesh, in a form that can be read; None if it is not here."""
    if name.startswith("package://"):
        package, _, inside = name.removeprefix("package://").partition("/")
        places = [
            Path(p) / "share" / package for p in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if p
        ]
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        places += [Path(p) for p in (found.submodule_search_locations or ())] if found else []
        candidates = [place / inside for place in places]
    else:
        plain = Path(name.removeprefix("file://"))
        candidates = [plain] if plain.is_absolute() else [folder / plain] if folder is not None else []
    for candidate in candidates:
        for ending in (candidate.suffix.lower(), *_READABLE):
            if ending in _READABLE and candidate.with_suffix(ending).is_file():
                return candidate.with_suffix(ending).resolve()
    return None


def _add_bones(mujoco: Any, spec: Any) -> None:
    """A bone from every link to each of its children."""
    bodies = list(spec.bodies)
    extent = max(sum(float(np.linalg.norm(body.pos)) for body in bodies), 0.1)
    capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
    for body in bodies:
        if body.parent is not None and float(np.linalg.norm(body.pos)) > 1e-4:
            ends = [0.0, 0.0, 0.0, *body.pos]
            body.parent.add_geom(type=capsule, fromto=ends, size=[_BONE * extent / 2, 0.0, 0.0])


def _middle(model: Any) -> np.ndarray:
    """Positions of all joints in the middle of their ranges; 0 where there is none."""
    position = np.array(model.qpos0)
    for joint in range(model.njnt):
        if model.jnt_limited[joint]:
            position[model.jnt_qposadr[joint]] = model.jnt_range[joint].mean()
    return position


def _aim(spec: Any, camera: Any) -> None:
    """Let the camera see the whole robot."""
    import mujoco

    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[:] = _middle(model)
    mujoco.mj_forward(model, data)
    radius, places = model.geom_rbound, data.geom_xpos
    center = ((places - radius[:, None]).min(axis=0) + (places + radius[:, None]).max(axis=0)) / 2
    away = _VIEW / np.linalg.norm(_VIEW)
    right = np.cross([0.0, 0.0, 1.0], away)
    right /= np.linalg.norm(right)
    up, half = np.cross(away, right), np.tan(np.radians(_FOVY / 2))
    sideways, upwards = (np.abs((places - center) @ axis) + radius for axis in (right, up))
    needed = np.maximum(upwards / half, sideways / (half * WIDTH / HEIGHT)) + (places - center) @ away
    camera.pos = center + _ROOM * float(needed.max()) * away
    camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
    camera.alt.xyaxes = [*right, *up]
