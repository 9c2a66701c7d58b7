"""A video of an episode, larger than what the policy sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from vla_adapter_ros.evaluation.suite import Result

VIDEO_SIZE = 640, 480
_CAPTION = 64


def video_path(folder: Path, result: Result) -> Path:
    """The file of an episode's video."""
    return folder / f"episode_{result.number:04d}_{result.task}_{result.ending}.mp4".replace(" ", "_")


class EpisodeVideo:
    """Draws a view of each frame, with what was asked for below it.

    Args:
        path: MP4 file to write; its folder is made.
        result: Of the episode.
        rate_hz: Frames per second.
        draw: Gives the picture of now, uint8 (height, width, 3).
        size: Width and height of the pictures.
    """

    def __init__(
        self,
        path: Path,
        result: Result,
        rate_hz: float,
        draw: Callable[[], np.ndarray],
        size: tuple[int, int] = VIDEO_SIZE,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._draw, (self._width, self._height) = draw, size
        self._lines = (f"> {result.instruction}", f"{result.ending}: {result.note}"[:80])
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("h264", rate=round(rate_hz))
        self._stream.width, self._stream.height = self._width, self._height + _CAPTION
        self._stream.pix_fmt = "yuv420p"

    def __enter__(self) -> EpisodeVideo:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()

    def add_frame(self, time: float) -> None:
        """Add the scene as it stands, at `time` [s] of the episode."""
        picture = np.full((self._height + _CAPTION, self._width, 3), 24, np.uint8)
        picture[: self._height] = self._draw()
        for line, text in enumerate((f"{self._lines[0]}   {time:.1f} s", self._lines[1])):
            place = 12, self._height + 26 + 26 * line
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (240,) * 3, 1, cv2.LINE_AA)
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
