"""What each parameter of a node is and may be, read from the class of its parameters. No rclpy here."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.nodes.common_parameters import CommonParameters
from vla_adapter_ros.settings import describe_errors

P = TypeVar("P", bound=CommonParameters)
Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One parameter, as descriptors, files, launch arguments, options and pages show it.

    Attributes:
        name: Of the parameter.
        default: As ROS and YAML hold it.
        text: What it means, with its unit.
        minimum, maximum: Smallest and largest value; None: no bound.
        choices: All words that it may be; empty: it is none of a set.
    """

    name: str
    default: Value
    text: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """What it may be, such as 'at least 0 and at most 99'; empty: everything of the default's type."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        bounds = (("at least", self.minimum), ("at most", self.maximum))
        limits = " and ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)
        return limits or "a finite number" * isinstance(self.default, float)

    @property
    def explained(self) -> str:
        """Text, and what is allowed."""
        return f"{self.text} ({self.allowed})" if self.allowed else self.text


def parameters_of(kind: type[CommonParameters]) -> dict[str, Parameter]:
    """The parameters of a class by name, in their order."""
    return _from_schema(cast(Hashable, kind))


@functools.cache
def _from_schema(kind: Any) -> dict[str, Parameter]:
    schema = TypeAdapter(kind).json_schema()
    found = {}
    for name, entry in schema["properties"].items():
        words = schema["$defs"][entry["$ref"].rsplit("/", 1)[1]]["enum"] if "$ref" in entry else ()
        found[name] = Parameter(
            name=name,
            default=entry["default"],
            text=entry["description"],
            minimum=entry.get("minimum"),
            maximum=entry.get("maximum"),
            choices=tuple(words),
        )
    return found


def make_parameters(kind: type[P], values: dict[str, Any]) -> P:
    """The parameter object of a class, from values as ROS and YAML hold them; the others have their defaults.

    Raises:
        ParameterError: names every parameter that is wrong or unknown, its value and what is allowed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise ParameterError("; ".join(describe_errors(error, kind, "parameters"))) from None


def parse_value(kind: type[CommonParameters], name: str, text: str) -> Value:
    """The value of one parameter, as ROS and YAML hold it, from what was typed.

    Raises:
        ParameterError: names the parameter, the value and what is allowed.
    """
    wanted, value = type(parameters_of(kind)[name].default), _converted(kind, name, text)
    checked = getattr(make_parameters(kind, {name: value}), name)
    return wanted(checked)


def _converted(kind: type[CommonParameters], name: str, text: str) -> Value:
    """The text as a value of the default's type; the text itself if it is none."""
    default = parameters_of(kind)[name].default
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return type(default)(text)
    except ValueError:
        return text
