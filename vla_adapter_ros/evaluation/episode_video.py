"""A video of an episode, larger than what the policy sees."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from vla_adapter_ros.evaluation.suite import Result
from vla_adapter_ros.simulation.render import make_renderer
from vla_adapter_ros.simulation.robot import SimulatedRobot

_WIDTH, _HEIGHT, _CAPTION = 640, 480, 64


def video_path(folder: Path, result: Result) -> Path:
    """The file of an episode's video."""
    return folder / f"episode_{result.number:04d}_{result.task}_{result.ending}.mp4".replace(" ", "_")


class EpisodeVideo:
    """Draws the reference camera's view of each frame, with what was asked for below it.

    Args:
        robot: As the episode moves it.
        path: MP4 file to write; its folder is made.
        result: Of the episode.
    """

    def __init__(self, robot: SimulatedRobot, path: Path, result: Result) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._robot, self._camera = robot, robot.contract.reference_camera
        self._lines = (f"> {result.instruction}", f"{result.ending}: {result.note}"[:80])
        self._renderer = make_renderer(robot.world.model, _WIDTH, _HEIGHT, robot.backend)
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("h264", rate=round(robot.contract.rate_hz))
        self._stream.width, self._stream.height = _WIDTH, _HEIGHT + _CAPTION
        self._stream.pix_fmt = "yuv420p"

    def __enter__(self) -> EpisodeVideo:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()
        self._renderer.close()

    def add_frame(self, time: float) -> None:
        """Add the scene as it stands, at `time` [s] of the episode."""
        picture = np.full((_HEIGHT + _CAPTION, _WIDTH, 3), 24, np.uint8)
        picture[:_HEIGHT] = self._renderer.render(self._robot.world.data, self._camera)
        for line, text in enumerate((f"{self._lines[0]}   {time:.1f} s", self._lines[1])):
            place = 12, _HEIGHT + 26 + 26 * line
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (240,) * 3, 1, cv2.LINE_AA)
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
