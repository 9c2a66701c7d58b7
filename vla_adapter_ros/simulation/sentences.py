"""The sentences of the task, and what they name."""

from __future__ import annotations

import re

from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.colours import COLOURS

SENTENCES = (
    "pick up the {colour} cube",
    "grasp the {colour} cube",
    "lift the {colour} cube from the table",
    "take the {colour} block and raise it",
)


def sentence(colour: str, index: int = 0) -> str:
    """Sentence number `index` about a cube.

    Raises:
        SimulationError: an unknown colour or index.
    """
    if colour not in COLOURS:
        raise SimulationError(f"unknown colour {colour!r}: allowed are {', '.join(COLOURS)}")
    if not 0 <= index < len(SENTENCES):
        raise SimulationError(f"sentence {index}: allowed is 0 to {len(SENTENCES) - 1}")
    return SENTENCES[index].format(colour=colour)


def all_sentences() -> tuple[str, ...]:
    """Every sentence about every colour."""
    return tuple(text.format(colour=colour) for text in SENTENCES for colour in COLOURS)


def colour_in(text: str) -> str:
    """The one colour that a sentence names, whatever its case.

    Raises:
        SimulationError: no known colour, or several.
    """
    words = re.findall(r"[a-z]+", text.lower())
    named = [colour for colour in COLOURS if colour in words]
    if len(named) != 1:
        raise SimulationError(
            f"{text!r} names {named or 'no colour'}: allowed is exactly one of {', '.join(COLOURS)}"
        )
    return named[0]
