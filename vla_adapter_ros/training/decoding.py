"""Single images out of videos: files stay open, and reading goes on where that beats a jump."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.video import no_video, to_colors
from vla_adapter_ros.errors import DatasetError

_OPEN_FILES = 64
_READ_ON = 12  # images: up to this distance decoding on is cheaper than jumping to a key image


class VideoFrames:
    """Decodes single images; ask for those of one video in rising order.

    Belongs to one process: a copy in another one starts with no open file.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, _OpenVideo] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__()

    def image(self, data: Dataset, camera: str, episode: int, row: int) -> np.ndarray:
        """Image of one row of an episode: uint8 (H, W, 3) RGB.

        Raises:
            DatasetError: no readable video, or it has no such image.
        """
        facts = data.episodes[episode]
        if camera not in facts.videos:  # single images, kept in the table
            return data.image(camera, episode, row)
        part = facts.videos[camera]
        image = self._video(part.path).image(part.start_s, row, data.fps)
        return data.shown(camera, image) if hasattr(data, "shown") else image

    def _video(self, path: Path) -> _OpenVideo:
        if self._process != os.getpid():  # a fork shares the file positions: leave those files alone
            self.__init__()
        if path in self._open:
            self._open.move_to_end(path)
        else:
            self._open[path] = _OpenVideo(path)
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        return self._open[path]


class _OpenVideo:
    """A video file and the place up to which it was decoded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError, OSError) as error:
            raise no_video(path, error) from error
        self._stream.codec_context.thread_count = 1  # threads cost more than they give for single images
        self._decoder: Iterator[av.VideoFrame] | None = None
        self._time = 0.0  # of the last image decoded [s]

    def close(self) -> None:
        self._container.close()

    def image(self, start_s: float, row: int, fps: float) -> np.ndarray:
        wanted = start_s + row / fps
        try:
            if self._decoder is None or not 0 < (wanted - self._time) * fps <= _READ_ON + 0.5:
                # A little later than the image's time: rounding must not lead to the key image before it.
                at = int((wanted + 0.25 / fps) / self._stream.time_base)
                self._container.seek(at, stream=self._stream)
                self._decoder = self._container.decode(self._stream)
            for frame in self._decoder:
                self._time = frame.time
                if abs(frame.time - wanted) * fps <= 0.5:
                    return to_colors(frame, self._path)
                if frame.time > wanted:
                    break
        except (av.FFmpegError, OSError, TypeError, ValueError, OverflowError) as error:
            self._decoder = None
            raise no_video(self._path, error) from error
        self._decoder = None
        raise DatasetError(f"{self._path}: no image at {wanted:.4f} s")
