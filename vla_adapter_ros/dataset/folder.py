"""The folder of a data set that is written to: ours alone, without strange files, the same all the time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.journal import JOURNAL, TABLE_TEMPORARIES, TABLES, number_of
from vla_adapter_ros.errors import DatasetError, RecordingError
from vla_adapter_ros.untrusted import find_links

_PARTS = ("meta", "data", "videos")
_BESIDE = ("images", "LICENSE")
_CLUTTER = ("thumbs.db", "desktop.ini", "ehthumbs.db")
_WRITTEN = (".txt", ".md")  # notes by people
_LOADED = (".parquet", ".mp4", ".tmp")  # what readers take for parts of the data set, and what is half of one


def is_clutter(name: str) -> bool:
    """Whether a file is what desktops and people leave anywhere: hidden, a thumbnail list, a note."""
    low = name.lower()
    return low.startswith(".") or low in _CLUTTER or low.endswith(_WRITTEN)


class WrittenFolder:
    """A data set's folder, locked against other recorders while this object is open.

    Args:
        root: The folder; made if it is missing.

    Raises:
        DatasetError: it holds something else, a link, or is being written to by another process.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, int] = {}
        try:
            self._refuse_others()
            for part in _PARTS:
                if (root / part).is_symlink():
                    raise DatasetError(
                        f"{root / part} is a link: allowed is a folder; links are not followed"
                    )
            (root / "meta").mkdir(parents=True, exist_ok=True)
            self._hold()
        except OSError as error:
            self.close()
            raise DatasetError(f"{root} cannot be a data set's folder: {error}") from None
        try:
            fcntl.flock(self._open["meta"], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise DatasetError(f"{root}: another process is recording into this data set") from None

    def close(self) -> None:
        """Let others write."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open = {}

    @property
    def is_open(self) -> bool:
        """Whether it is ours."""
        return bool(self._open)

    @property
    def is_same(self) -> bool:
        """Whether it, and each folder in it, is still the one that was opened."""
        try:
            self._hold()
            return all(
                os.path.samestat(os.fstat(held), os.stat(self._root / part))
                for part, held in self._open.items()
            )
        except OSError:
            return False

    def require_same(self) -> None:
        """Refuse to go on in a folder that is not the one that was opened.

        Raises:
            RecordingError: it, or a folder in it, was removed, moved or replaced.
        """
        if not self.is_same:
            raise RecordingError(
                f"{self._root} was removed, moved or replaced while it was recorded into: start the recorder "
                "again to begin a new data set there"
            )

    def require_known(self, listed: Collection[str], first: int) -> None:
        """Refuse files that neither info.json counts nor the journal lists; clutter is ignored.

        Args:
            listed: What the journal lists, relative to the folder.
            first: Number of the first file that does not count; 0 if nothing counts.

        Raises:
            DatasetError: such a file, or a link.
        """
        counted = (self._root / layout.INFO).is_file()
        for part in _PARTS:
            for link in find_links(self._root / part):
                raise DatasetError(f"{link} is a link: allowed are files, links are not followed")
            for path in sorted((self._root / part).rglob("*")):
                name = path.relative_to(self._root).as_posix()
                if path.is_dir() or name in listed or is_clutter(path.name):
                    continue
                if name in (layout.CONTRACT, JOURNAL, *TABLE_TEMPORARIES):
                    continue
                number = number_of(name)
                if counted and (
                    name in TABLES
                    or (number is not None and number < first)
                    or not name.endswith(_LOADED)
                    or (number is None and part == "meta" and not name.endswith(".tmp"))
                ):
                    continue
                lacks = f"no {layout.INFO} counts it" if counted else f"there is no {layout.INFO}"
                raise DatasetError(
                    f"{self._root} is damaged or no data set of the recorder: it holds {name}, but {lacks} "
                    f"and {JOURNAL} does not list it: allowed is an empty folder or a whole data set; "
                    "`vla-adapter dataset repair` makes a new one of what is whole"
                )

    def _hold(self) -> None:
        """Keep what is there open, so that no new folder can get its number."""
        for part in ("", *_PARTS):
            if part not in self._open and (part in ("", "meta") or (self._root / part).is_dir()):
                flags = os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if part else 0)
                self._open[part] = os.open(self._root / part, flags)

    def _refuse_others(self) -> None:
        if not self._root.is_dir() or (self._root / layout.INFO).is_file():
            return
        names = {entry.name for entry in self._root.iterdir()}
        strange = sorted(n for n in names if n not in (*_PARTS, *_BESIDE) and not is_clutter(n))
        if strange:
            raise DatasetError(f"{self._root} holds {strange}: allowed is an empty folder or a data set")


@contextlib.contextmanager
def keep_recorders_out(root: Path) -> Iterator[None]:
    """Let nobody write to a data set while it is read; several may read it at once.

    Raises:
        DatasetError: it is being written to, or has no folder meta.
    """
    if not (root / "meta").is_dir():
        raise DatasetError(f"{root}: no folder meta; expected is a LeRobot v3.0 data set")
    descriptor = os.open(root / "meta", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatasetError(f"{root}: another process is recording into this data set") from None
    finally:
        os.close(descriptor)
