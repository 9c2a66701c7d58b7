"""What can stand on the simulated table: movable objects, and places where they may be put."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vla_adapter_ros.choices import Choice, Table


class Shape(Choice):
    """What a thing is, as instructions call it."""

    CUBE = "cube"
    CYLINDER = "cylinder"
    BAR = "bar"
    BOWL = "bowl"
    PLATE = "plate"
    ZONE = "zone"


@dataclass(frozen=True)
class Form:
    """How a shape is built.

    Attributes:
        half: Half its extent along its own x, y and z [m]; of a round one its radius twice.
        symmetry: It looks the same after a turn by this angle about z [rad]; 0: after any.
        movable: Whether it can be moved.
        stackable: Whether something can stand on it, and it on something.
    """

    half: tuple[float, float, float]
    symmetry: float = math.pi / 2
    movable: bool = True
    stackable: bool = True


FORMS = {
    Shape.CUBE: Form((0.020, 0.020, 0.020)),
    Shape.CYLINDER: Form((0.021, 0.021, 0.020), symmetry=math.pi / 4),
    Shape.BAR: Form((0.040, 0.015, 0.018), symmetry=math.pi, stackable=False),
    Shape.BOWL: Form((0.070, 0.070, 0.016), symmetry=0.0, movable=False, stackable=False),
    Shape.PLATE: Form((0.065, 0.065, 0.004), symmetry=0.0, movable=False, stackable=False),
    Shape.ZONE: Form((0.060, 0.060, 0.0005), movable=False, stackable=False),
}
BOWL_WALL_M = 0.006
MOST_CUBES = 4
BOWL_RGB = (0.90, 0.90, 0.88)


ROOM: dict[Table, dict[Shape, int]] = {
    Table.CUBES: {Shape.CUBE: MOST_CUBES},
    Table.TABLETOP: {
        Shape.CUBE: 5, Shape.CYLINDER: 5, Shape.BAR: 5, Shape.BOWL: 1, Shape.PLATE: 1, Shape.ZONE: 1,
    },
}  # fmt: skip
"""What a table is laid with: how many things of each shape a model has room for."""


@dataclass(frozen=True)
class Thing:
    """One thing on the table.

    Attributes:
        name: What the scene calls it, such as `red cube`; on a table of cubes its color alone.
        shape: What it is.
        position: Of its center (x, y, z) [m], base frame.
        yaw: Turn about z [rad].
        rgb: Color in 0..1.
    """

    name: str
    shape: Shape
    position: tuple[float, float, float]
    yaw: float
    rgb: tuple[float, float, float]

    @property
    def form(self) -> Form:
        """How it is built."""
        return FORMS[self.shape]
