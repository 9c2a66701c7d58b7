"""The folder that capsules lie in: their names, how much they may take, and how often one is made."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from datetime import datetime, timezone
from enum import unique
from pathlib import Path

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.errors import CapsuleError
from vla_adapter_ros.files import TEMPORARY, temporary_path
from vla_adapter_ros.observation.lateness import kind_of
from vla_adapter_ros.paths import locate

LEFT_BYTES = 500_000_000
"""So much of the disk is always left free."""
AT_MOST_EVERY_S = 60.0
_MOST_KINDS = 64
_WRITTEN_WITHIN_S = 600.0
_NAME = re.compile(r"capsule_\d{8}T\d{6}_(hand|fault)(_controller|_policy)?(-\d+)?\.mcap")


@unique
class SavedBy(Choice):
    """Who wanted a capsule: a person, or the node itself after a fault."""

    HAND = "hand"
    FAULT = "fault"


@unique
class Half(Choice):
    """The node that a part of a capsule comes from."""

    CONTROLLER = "controller"
    POLICY = "policy"


def default_folder() -> Path:
    """`capsules` in ROS's own folder: that of ROS_HOME, else ~/.ros."""
    return locate(os.environ.get("ROS_HOME") or "~/.ros") / "capsules"


def reserve_path(folder: Path, by: SavedBy, at: float, half: Half | None = None) -> Path:
    """Reserve a name in a folder for `files.write_file`: nodes of several robots may save at once.

    Args:
        folder: Where capsules lie.
        by: Who wants it; part of the name.
        at: When it is saved, seconds since 1970.
        half: The node that it comes from; None: both.
    """
    when = datetime.fromtimestamp(at, timezone.utc).strftime("%Y%m%dT%H%M%S")
    stem = f"capsule_{when}_{by}" + (f"_{half}" if half else "")
    return reserve_name(folder, stem)


def reserve_name(folder: Path, stem: str) -> Path:
    """A name that nobody has, `stem.mcap` or `stem-2.mcap` ..., reserved by its temporary file."""
    number = 1
    while True:
        path = folder / f"{stem}{'' if number == 1 else f'-{number}'}.mcap"
        number += 1
        if path.exists():
            continue
        try:
            temporary_path(path).touch(exist_ok=False)
        except FileExistsError:
            continue
        if not path.exists():  # else somebody has just finished it
            return path
        temporary_path(path).unlink()


def capsules(folder: Path) -> list[Path]:
    """The capsules in a folder, the oldest first. Files of other names are never touched."""
    try:
        found = [entry for entry in folder.iterdir() if _NAME.fullmatch(entry.name)]
    except OSError:
        return []
    return sorted(found, key=lambda path: path.name)


def make_room(folder: Path, needed: int, quota: int) -> None:
    """See to it that a new capsule fits into a folder: the oldest that a fault has made go.

    Those that somebody saved by hand stay.

    Args:
        folder: Where capsules lie; made if missing.
        needed: Bytes of the new one, about.
        quota: Bytes that all of them may take.

    Raises:
        CapsuleError: it does not fit all the same, or the disk is nearly full.
        OSError: the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"capsule_*{TEMPORARY}"):  # of a node that was killed while it wrote
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _WRITTEN_WITHIN_S:
                left.unlink()
    sizes = {path: _size(path) for path in capsules(folder)}
    for path in [path for path in sizes if f"_{SavedBy.FAULT}" in path.name]:
        if sum(sizes.values()) + needed <= quota:
            break
        path.unlink(missing_ok=True)
        del sizes[path]
    if sum(sizes.values()) + needed > quota:
        raise CapsuleError(
            f"{folder}: {len(sizes)} capsules saved by hand take {sum(sizes.values()) / 1e6:.0f} MB, the new "
            f"one about {needed / 1e6:.0f}: allowed are {quota / 1e6:.0f} (capsule_quota_gb); remove some"
        )
    free = shutil.disk_usage(folder).free
    if free < needed + LEFT_BYTES:
        raise CapsuleError(
            f"{folder}: {free / 1e9:.1f} GB free: needed are {(needed + LEFT_BYTES) / 1e9:.1f}"
        )


class Occasions:
    """Decides whether a fault is worth a capsule: one per kind of fault and minute."""

    def __init__(self) -> None:
        self._newest: dict[str, float] = {}

    def begins(self, fault: str, now: float) -> bool:
        """Whether a capsule is to be saved for a fault at `now` [s of a clock that never jumps]."""
        kind = kind_of(fault)
        if now - self._newest.get(kind, -AT_MOST_EVERY_S) < AT_MOST_EVERY_S:
            return False
        self._newest.pop(kind, None)
        self._newest[kind] = now
        while len(self._newest) > _MOST_KINDS:
            del self._newest[next(iter(self._newest))]
        return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
