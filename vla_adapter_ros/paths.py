"""Paths as people give them, on the command line, in parameters, in contracts: read in this one place."""

from __future__ import annotations

import os
from pathlib import Path

from vla_adapter_ros.errors import PathError


def expand(text: str | Path) -> Path:
    """A path with its home folder filled in: `~/demos`, `~ann/demos`. Nothing else in it means anything.

    A relative path stays relative.

    Raises:
        PathError: an empty text, no home folder of that name, or what no file can be called.
    """
    given = os.fspath(text)
    if not given:
        raise PathError("path '': allowed is the name of a file or folder, such as ~/demos")
    if "\0" in given or any("\ud800" <= letter <= "\udfff" for letter in given):
        raise PathError(f"path {given!r}: allowed is text in UTF-8 without zero bytes")
    found = os.path.expanduser(given)  # of the text: to pathlib `./~` is the home folder, too
    if found == given and given.startswith("~"):
        name = given.split("/")[0]
        raise PathError(f"path {given!r}: there is no home folder {name}; ./{name} is a folder of that name")
    return Path(found)


def locate(text: str | Path) -> Path:
    """Where a path leads, expanded and absolute.

    Libraries take `kitchen:table` for a protocol and `-x` for an option. `..` is followed as the system
    does, behind links too.

    Raises:
        PathError: see `expand`.
    """
    path = expand(text)
    return Path(os.path.realpath(path)) if ".." in path.parts else path.absolute()
