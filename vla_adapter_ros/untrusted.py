"""Names, paths, JSON and YAML that strangers may have written: checked before anything is done with them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

NAME_RULE = "letters, digits, _ - and ., at most 100, not beginning with . or -"
LARGEST_YAML, LARGEST_JSON = 1 << 20, 1 << 28  # bytes; contracts have 4 kB, statistics some MB
DEEPEST = 40  # lists and mappings within each other; those of this package have at most 6
_POINTERS = (
    (b"version https://git-lfs", "Git LFS", "git lfs pull"),
    (b"/annex/objects/", "git-annex", "git annex get"),
)
_NAME = re.compile(r"\w[\w.-]{0,99}")
_FORMAT = re.compile(r"(0?[1-9]d?|d)?")


class UntrustedError(ValueError):
    """A text is not what it may be; the message says what was found and what is allowed."""


def is_name(text: Any) -> bool:
    """Whether a text may name a camera, a feature or a part: it can stand as one part of a path.

    Letters of every language, digits, `_`, `-` and `.`; it begins with none of the last two.
    """
    return isinstance(text, str) and bool(_NAME.fullmatch(text))


def check_template(template: Any, fields: tuple[str, ...], what: str) -> str:
    """Give a template such as `data/chunk-{chunk_index:03d}/x.parquet` back, or refuse it.

    Args:
        template: A relative path with names in braces.
        fields: The names that it may have; each may be padded to at most nine digits.
        what: Its name in messages.

    Raises:
        UntrustedError: another field, a long padding, a conversion, or a path that leaves its folder.
    """
    rule = f"a path within the folder, with no other fields than {', '.join(fields)}, at most 9 digits wide"
    if isinstance(template, str) and _is_template(template, fields):
        return template
    raise UntrustedError(f"{what} = {short(template)}: allowed is {rule}")


def _is_template(text: str, fields: tuple[str, ...]) -> bool:
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        return False
    good = len(text) <= 300 and all(
        name is None or (name in fields and not conversion and _FORMAT.fullmatch(spec or ""))
        for _, name, spec, conversion in parts
    )
    return good and _stays_inside("".join(literal + ("x" if name else "") for literal, name, _, _ in parts))


def _stays_inside(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return "\0" not in path and all(part not in ("", ".", "..") for part in parts)


def pointer_note(path: Path) -> str:
    """That a file only stands for the real one, and what fetches it; empty if it does not."""
    try:
        with open(path, "rb") as file:
            note = _pointer(file.read(64))
    except OSError:
        return ""
    return f"{path} is {note}" if note else ""


def _pointer(head: bytes) -> str:
    for beginning, kind, cure in _POINTERS:
        if head.startswith(beginning):
            return f"a {kind} pointer: run `{cure}`"
    return ""


def leaves(path: Path, root: Path) -> bool:
    """Whether a file lies, by links, outside of its folder.

    A download of the Hub consists of links from `snapshots/REVISION` into `blobs` beside it; those stay.
    """
    real, home = path.resolve(), root.resolve()
    homes = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    return not any(real.is_relative_to(folder) for folder in homes)


def find_links(folder: Path) -> Iterator[Path]:
    """Links among the files and folders below `folder`; none of them is followed. `folder` may be one."""
    for place, folders, names in os.walk(folder):
        yield from (
            Path(place, name) for name in (*folders, *names) if os.path.islink(os.path.join(place, name))
        )


def read_json(path: Path) -> Any:
    """Read a JSON file of bounded size and depth.

    Raises:
        OSError: it cannot be read.
        UntrustedError: no JSON, too large or too deep.
    """
    return parse_json(_read(path, LARGEST_JSON))


def parse_json(text: str) -> Any:
    """Parse JSON of bounded depth. NaN and infinity pass; whoever wants numbers must look.

    Raises:
        UntrustedError: no JSON, or too deep.
    """
    try:
        value = json.loads(text)
        _check_depth(value)
    except RecursionError:
        raise UntrustedError(f"lists within lists: allowed are {DEEPEST} levels") from None
    except ValueError as error:
        raise UntrustedError(f"no valid JSON: {error}") from None
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [entry for item in level for entry in _entries(item)]
        if not level:
            return
    raise RecursionError


def _entries(item: Any) -> Iterator[Any]:
    entries = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return (entry for entry in entries if isinstance(entry, (dict, list)))


def read_yaml(path: Path) -> Any:
    """Read a YAML file of bounded size and depth, without aliases.

    Raises:
        OSError: it cannot be read.
        UntrustedError: no YAML, too large, too deep, or with an alias, by which few lines become many.
    """
    return parse_yaml(_read(path, LARGEST_YAML))


def parse_yaml(text: str) -> Any:
    """Parse YAML of bounded depth, without aliases; errors as in `read_yaml`."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise UntrustedError(f"no valid YAML: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Refuses aliases and depth while the document is being read, so that it never grows."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"alias *{event.anchor}: allowed are values written out {event.start_mark}")
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"lists within lists: allowed are {DEEPEST} levels")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _read(path: Path, largest: int) -> str:
    size = path.stat().st_size
    if size > largest:
        raise UntrustedError(f"{size} bytes: allowed are {largest}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UntrustedError(f"no text in UTF-8: {error}") from None
    if note := _pointer(text[:64].encode()):
        raise UntrustedError(f"it is {note}")
    return text


def is_finite(value: Any) -> bool:
    """Whether a value is a finite number that a float can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300


def short(value: Any, max_length: int = 300) -> str:
    """A value as it is shown in messages: on one line, and not endless."""
    if isinstance(value, int) and not -(10**30) < value < 10**30:
        return "a number of more than 30 digits"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # whole numbers of thousands of digits have none
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."
