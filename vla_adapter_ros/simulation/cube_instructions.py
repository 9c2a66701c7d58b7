"""The instructions of the simulated task."""

from __future__ import annotations

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.cube_colors import COLORS

INSTRUCTIONS = (
    "pick up the {color} cube",
    "grasp the {color} cube",
    "lift the {color} cube from the table",
    "take the {color} block and raise it",
)


def cube_instruction(color: str, index: int = 0) -> str:
    """Instruction number `index` about a cube.

    Raises:
        SimulationError: an unknown color or index.
    """
    if color not in COLORS:
        raise SimulationError(f"unknown color {color!r}: allowed are {', '.join(COLORS)}")
    if not 0 <= index < len(INSTRUCTIONS):
        raise SimulationError(f"instruction {index}: allowed is 0 to {len(INSTRUCTIONS) - 1}")
    return INSTRUCTIONS[index].format(color=color)
