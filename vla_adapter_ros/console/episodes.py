"""The episodes of the data set that is recorded: what the pages show of each. It is only read."""

from __future__ import annotations

import functools
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.errors import DatasetError, VlaAdapterError
from vla_adapter_ros.paths import locate
from vla_adapter_ros.trials.trial import Trial, read_trials

THUMBNAIL = 240  # width [px]
MOST_POINTS = 600  # of a curve
MOST_SHOWN = 200  # episodes


@dataclass(frozen=True)
class EpisodeRow:
    """One episode in the list.

    Attributes:
        number: What the data set calls it.
        instruction: Its first one.
        seconds: Its length [s].
    """

    number: int
    instruction: str
    seconds: float


@dataclass(frozen=True)
class Clip:
    """Where an episode's video lies: a file, and the times of its beginning and its end in it [s]."""

    path: Path
    start: float
    end: float


class EpisodeStore:
    """Reads a data set anew whenever it has changed. Methods may take a second: call them in a thread.

    Args:
        root: Folder of the data set; it need not be there yet.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = locate(root)
        self._lock = threading.Lock()
        self._stamp, self._reader = 0.0, None  # type: float, DatasetReader | None
        self._read_trials = functools.lru_cache(maxsize=1)(lambda version: read_trials([self.root]))
        self._thumbnail = functools.lru_cache(maxsize=256)(self._make_thumbnail)

    def rows(self) -> list[EpisodeRow]:
        """All episodes, the newest first; none while there is no data set."""
        try:
            reader = self._open()
        except VlaAdapterError:
            return []
        rows = [
            EpisodeRow(e.number, e.tasks[0] if e.tasks else "", e.length / reader.fps)
            for e in reader.episodes
        ]
        return rows[::-1][:MOST_SHOWN]

    def instructions(self) -> list[str]:
        """The instructions of the data set, in its order."""
        try:
            return list(self._open().tasks)
        except VlaAdapterError:
            return []

    def trials(self) -> list[Trial]:
        """The runs of policies among them, in the order in which they began."""
        try:
            return self._read_trials(self._version())
        except VlaAdapterError:
            return []

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras with a video."""
        try:
            return tuple(name for name in self._open().cameras if name in self._open().video_cameras)
        except VlaAdapterError:
            return ()

    def thumbnail(self, number: int) -> bytes:
        """The middle image of an episode's first camera, as JPEG.

        Raises:
            DatasetError: no such episode, or its image cannot be read.
        """
        return self._thumbnail(number, self._length(number))

    def clip(self, number: int, camera: str) -> Clip:
        """The video of a camera.

        Raises:
            DatasetError: no such episode or camera, or the file lies elsewhere.
        """
        reader, episode = self._find(number)
        part = reader.episodes[episode].videos.get(camera)
        if part is None:
            raise DatasetError(f"episode {number} has no video of a camera {camera[:60]!r}")
        path = part.path.resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise DatasetError(f"episode {number}: its video lies outside the data set")
        length = reader.episodes[episode].length / reader.fps
        return Clip(path, part.start_s, part.start_s + length)

    def curves(self, number: int) -> str:
        """State and action of an episode over time as JSON.

        Raises:
            DatasetError: no such episode, or it cannot be read.
        """
        reader, episode = self._find(number)
        rows = reader.rows(episode)
        times = np.asarray(rows["timestamp"], float)
        places = np.unique(np.linspace(0, len(times) - 1, min(len(times), MOST_POINTS)).astype(int))
        content: dict[str, Any] = {"times": np.round(times[places] - times[0], 3).tolist(), "series": {}}
        for feature in ("observation.state", "action"):
            values = rows.get(feature)
            if values is None:
                continue
            names = _names(reader.features.get(feature, {}), values.reshape(len(times), -1).shape[1])
            for name, column in zip(names, values.reshape(len(times), -1)[places].T, strict=True):
                finite = [round(float(v), 4) if np.isfinite(v) else None for v in column]
                content["series"].setdefault(name, {})[feature.rpartition(".")[2]] = finite
        if layout.CONTROL_SOURCE in rows:
            content["leader"] = np.asarray(rows[layout.CONTROL_SOURCE]).reshape(-1)[places].tolist()
        return json.dumps(content, separators=(",", ":"))

    def _make_thumbnail(self, number: int, length: int) -> bytes:
        reader, episode = self._find(number)
        if not reader.cameras:
            raise DatasetError(f"episode {number} has no images")
        image = reader.image(reader.cameras[0], episode, length // 2)
        height = max(round(image.shape[0] * THUMBNAIL / image.shape[1]), 1)
        small = cv2.resize(image, (THUMBNAIL, height), interpolation=cv2.INTER_AREA)
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(small), quality=80))

    def _length(self, number: int) -> int:
        reader, episode = self._find(number)
        return reader.episodes[episode].length

    def _find(self, number: int) -> tuple[DatasetReader, int]:
        reader = self._open()
        for place, episode in enumerate(reader.episodes):
            if episode.number == number:
                return reader, place
        raise DatasetError(f"{self.root}: no episode {number}")

    def _version(self) -> tuple[float, ...]:
        """Changes whenever an episode is added, or something is said of one."""
        files = (self.root / layout.INFO, self.root / layout.RECORDINGS)
        return tuple(file.stat().st_mtime if file.is_file() else 0.0 for file in files)

    def _open(self) -> DatasetReader:
        info = self.root / layout.INFO
        with self._lock:
            try:
                stamp = info.stat().st_mtime
            except OSError as error:
                raise DatasetError(f"{info}: {error.strerror}") from None
            if self._reader is None or stamp != self._stamp:
                self._reader, self._stamp = DatasetReader(self.root), stamp
            return self._reader


def _names(feature: dict[str, Any], width: int) -> list[str]:
    names = feature.get("names")
    good = isinstance(names, list) and len(names) == width and all(isinstance(n, str) for n in names)
    return list(names) if good else [str(n) for n in range(width)]  # type: ignore[arg-type]
