"""A folder that appears only when it is complete: written under a hidden name beside its place.

A process that is killed meanwhile leaves the hidden folder behind, as large as a data set. A journal beside
it, `.NAME-unfinished.json`, names it; whoever works on NAME next removes what stands there, and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import parse_json

_LARGEST = 10_000  # of a journal [byte]


@contextlib.contextmanager
def new_folder(target: Path, *, replaces: bool = False) -> Iterator[Path]:
    """A hidden folder beside `target`; whatever is under its name at the end is removed.

    Args:
        target: Where it is to be moved to when it is complete.
        replaces: Whether it changes places with a folder that is there.

    Raises:
        DatasetError: another process writes to `target`, or it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        journal = _lock_journal(target, create=True)
    except OSError as error:
        raise DatasetError(f"{target}: no folder can be made beside it: {error.strerror}") from error
    if journal is None:
        raise DatasetError(f"{target}: another process is writing it: wait until it has ended")
    try:
        _remove_listed(target, journal)
        folder = target.parent / f".{target.name}-{secrets.token_hex(4)}"
        names = [folder.name, f"{folder.name}-old"] if replaces else [folder.name]
        _write_journal(journal, {"unfinished": names, "replaces": replaces})
        try:
            folder.mkdir()
            yield folder
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{target} could not be written: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _journal_path(target).unlink(missing_ok=True)
    finally:
        os.close(journal)


def clear_unfinished(target: Path) -> list[str]:
    """Remove what a process that was killed left beside `target`.

    Returns:
        What was removed, in words.

    Raises:
        DatasetError: `target` is away and what was left holds it, or the journal is not ours.
    """
    journal = _lock_journal(target, create=False)
    if journal is None:  # there is none, or whoever wrote it is alive
        return []
    try:
        removed = _remove_listed(target, journal)
        _journal_path(target).unlink(missing_ok=True)
    finally:
        os.close(journal)
    return [f"removed {path}: a command was killed while it wrote {target}" for path in removed]


def _journal_path(target: Path) -> Path:
    return target.parent / f".{target.name}-unfinished.json"


def _lock_journal(target: Path, *, create: bool) -> int | None:
    """The journal, open and ours until it is closed; None if another process has it, or there is none."""
    path = _journal_path(target)
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o644)
        except OSError:
            if create:
                raise
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass  # its writer has just ended and removed it
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)


def _write_journal(descriptor: int, content: dict[str, object]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(content).encode(), 0)
    os.fsync(descriptor)


def _remove_listed(target: Path, journal: int) -> list[Path]:
    """Remove the folders that a journal lists, and say which were there."""
    names, replaces = _read_journal(target, journal)
    left = [target.parent / name for name in names]
    left = [path for path in left if path.is_dir() and not path.is_symlink()]
    if replaces and left and not target.exists():
        raise DatasetError(
            f"{target} is away: a command was killed while it replaced it, and {left[-1]} may be the only "
            f"copy: move it to {target} or remove it, then remove {_journal_path(target)}"
        )
    for path in left:
        shutil.rmtree(path)
    return left


def _read_journal(target: Path, journal: int) -> tuple[list[str], bool]:
    """Names of the folders that it lists, and whether one of them was to replace `target`."""
    data = os.pread(journal, _LARGEST, 0)
    if not data:  # killed before anything was made
        return [], False
    path = _journal_path(target)
    try:
        content = parse_json(data.decode())
        names, replaces = content["unfinished"], bool(content["replaces"])
        known = all(name.startswith(f".{target.name}-") and "/" not in name for name in names)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: not readable: {error}; move it away to go on") from error
    if not known:
        raise DatasetError(f"{path} lists {names}, which no command of ours makes: move it away to go on")
    return list(names), replaces
