"""Nested data, such as that of a JSON file, with one value altered."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """Every place in nested data."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in items:
        yield from places(entry, (*at, key))


def altered(value: Any, at: tuple, new: Any) -> Any:
    """A copy with another value at a place; `...` takes it away."""
    if not at:
        return new
    value = copy.deepcopy(value)
    holder = value
    for key in at[:-1]:
        holder = holder[key]
    if new is ...:
        del holder[at[-1]]
    else:
        holder[at[-1]] = new
    return value
