"""The bodies of what can stand on the table."""

from __future__ import annotations

import math

import mujoco
import numpy as np

from vla_adapter_ros.choices import Table
from vla_adapter_ros.simulation.meshes import DRAWN_GROUP
from vla_adapter_ros.simulation.things import BOWL_WALL_M, FORMS, MOST_CUBES, ROOM, Shape

MASS_KG = 0.05
_FRICTION = (1.2, 0.005, 0.0001)  # of cubes alone
_RUBBER = (1.8, 0.03, 0.003)  # of all others: what is round would turn and roll between two fingers
_TABLE_FRICTION = (0.5, 0.005, 0.0001)  # of a table with more than cubes: what is pushed slides
_BOWL_SIDES = 16
_PRISM, _PRISM_SIDES = "prism", 8
_GRAY = (0.5, 0.5, 0.5, 1.0)


def body_name(shape: Shape, number: int) -> str:
    """Of a thing's body, joint and, but for a bowl, geom."""
    return f"{shape}{number}"


def add_cubes(spec: mujoco.MjSpec, side: float) -> None:
    """Add cubes out of sight: they lie on the floor, apart from each other."""
    for i in range(MOST_CUBES):
        body = spec.worldbody.add_body(name=body_name(Shape.CUBE, i), pos=[-3.0, -2.0 + i, -0.48])
        body.add_freejoint(name=body.name)
        _add_geom(body, mujoco.mjtGeom.mjGEOM_BOX, [side / 2] * 3, rubber=False)


def add_things(spec: mujoco.MjSpec, table: Table) -> None:
    """Add all that a table may be laid with, out of sight, and let what is pushed slide on it."""
    top = spec.geom("table")
    top.priority, top.friction = 1, list(_TABLE_FRICTION)
    for row, (shape, count) in enumerate(ROOM[table].items()):
        for i in range(count):
            place = [-3.0 - 0.3 * row, -2.0 + i, -0.3]
            body = spec.worldbody.add_body(name=body_name(shape, i), pos=place)
            form = FORMS[shape]
            if form.movable:
                body.add_freejoint(name=body.name)
            if shape is Shape.BOWL:
                _add_bowl(body, *form.half[1:])
            elif shape is Shape.CYLINDER:
                _add_prism(spec, body, form.half[0], form.half[2])
            elif shape is Shape.PLATE:
                _add_geom(body, mujoco.mjtGeom.mjGEOM_CYLINDER, [form.half[0], form.half[2], 0.0])
            else:
                _add_geom(body, mujoco.mjtGeom.mjGEOM_BOX, list(form.half), solid=shape is not Shape.ZONE)


def _add_geom(
    body: mujoco.MjsBody, kind: mujoco.mjtGeom, size: list[float], solid: bool = True, rubber: bool = True
) -> None:
    friction, condim = (_RUBBER, 6) if rubber else (_FRICTION, 4)
    geom = body.add_geom(
        name=body.name, type=kind, size=size, mass=MASS_KG, friction=list(friction), condim=condim,
        group=DRAWN_GROUP, rgba=list(_GRAY),
    )  # fmt: skip
    if not solid:
        geom.contype = geom.conaffinity = 0


def _add_prism(spec: mujoco.MjSpec, body: mujoco.MjsBody, radius: float, half_height: float) -> None:
    """A cylinder with flat sides: a round one creeps out between two fingers."""
    if not any(mesh.name == _PRISM for mesh in spec.meshes):
        angles = 2.0 * np.pi * (np.arange(_PRISM_SIDES) + 0.5) / _PRISM_SIDES
        corner = radius / math.cos(math.pi / _PRISM_SIDES)
        ring = np.column_stack([corner * np.cos(angles), corner * np.sin(angles)])
        points = np.vstack(
            [np.column_stack([ring, np.full(len(ring), z)]) for z in (-half_height, half_height)]
        )
        spec.add_mesh(name=_PRISM, uservert=points.reshape(-1).tolist())
    _add_geom(body, mujoco.mjtGeom.mjGEOM_MESH, [0.0, 0.0, 0.0])
    body.first_geom().meshname = _PRISM


def _add_bowl(body: mujoco.MjsBody, radius: float, half_height: float) -> None:
    """A flat bottom, and a wall of upright slabs."""
    common = {"group": DRAWN_GROUP, "rgba": list(_GRAY), "friction": list(_RUBBER), "condim": 6}
    bottom = mujoco.mjtGeom.mjGEOM_CYLINDER
    body.add_geom(
        type=bottom,
        size=[radius, BOWL_WALL_M / 2, 0.0],
        pos=[0.0, 0.0, BOWL_WALL_M / 2 - half_height],
        **common,
    )
    width = radius * math.tan(math.pi / _BOWL_SIDES)
    for angle in 2.0 * np.pi * np.arange(_BOWL_SIDES) / _BOWL_SIDES:
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[BOWL_WALL_M / 2, width, half_height],
            pos=[
                (radius - BOWL_WALL_M / 2) * math.cos(angle),
                (radius - BOWL_WALL_M / 2) * math.sin(angle),
                0.0,
            ],
            quat=[math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)],
            **common,
        )
