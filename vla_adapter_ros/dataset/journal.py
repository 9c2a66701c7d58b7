"""Which files of a data set are unfinished: noted before they are made, so that a crash leaves no doubt.

Nothing but what stands here is ever removed from a folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path

from vla_adapter_ros import files
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import read_json

JOURNAL = "meta/unfinished.json"
TABLES = (layout.INFO, layout.STATS, layout.TASKS, layout.HISTOGRAMS, layout.RECORDINGS)
TABLE_TEMPORARIES = tuple(name + files.TEMPORARY for name in (*TABLES, layout.CONTRACT, JOURNAL))
_OURS = re.compile(
    r"(data|meta/episodes|videos/\w[\w.-]*)/chunk-(\d{3,9})/"
    r"(file-(\d{3,9})\.(parquet|mp4)(\.tmp)?|take-\d{6,12}\.mp4\.tmp)"
)


def episode_names(cameras: Iterable[str], number: int) -> list[str]:
    """Files of the n-th episode, relative to the data set, and the temporary ones that become them."""
    here = Path()
    paths = [layout.data_file(here, number), layout.episode_file(here, number)]
    paths += [layout.video_file(here, camera, number) for camera in cameras]
    return [str(p) for path in paths for p in (path, files.temporary_path(path))]


def number_of(name: str) -> int | None:
    """Running number of a finished file by its relative name; None for temporary or foreign names."""
    found = _OURS.fullmatch(name)
    if found is None or found[6] or found[4] is None:
        return None
    return int(found[2]) * layout.FILES_PER_CHUNK + int(found[4])


class Journal:
    """The list of unfinished files; each change is on disk when the call returns.

    Args:
        root: Folder of the data set.

    Raises:
        DatasetError: a list is there that cannot be read, or names what no recorder makes.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._guard = root, threading.Lock()
        self._names = set(self._read())

    @property
    def names(self) -> frozenset[str]:
        """Files that are listed, relative to the data set."""
        return frozenset(self._names)

    def list_files(self, names: Iterable[str | Path]) -> None:
        """Put files on the list, before they are made."""
        with self._guard:
            self._write(self._names | {str(name) for name in names})

    def unlist_files(self, names: Iterable[str | Path]) -> None:
        """Take files off the list: they are finished, or gone. A full disk only leaves the list too long."""
        with self._guard, contextlib.suppress(OSError):
            self._write(self._names - {str(name) for name in names})

    def remove_files(self, first: int) -> None:
        """Remove what is listed but for the files of episodes that count, and empty the list.

        Args:
            first: Number of the first file that does not count; tables stay where it is above 0.
        """
        for name in self._names:
            number = number_of(name)
            counts = first > 0 if name in TABLES else number is not None and number < first
            path = self._root / name
            if not counts and not _through_link(self._root, path):
                path.unlink(missing_ok=True)
        files.temporary_path(self._root / JOURNAL).unlink(missing_ok=True)  # of a list that was being begun
        self.unlist_files(self._names)

    def _read(self) -> list[str]:
        path = self._root / JOURNAL
        if not os.path.lexists(path):
            return []
        try:
            stored = read_json(path)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: not readable: {error}; move it away to go on") from error
        names = stored.get("unfinished") if isinstance(stored, dict) else None
        known = {*TABLES, *TABLE_TEMPORARIES}
        if not isinstance(names, list) or not all(
            isinstance(name, str) and (name in known or _OURS.fullmatch(name)) for name in names
        ):
            raise DatasetError(f"{path} lists what no recorder makes: move it away to go on")
        return names

    def _write(self, names: set[str]) -> None:
        path = self._root / JOURNAL
        if names == self._names:
            return
        if names:
            files.write_json(path, {"unfinished": sorted(names)})
        else:
            path.unlink(missing_ok=True)
        self._names = names


def _through_link(root: Path, path: Path) -> bool:
    return any(p.is_symlink() for p in (path, *path.parents) if p != root and root in p.parents)
