"""Scenes of the table with more than cubes. The seed alone says scene and task."""

from __future__ import annotations

import itertools
import math

import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.robot_models import FR3, RobotModel
from vla_adapter_ros.simulation.scene import Scene, sample_start, shaded
from vla_adapter_ros.simulation.tabletop_tasks import MOVABLE, Task, Verb, combinations, make_task
from vla_adapter_ros.simulation.things import BOWL_RGB, FORMS, Shape, Thing

HELD_OUT_SEEDS = range(950_000, 1_000_000)
"""Scenes of these seeds show combinations of verb, color and shape that no other scene does; in every second
one the object lies in `HELD_OUT_AREA`, where no object that is named lies in any other scene."""
HELD_OUT_AREA = ((0.54, 0.62), (0.06, 0.20))
_X, _Y = (0.36, 0.62), (-0.20, 0.20)  # of movable objects
_SIDE_X, _SIDE_Y = (0.42, 0.56), 0.29  # of bowl, plate and zone: beside them, at the left or the right
_APART_M = 0.085  # centers of objects
_CLEAR_M = 0.125  # an object's center from that of a bowl, a plate or a zone
_CORRIDOR_M = 0.07  # an object's center from the way of one that is pushed
_BEHIND_M = 0.09  # so far behind it, that way begins
_MOST_TRIES = 1000


def sample_tabletop(seed: int, robot: RobotModel = FR3) -> Scene:
    """A random scene with its task; the verbs come in turn.

    Three to five movable objects, of which in half of the scenes at least one shares the color or the shape
    of the named one; and two of bowl, plate and zone.

    Args:
        seed: Any non-negative whole number; see `HELD_OUT_SEEDS`.
        robot: The robot that stands at the table.

    Raises:
        SimulationError: a negative seed.
    """
    if seed < 0:
        raise SimulationError(f"scene seed {seed}: allowed are whole numbers from 0")
    rng = np.random.default_rng([seed, 2])
    verb = list(Verb)[seed % len(Verb)]
    joints, shade = sample_start(rng, robot), float(rng.uniform(0.9, 1.1))
    kinds = _kinds(rng, verb, seed in HELD_OUT_SEEDS)
    sides = _sides(rng, verb)
    in_area = seed in HELD_OUT_SEEDS and seed // len(Verb) % 2 == 1
    zone = np.array(sides[0].position[:2]) if verb is Verb.PUSH else None
    objects = _lay(rng, kinds, sides, zone, None if seed in HELD_OUT_SEEDS and not in_area else in_area)
    task = _task(rng, verb, objects, sides)
    order = rng.permutation(len(objects))
    things = (*(objects[i] for i in order), *sides)
    return Scene(seed, things, joints, robot.grippers[0].open_position, shade, task)


def _kinds(rng: np.random.Generator, verb: Verb, held_out: bool) -> list[tuple[str, Shape]]:
    """Colors and shapes of the objects, that of the named one first; of a stack the lower one second."""
    known = combinations(verb, held_out)
    kinds = [known[int(rng.integers(len(known)))]]
    every = list(itertools.product(COLORS, MOVABLE))
    if verb is Verb.STACK:
        flat = [kind for kind in every if FORMS[kind[1]].stackable and kind not in kinds]
        kinds.append(flat[rng.integers(len(flat))])
    count = int(rng.integers(3, 6))
    if rng.random() < 0.5:
        (color, shape), alike = kinds[0], [kind for kind in every if kind not in kinds]
        alike = [kind for kind in alike if color == kind[0] or shape == kind[1]]
        kinds.append(alike[rng.integers(len(alike))])
    while len(kinds) < count:
        kind = every[rng.integers(len(every))]
        if kind not in kinds:
            kinds.append(kind)
    return kinds


def _sides(rng: np.random.Generator, verb: Verb) -> list[Thing]:
    """Two of bowl, plate and zone, one at each side; where the verb needs one, it is the first."""
    fixed = [Shape.BOWL, Shape.PLATE, Shape.ZONE]
    needed = {Verb.PUT: fixed[:2], Verb.PUSH: fixed[2:]}.get(verb, fixed)
    first = needed[rng.integers(len(needed))]
    others = [shape for shape in fixed if shape is not first]
    side = rng.choice([-1.0, 1.0])
    found = []
    for shape in (first, others[rng.integers(len(others))]):
        place = float(rng.uniform(*_SIDE_X)), side * _SIDE_Y, FORMS[shape].half[2]
        color = str(rng.choice(list(COLORS)))
        name = str(shape) if shape is Shape.BOWL else f"{color} {shape}"
        rgb = shaded(rng, BOWL_RGB if shape is Shape.BOWL else COLORS[color])
        found.append(Thing(name, shape, place, 0.0, rgb))
        side = -side
    return found


def _lay(
    rng: np.random.Generator,
    kinds: list[tuple[str, Shape]],
    sides: list[Thing],
    zone: np.ndarray | None,
    in_area: bool | None,
) -> list[Thing]:
    """Objects where there is room; the first in `HELD_OUT_AREA`, not in it, or wherever (None).

    None lies in the way from the first to `zone` (2,) [m], if there is one.
    """
    while True:
        centers: list[np.ndarray] = []
        for _ in range(_MOST_TRIES):
            center = np.array([rng.uniform(*_X), rng.uniform(*_Y)])
            if not centers and in_area is not None and _in_area(center) != in_area:
                continue
            clear = all(np.linalg.norm(center - thing.position[:2]) >= _CLEAR_M for thing in sides)
            if zone is not None and centers:
                clear = clear and _beside(center, centers[0], zone) >= _CORRIDOR_M
            if clear and all(np.linalg.norm(center - other) >= _APART_M for other in centers):
                centers.append(center)
            if len(centers) == len(kinds):
                return [_object(rng, *kind, center) for kind, center in zip(kinds, centers, strict=True)]


def _beside(center: np.ndarray, first: np.ndarray, zone: np.ndarray) -> float:
    """How far a place is from the way on which something is pushed [m]; all are (2,) [m]."""
    way = zone - first
    begin = first - _BEHIND_M * way / np.linalg.norm(way)
    share = np.clip((center - begin) @ (zone - begin) / ((zone - begin) @ (zone - begin)), 0.0, 1.0)
    return float(np.linalg.norm(center - begin - share * (zone - begin)))


def _in_area(center: np.ndarray) -> bool:
    return all(low <= value <= high for value, (low, high) in zip(center, HELD_OUT_AREA, strict=True))


def _object(rng: np.random.Generator, color: str, shape: Shape, center: np.ndarray) -> Thing:
    place = float(center[0]), float(center[1]), FORMS[shape].half[2]
    yaw = float(rng.uniform(-math.pi, math.pi))
    return Thing(f"{color} {shape}", shape, place, yaw, shaded(rng, COLORS[color]))


def _task(rng: np.random.Generator, verb: Verb, objects: list[Thing], sides: list[Thing]) -> Task:
    place = {Verb.PUT: sides[0], Verb.PUSH: sides[0], Verb.STACK: objects[1], Verb.PICK: None}[verb]
    return make_task(verb, objects[0], place, int(rng.integers(1_000)))
