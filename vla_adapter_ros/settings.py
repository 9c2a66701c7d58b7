"""Checked settings: the types of their values, and what pydantic refuses in this package's words."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AllowInfNan, ConfigDict, Field, Strict, ValidationError

from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.untrusted import short

CHECKED = ConfigDict(extra="forbid")
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
_MAX_LISTED = 20  # errors
_ALLOWED = {
    "finite_number": "a finite number",
    "float_type": "a finite number",
    "int_type": "a whole number",
    "string_type": "a text",
    "bool_type": "true or false",
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "too_short": "at least one entry",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:.12g}",
    "enum": "one of {expected}",
    "literal_error": "one of {expected}",
    "invalid_key": "a key that is a text",
}


Kind = TypeVar("Kind", bound=type)


def refusing(error: type[VlaAdapterError], where: str) -> Callable[[Kind], Kind]:
    """Decorator of a pydantic dataclass: its constructor raises an error of this package, in its words.

    Plain data that a `TypeAdapter` reads does not pass through constructors, so all its errors are found.

    Args:
        error: Kind of error to raise, with a sentence per value that was refused.
        where: What the settings are called.
    """

    def decorate(kind: Kind) -> Kind:
        names = [field.name for field in dataclasses.fields(kind)]
        changed: Any = kind
        original = changed.__init__

        @functools.wraps(original)
        def checked(self: Any, *values: Any, **named: Any) -> None:
            named |= zip(names[: len(values)], values, strict=True)
            try:
                original(self, **named)
            except ValidationError as refused:
                raise error(join_errors(describe_errors(refused, kind, where))) from None

        changed.__init__ = checked
        return kind

    return decorate


def describe_errors(error: ValidationError, kind: Any, where: str) -> list[str]:
    """One sentence per value that was refused, such as `contract.rate_hz = 0: allowed is more than 0`.

    Args:
        error: What pydantic raised.
        kind: The dataclass that was to be built.
        where: What it is called.
    """
    found: list[str] = []
    unknown: dict[str, tuple[Any, list[Any]]] = {}
    for entry in error.errors(include_url=False):
        *parents, last = entry["loc"] or ("",)
        place, parent = _named(where, entry["loc"]), _named(where, parents)
        if entry["type"] in ("missing", "missing_argument"):
            found.append(f"{parent} = 'missing key': allowed is the key '{last}'")
        elif entry["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            unknown.setdefault(parent, (_part(kind, parents), []))[1].append(last)
        else:
            rule = _ALLOWED.get(entry["type"], entry["msg"].replace("{", "{{").replace("}", "}}"))
            allowed = rule.format(**entry.get("ctx", {}))
            if entry["type"] == "literal_error" and " or " not in allowed:
                allowed = allowed.removeprefix("one of ")
            found.append(f"{place} = {short(entry['input'])}: allowed is {allowed}")
    for parent, (part, keys) in unknown.items():
        names = ", ".join(_keys(part)) if part else "those of its documentation"
        found.append(f"{parent} = {short(keys)}: allowed is only these keys: {names}")
    return found


def join_errors(errors: list[str]) -> str:
    """Errors of one file as one message: a single one as it is, several in a line each."""
    if len(errors) == 1:
        return errors[0]
    shown, hidden = errors[:_MAX_LISTED], len(errors) - _MAX_LISTED
    shown += [f"and {hidden} more"] if hidden > 0 else []
    return f"{len(errors)} errors:\n  " + "\n  ".join(shown)


def _named(where: str, path: Any) -> str:
    return where + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def _keys(part: Any) -> list[str]:
    """What the fields of a dataclass are called in files."""
    aliases = {name: info.alias for name, info in getattr(part, "__pydantic_fields__", {}).items()}
    return [aliases.get(f.name) or f.name for f in dataclasses.fields(part)]


def _part(kind: Any, path: Any) -> Any:
    """The dataclass at a path within `kind`; None if there is none."""
    for key in path:
        if dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind).get(key)
        else:
            kind = typing.get_args(kind)[-1 if typing.get_origin(kind) is dict else 0]
        while typing.get_origin(kind) in (typing.Union, types.UnionType, typing.Annotated):
            kind = next(k for k in typing.get_args(kind) if k is not type(None))
    return kind if dataclasses.is_dataclass(kind) else None
