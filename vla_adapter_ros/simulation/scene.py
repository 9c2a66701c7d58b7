"""Scenes: which cubes lie where, and how the arm stands. A seed gives the same scene everywhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.mjcf import CUBE_SIDE_M, FINGER_OPEN_M, MAX_CUBES, build_model
from vla_adapter_ros.simulation.mujoco_kinematics import Kinematics

CUBE_X_M = (0.36, 0.62)
CUBE_Y_M = (-0.20, 0.20)
CUBE_YAW_RAD = 0.3
CUBE_DISTANCE_M = 0.10  # at least, between centers
REST_HEIGHT_M = CUBE_SIDE_M / 2  # of a cube's center on the table
START_X_M = (0.35, 0.55)
START_Y_M = (-0.15, 0.15)
START_Z_M = (0.18, 0.30)


@dataclass(frozen=True)
class Cube:
    """A cube: its name, center (x, y, z) [m] in the base frame, turn about z [rad] and color in 0..1."""

    color: str
    position: tuple[float, float, float]
    yaw: float
    rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """Everything a world starts from: cubes, arm joints (7) [rad], finger position [m], table shade."""

    seed: int
    cubes: tuple[Cube, ...]
    joints: tuple[float, ...]
    finger: float = FINGER_OPEN_M
    table_shade: float = 1.0

    @property
    def colors(self) -> tuple[str, ...]:
        """Names of the cubes, in order."""
        return tuple(cube.color for cube in self.cubes)


@functools.lru_cache(maxsize=1)
def _kinematics() -> Kinematics:
    return Kinematics(build_model())


def check_colors(objects: Sequence[str]) -> tuple[str, ...]:
    """The colors as a tuple.

    Raises:
        SimulationError: an unknown color, one named twice, or too many.
    """
    unknown = [color for color in objects if color not in COLORS]
    if unknown:
        raise SimulationError(f"unknown colors {unknown}: allowed are {', '.join(COLORS)}")
    if len(set(objects)) != len(objects) or len(objects) > MAX_CUBES:
        raise SimulationError(
            f"objects {list(objects)}: allowed is each color once, at most {MAX_CUBES} cubes"
        )
    return tuple(objects)


def sample_cubes(rng: np.random.Generator, objects: Sequence[str] = ()) -> tuple[Cube, ...]:
    """Cubes at random poses on the table, at least `CUBE_DISTANCE_M` apart.

    Args:
        rng: Source of chance.
        objects: Colors to use; empty: three colors drawn by chance.

    Raises:
        SimulationError: an unknown color, one named twice, or too many.
    """
    colors = check_colors(objects) or tuple(str(c) for c in rng.permutation(list(COLORS))[:3])
    centers: list[np.ndarray] = []
    while len(centers) < len(colors):
        center = np.array([rng.uniform(*CUBE_X_M), rng.uniform(*CUBE_Y_M)])
        if all(np.linalg.norm(center - other) >= CUBE_DISTANCE_M for other in centers):
            centers.append(center)
        elif rng.random() < 0.01:
            centers.clear()  # four cubes can lie so that no room is left: begin anew
    return tuple(
        Cube(
            color,
            (float(center[0]), float(center[1]), REST_HEIGHT_M),
            float(rng.uniform(-CUBE_YAW_RAD, CUBE_YAW_RAD)),
            _shade(rng, COLORS[color]),
        )
        for color, center in zip(colors, centers, strict=True)
    )


def sample_scene(seed: int, objects: Sequence[str] = ()) -> Scene:
    """A random scene; the same arguments always give the same one.

    Args:
        seed: Any non-negative whole number.
        objects: Colors of the cubes; empty: three, chosen by the seed.

    Raises:
        SimulationError: an unknown color, one named twice, or too many; a negative seed.
    """
    if seed < 0:
        raise SimulationError(f"scene seed {seed}: allowed are whole numbers from 0")
    rng = np.random.default_rng(seed)
    tool = [rng.uniform(*START_X_M), rng.uniform(*START_Y_M), rng.uniform(*START_Z_M)]
    table_shade = float(rng.uniform(0.9, 1.1))
    joints = _kinematics().inverse(np.array(tool))
    return Scene(seed, sample_cubes(rng, objects), tuple(joints.tolist()), table_shade=table_shade)


def _shade(rng: np.random.Generator, rgb: tuple[float, float, float]) -> tuple[float, float, float]:
    """A color as another batch of paint and light would give it: up to 9 % gain, 0.03 per channel."""
    shade = np.asarray(rgb) * rng.uniform(0.91, 1.09) + rng.uniform(-0.03, 0.03, 3)
    red, green, blue = np.clip(shade, 0.0, 1.0).tolist()
    return red, green, blue
