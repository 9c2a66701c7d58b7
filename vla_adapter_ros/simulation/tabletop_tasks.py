"""The tasks of the table with more than cubes: what is asked for, in which words, and what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.things import FORMS, Shape, Thing


class Verb(Choice):
    """What is done with an object."""

    PICK = "pick"
    PUT = "put"
    PUSH = "push"
    STACK = "stack"


SENTENCES = {
    Verb.PICK: (
        "pick up the {object}",
        "grasp the {object}",
        "lift the {object} from the table",
        "take the {object} and raise it",
    ),
    Verb.PUT: (
        "put the {object} {into} the {place}",
        "place the {object} {into} the {place}",
        "drop the {object} {into} the {place}",
        "move the {object} {into} the {place}",
    ),
    Verb.PUSH: (
        "push the {object} to the {place}",
        "slide the {object} to the {place}",
        "push the {object} along the table to the {place}",
        "shove the {object} over to the {place}",
    ),
    Verb.STACK: (
        "stack the {object} on the {place}",
        "put the {object} on top of the {place}",
        "stack the {object} on top of the {place}",
        "set the {object} onto the {place}",
    ),
}
_INTO = {Shape.BOWL: "into", Shape.PLATE: "onto"}
MOVABLE = tuple(shape for shape, form in FORMS.items() if form.movable)
_HELD_OUT_EVERY = 7


@dataclass(frozen=True)
class Task:
    """What an episode asks for.

    Attributes:
        verb: What is done.
        target: Name of the object.
        place: Name of where it goes; empty where it only is picked up.
        instruction: In words.
    """

    verb: Verb
    target: str
    place: str
    instruction: str


def make_task(verb: Verb, target: Thing, place: Thing | None, sentence: int) -> Task:
    """A task in the words of a sentence.

    Args:
        verb: What is done.
        target: The object.
        place: Where it goes.
        sentence: Number of the words, of any size.
    """
    words = SENTENCES[verb][sentence % len(SENTENCES[verb])]
    name = "" if place is None else place.name
    into = "" if place is None else _INTO.get(place.shape, "onto")
    return Task(verb, target.name, name, words.format(object=target.name, place=name, into=into))


def read_task(text: str, things: Sequence[Thing]) -> Task | None:
    """The task that a sentence asks for, among things that stand there; None: it is none of `SENTENCES`.

    Args:
        text: In any case, with or without a full stop.
        things: What it may be about.
    """
    said = " ".join(text.lower().strip(" .!").split())
    for verb in Verb:
        for thing in things:
            if not thing.form.movable or (verb is Verb.STACK and not thing.form.stackable):
                continue
            places = (
                [None] if verb is Verb.PICK else [p for p in things if _takes(verb, p) and p is not thing]
            )
            for place in places:
                for number in range(len(SENTENCES[verb])):
                    if (task := make_task(verb, thing, place, number)).instruction == said:
                        return task
    return None


def _takes(verb: Verb, place: Thing) -> bool:
    if verb is Verb.STACK:
        return place.form.stackable
    return place.shape in {Verb.PUT: (Shape.BOWL, Shape.PLATE), Verb.PUSH: (Shape.ZONE,)}.get(verb, ())


def is_held_out(verb: Verb, color: str, shape: Shape) -> bool:
    """Whether no training shows this verb with an object of this color and shape."""
    number = 5 * list(Verb).index(verb) + 3 * list(COLORS).index(color) + list(Shape).index(shape)
    return number % _HELD_OUT_EVERY == 0


def combinations(verb: Verb, held_out: bool) -> Sequence[tuple[str, Shape]]:
    """Colors and shapes of the objects with which a verb is trained, or with which it never is."""
    shapes = [shape for shape in MOVABLE if verb is not Verb.STACK or FORMS[shape].stackable]
    return [(c, s) for c in COLORS for s in shapes if is_held_out(verb, c, s) == held_out]
