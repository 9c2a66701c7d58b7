"""Files that are either complete or not there: written beside, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_HERE, _RENAME_EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
TEMPORARY = ".tmp"  # readers of data sets look for *.parquet and *.mp4 and so never see these


def temporary_path(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(path.name + TEMPORARY)


def commit_file(path: Path, source: Path | None = None) -> None:
    """Flush the temporary file of `path`, or `source`, to disk and give it the name `path`."""
    source = source or temporary_path(path)
    _flush(source)
    os.replace(source, path)
    _flush(path.parent)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill the temporary file of `path`, then commit it. Folders are made as needed.

    A failure leaves neither file behind, nor does it touch an earlier `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(temporary_path(path))
        commit_file(path)
    except BaseException:
        temporary_path(path).unlink(missing_ok=True)
        raise


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system change their places, in one step.

    Where the system has no such step (only Linux has), `other` is away for a moment.

    Raises:
        OSError: they stay as they are.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _RENAME_EXCHANGE) == 0:
            _flush(other.parent)
            return
        number = ctypes.get_errno()
        if number not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(number, os.strerror(number), str(other))
    aside = one.with_name(one.name + "-old")
    os.rename(other, aside)
    try:
        os.rename(one, other)
    except OSError:
        os.rename(aside, other)
        raise
    os.rename(aside, one)
    _flush(other.parent)


def missing_folders(folder: Path) -> list[Path]:
    """A folder and those above it, as far as they are not there, innermost first."""
    return [place for place in (folder, *folder.parents) if not os.path.exists(place)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, innermost first; one that holds something, or is gone, is left alone."""
    for folder in sorted(set(folders), key=lambda place: len(place.parts), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, all or nothing."""
    write_text(path, json.dumps(value, indent=4, ensure_ascii=False, allow_nan=False))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, all or nothing."""

    def write(target: Path) -> None:
        target.write_text(text, encoding="utf-8")

    write_file(path, write)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
