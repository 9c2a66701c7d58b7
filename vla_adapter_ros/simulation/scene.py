"""Scenes: what stands where, and how the arm stands. A seed gives the same scene everywhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.mjcf import build_model
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics
from vla_adapter_ros.simulation.robot_models import FR3, ArmModel, RobotModel, TaskArea
from vla_adapter_ros.simulation.tabletop_tasks import Task
from vla_adapter_ros.simulation.things import MOST_CUBES, Shape, Thing

CUBE_YAW_RAD = 0.3


@dataclass(frozen=True)
class Scene:
    """Everything a world starts from.

    Attributes:
        seed: What it was sampled from.
        things: What stands on the table.
        joints: Of all arms (J,) [rad].
        finger: Position of every gripper's joint [m or rad].
        table_shade: Factor on the table's color.
        task: What it asks for; None: that is not for the scene to say.
    """

    seed: int
    things: tuple[Thing, ...]
    joints: tuple[float, ...]
    finger: float = FR3.grippers[0].open_position
    table_shade: float = 1.0
    task: Task | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the things, in order; of cubes their colors."""
        return tuple(thing.name for thing in self.things)


@functools.lru_cache(maxsize=4)
def _kinematics(robot: RobotModel, arm: ArmModel) -> Kinematics:
    return Kinematics(build_model(robot), arm)


def check_colors(objects: Sequence[str]) -> tuple[str, ...]:
    """The colors as a tuple.

    Raises:
        SimulationError: an unknown color, one named twice, or too many.
    """
    unknown = [color for color in objects if color not in COLORS]
    if unknown:
        raise SimulationError(f"unknown colors {unknown}: allowed are {', '.join(COLORS)}")
    if len(set(objects)) != len(objects) or len(objects) > MOST_CUBES:
        raise SimulationError(
            f"objects {list(objects)}: allowed is each color once, at most {MOST_CUBES} cubes"
        )
    return tuple(objects)


def sample_cubes(
    rng: np.random.Generator, objects: Sequence[str] = (), area: TaskArea = FR3.area
) -> tuple[Thing, ...]:
    """Cubes at random poses on the table, at least `area.cube_distance` apart.

    Args:
        rng: Source of chance.
        objects: Colors to use; empty: three colors drawn by chance.
        area: Where they may lie.

    Raises:
        SimulationError: an unknown color, one named twice, or too many.
    """
    colors = check_colors(objects) or tuple(str(c) for c in rng.permutation(list(COLORS))[:3])
    centers: list[np.ndarray] = []
    while len(centers) < len(colors):
        center = np.array([rng.uniform(*area.cube_x), rng.uniform(*area.cube_y)])
        if all(np.linalg.norm(center - other) >= area.cube_distance for other in centers):
            centers.append(center)
        elif rng.random() < 0.01:
            centers.clear()  # four cubes can lie so that no room is left: begin anew
    return tuple(
        Thing(
            color,
            Shape.CUBE,
            (float(center[0]), float(center[1]), area.rest_height),
            float(rng.uniform(-CUBE_YAW_RAD, CUBE_YAW_RAD)),
            shaded(rng, COLORS[color]),
        )
        for color, center in zip(colors, centers, strict=True)
    )


def sample_scene(seed: int, objects: Sequence[str] = (), robot: RobotModel = FR3) -> Scene:
    """A random scene; the same arguments always give the same one.

    Args:
        seed: Any non-negative whole number.
        objects: Colors of the cubes; empty: three, chosen by the seed.
        robot: The robot that stands at the table.

    Raises:
        SimulationError: an unknown color, one named twice, or too many; a negative seed.
    """
    if seed < 0:
        raise SimulationError(f"scene seed {seed}: allowed are whole numbers from 0")
    rng = np.random.default_rng(seed)
    joints = sample_start(rng, robot)
    table_shade = float(rng.uniform(0.9, 1.1))
    cubes = sample_cubes(rng, objects, robot.area)
    return Scene(seed, cubes, joints, robot.grippers[0].open_position, table_shade)


def sample_start(rng: np.random.Generator, robot: RobotModel) -> tuple[float, ...]:
    """Joints of all arms (J,) [rad] that bring their tools to random places above the table."""
    area, joints = robot.area, []
    for arm in robot.arms:
        at = rng.uniform(*area.start_x), rng.uniform(*area.start_y), rng.uniform(*area.start_z)
        tool = np.array([arm.base[0] + at[0], arm.base[1] + at[1], at[2]])
        joints.append(_kinematics(robot, arm).inverse(tool))
    return tuple(np.concatenate(joints).tolist())


def shaded(rng: np.random.Generator, rgb: tuple[float, float, float]) -> tuple[float, float, float]:
    """A color as another batch of paint and light would give it: up to 9 % gain, 0.03 per channel."""
    shade = np.asarray(rgb) * rng.uniform(0.91, 1.09) + rng.uniform(-0.03, 0.03, 3)
    red, green, blue = np.clip(shade, 0.0, 1.0).tolist()
    return red, green, blue
