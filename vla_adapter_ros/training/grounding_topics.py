"""What a backbone is grounded in: the things of a table, scenes with them, and sentences about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from vla_adapter_ros.choices import Table
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.model.config_parts import StemConfig
from vla_adapter_ros.model.tokenizer import TINY_WORDS
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.cube_instructions import INSTRUCTIONS, cube_instruction
from vla_adapter_ros.simulation.mujoco_kinematics import DOWN, Kinematics
from vla_adapter_ros.simulation.robot_models import FR3
from vla_adapter_ros.simulation.scene import Scene, sample_cubes
from vla_adapter_ros.simulation.tabletop_scene import sample_tabletop
from vla_adapter_ros.simulation.tabletop_tasks import MOVABLE, SENTENCES, Verb, is_held_out, make_task
from vla_adapter_ros.simulation.things import FORMS, Shape, Thing

_FINGER_OPEN_M = FR3.grippers[0].open_position
_HELD, _NEAR = 0.25, 0.4  # fraction of scenes with a thing in the hand, and with the hand at a thing
_MOST_TRIES = 100
_THERE = 0.15  # with a thing where a task would bring it
_LOW_M = 0.07  # below this the fingers reach between things
_TABLETOP_SEED = 2_000_000  # scenes of the tabletop from here on are seen by no demonstration and no suite


class Asked(NamedTuple):
    """A sentence about a scene, and what it names."""

    text: str
    target: int
    """Kind of the object."""
    place: int = -1
    """Kind of where it goes; -1: nowhere."""


class Topic(Protocol):
    """A table whose things and sentences a backbone learns."""

    table: Table
    kinds: tuple[str, ...]
    """Names of all things that can be there (K,)."""
    words: tuple[str, ...]
    """What its tokenizer knows."""
    stem: StemConfig

    def scene(self, seed: int, kinematics: Kinematics) -> Scene:
        """A scene as it can occur while a task is done: any arm pose, a thing perhaps in the hand."""

    def ask(self, rng: np.random.Generator, present: np.ndarray) -> Asked | None:
        """A sentence about what is there, bool (K,); None: nothing is there that one could be about."""


class CubeTopic:
    """Colored cubes, called by their colors."""

    table = Table.CUBES
    kinds = tuple(COLORS)
    words = TINY_WORDS
    stem = StemConfig()

    def scene(self, seed: int, kinematics: Kinematics) -> Scene:
        """Cubes, one of them perhaps in the hand."""
        rng = np.random.default_rng([seed, 1])  # apart from the seeds of the task's own scenes
        while True:
            cubes, tool, finger = _draw_cubes_and_hand(rng)
            rotation = _about(rng.normal(0.0, 0.03, 3)) @ DOWN
            try:
                joints = kinematics.inverse(tool, rotation)
            except SimulationError:
                continue  # a tilted hand low and close to the base is out of reach; one in 600
            order = rng.permutation(len(cubes))
            shade = float(rng.uniform(0.9, 1.1))
            return Scene(seed, tuple(cubes[i] for i in order), tuple(joints.tolist()), finger, shade)

    def ask(self, rng: np.random.Generator, present: np.ndarray) -> Asked | None:
        """To pick one of the cubes up."""
        if not present.any():
            return None
        target = int(rng.choice(np.flatnonzero(present)))
        return Asked(cube_instruction(self.kinds[target], int(rng.integers(len(INSTRUCTIONS)))), target)


class TabletopTopic:
    """Objects by color and shape, and where they are put, pushed or stacked."""

    table = Table.TABLETOP
    objects = tuple(f"{color} {shape}" for color in COLORS for shape in MOVABLE)
    kinds = (
        *objects,
        "bowl",
        *(f"{color} {shape}" for shape in (Shape.PLATE, Shape.ZONE) for color in COLORS),
    )
    words = (*TINY_WORDS, *kinds, *(sentence for sentences in SENTENCES.values() for sentence in sentences))
    # Pictures twice as fine as the tiny model's: shapes are told apart. As many patches.
    stem = StemConfig(image_size=112, channels=(24, 32, 48, 64, 96), strides=(2, 2, 2, 1, 2))

    def scene(self, seed: int, kinematics: Kinematics) -> Scene:
        """A scene of the tabletop, in the midst of a task."""
        scene = sample_tabletop(_TABLETOP_SEED + seed)
        rng = np.random.default_rng([seed, 5])
        while True:
            things, tool, yaw, finger = _draw_hand(rng, list(scene.things))
            turn = np.array(
                [[math.cos(yaw), -math.sin(yaw), 0.0], [math.sin(yaw), math.cos(yaw), 0.0], [0, 0, 1]]
            )
            try:
                joints = kinematics.inverse(tool, turn @ _about(rng.normal(0.0, 0.03, 3)) @ DOWN)
            except SimulationError:
                continue
            return replace(scene, things=tuple(things), joints=tuple(joints.tolist()), finger=finger)

    def ask(self, rng: np.random.Generator, present: np.ndarray) -> Asked | None:
        """To do something with one of the objects that is not held out."""
        if not present[: len(self.objects)].any():
            return None
        for _ in range(_MOST_TRIES):
            verb = list(Verb)[rng.integers(len(Verb))]
            target = int(rng.choice(np.flatnonzero(present[: len(self.objects)])))
            color, shape = self.kinds[target].split()
            places = [k for k in np.flatnonzero(present) if k != target and self._takes(verb, int(k))]
            if is_held_out(verb, color, Shape(shape)) or (verb is not Verb.PICK and not places):
                continue
            if verb is Verb.STACK and not FORMS[Shape(shape)].stackable:
                continue
            place = -1 if verb is Verb.PICK else int(rng.choice(places))
            task = make_task(
                verb, self._thing(target), None if place < 0 else self._thing(place), int(rng.integers(100))
            )
            return Asked(task.instruction, target, place)
        return None

    def _takes(self, verb: Verb, kind: int) -> bool:
        shape = self._shape(kind)
        if verb is Verb.STACK:
            return FORMS[shape].stackable
        return shape in {Verb.PUT: (Shape.BOWL, Shape.PLATE), Verb.PUSH: (Shape.ZONE,)}.get(verb, ())

    def _shape(self, kind: int) -> Shape:
        return Shape(self.kinds[kind].split()[-1])

    def _thing(self, kind: int) -> Thing:
        return Thing(self.kinds[kind], self._shape(kind), (0.0, 0.0, 0.0), 0.0, (0.0, 0.0, 0.0))


TOPICS: dict[Table, Topic] = {Table.CUBES: CubeTopic(), Table.TABLETOP: TabletopTopic()}


def _draw_cubes_and_hand(rng: np.random.Generator) -> tuple[list[Thing], np.ndarray, float]:
    """Cubes, tool point (3,) [m] and finger position [m]."""
    cubes = list(sample_cubes(rng))
    rest = FR3.area.rest_height
    draw = rng.random()
    finger = float(rng.choice([_FINGER_OPEN_M, _FINGER_OPEN_M, 0.0])) * float(rng.uniform(0.9, 1.0))
    tool = np.array([rng.uniform(0.32, 0.66), rng.uniform(-0.25, 0.25), rng.uniform(0.1, 0.32)])
    if draw < _HELD:
        held = cubes[0]
        tool = np.array([*tool[:2], rest + rng.uniform(0.0, 0.2) * (rng.random() < 0.8)])
        center = tool + rng.normal(0.0, 0.004, 3)
        center[2] = max(center[2], rest)
        cubes[0] = replace(held, position=tuple(center.tolist()), yaw=float(rng.normal(0.0, 0.05)))
        finger = FR3.area.cube_side / 2
        cubes = [cubes[0], *(cube for cube in cubes[1:] if not _collides(tool, cube))]
    elif draw < _HELD + _NEAR:
        near = np.asarray(cubes[0].position)
        height = rng.uniform(rest, 0.16)
        tool = np.array([*(near[:2] + rng.normal(0.0, 0.1 * height + 0.003, 2)), height])
        if any(_collides(tool, cube) for cube in cubes[1:]):
            tool[2] = rng.uniform(0.08, 0.16)
        finger = _FINGER_OPEN_M
    return cubes, tool, finger


def _draw_hand(rng: np.random.Generator, things: list[Thing]) -> tuple[list[Thing], np.ndarray, float, float]:
    """Things, one of them perhaps held or where it goes; tool (3,) [m], its turn [rad], finger [m]."""
    movable = [n for n, thing in enumerate(things) if thing.form.movable]
    chosen = movable[rng.integers(len(movable))]
    thing, draw = things[chosen], rng.random()
    tool = np.array([rng.uniform(0.32, 0.66), rng.uniform(-0.32, 0.32), rng.uniform(0.1, 0.32)])
    yaw, finger = float(rng.uniform(-1.6, 1.6)), float(rng.choice([_FINGER_OPEN_M, 0.0]))
    half = thing.form.half
    if draw < _HELD:
        tool[2] = half[2] + rng.uniform(0.0, 0.2) * (rng.random() < 0.85)
        center = tool + rng.normal(0.0, 0.004, 3)
        center[2] = max(center[2], half[2])
        things[chosen] = replace(thing, position=tuple(center.tolist()), yaw=yaw)
        finger = min(half[1], _FINGER_OPEN_M)
        things = [
            t for n, t in enumerate(things) if n == chosen or not (t.form.movable and _collides(tool, t))
        ]
    elif draw < _HELD + _NEAR:
        height = float(rng.uniform(half[2], 0.16))
        tool = np.array([*(np.array(thing.position[:2]) + rng.normal(0.0, 0.1 * height + 0.003, 2)), height])
        yaw = (
            math.remainder(thing.yaw, math.pi / 2)
            if half[0] == half[1]
            else math.remainder(thing.yaw, math.pi)
        )
        if any(_collides(tool, other) for n, other in enumerate(things) if n != chosen):
            tool[2] = rng.uniform(0.08, 0.16)
        finger = _FINGER_OPEN_M
    elif draw < _HELD + _NEAR + _THERE:
        places = [t for n, t in enumerate(things) if n != chosen and (not t.form.movable or t.form.stackable)]
        place = places[rng.integers(len(places))]
        on = place.position[2] + (-1.0 if place.shape is Shape.BOWL else 1.0) * place.form.half[2]
        at = np.array(place.position[:2]) + rng.normal(0.0, 0.008, 2)
        things[chosen] = replace(thing, position=(float(at[0]), float(at[1]), on + half[2] + 0.003))
        tool[2] = rng.uniform(0.12, 0.32)
    return things, tool, yaw, finger


def _collides(tool: np.ndarray, thing: Thing) -> bool:
    """Whether the hand at `tool` would stand in a thing that it does not hold."""
    distance = np.abs(np.asarray(thing.position)[:2] - tool[:2])
    return bool(tool[2] < _LOW_M and distance[0] < 0.045 and distance[1] < 0.09)


def _about(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) of a rotation vector [rad]; Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def things_of(topic: Topic, scene: Scene) -> Sequence[tuple[int, Thing]]:
    """Kind and thing of everything in a scene."""
    return [(topic.kinds.index(thing.name), thing) for thing in scene.things]
