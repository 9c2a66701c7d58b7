"""One episode between its first frame and its place in the data set: rows in memory, videos being encoded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.finished_episode import FinishedEpisode
from vla_adapter_ros.dataset.video import VideoEncoder, VideoSettings
from vla_adapter_ros.errors import FrameError, RecordingError
from vla_adapter_ros.observation.frame import Frame, fits_float32


class EpisodeBuffer:
    """Frames of an episode that is not in the data set yet.

    Several may exist at once: one that is recorded and others whose videos are being finished.

    Args:
        task: What is to be done, in words, unless a frame says something else.
        contract: The robot's contract.
        fps: Rate of the videos [Hz].
        settings: Codec and quality.
        videos: Camera -> file to encode into.
    """

    def __init__(
        self, task: str, contract: Contract, fps: int, settings: VideoSettings, videos: Mapping[str, Path]
    ) -> None:
        self.task = task
        self.videos = dict(videos)
        self._rows: list[dict[str, Any]] = []
        self._tasks: list[str] = []  # of each row
        self._contract = contract
        self._streams = layout.stream_names(contract)
        self._encoders: dict[str, VideoEncoder] = {}
        for name, path in self.videos.items():
            camera = contract.recorded_cameras[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            self._encoders[name] = VideoEncoder(
                path, fps, camera.width, camera.height, settings, depth=name in contract.depth_cameras
            )

    @property
    def num_frames(self) -> int:
        """Rows so far."""
        return len(self._rows)

    @property
    def last_stamp(self) -> float:
        """Stamp of the newest frame [s]; NaN before the first."""
        return float(self._rows[-1][layout.STAMP]) if self._rows else math.nan

    @property
    def duration_s(self) -> float:
        """From the first to the newest frame [s]; NaN before the first."""
        return float(self._rows[-1][layout.STAMP] - self._rows[0][layout.STAMP]) if self._rows else math.nan

    @property
    def control_sources(self) -> list[int]:
        """Who was in control in each row: 0 nobody, 1 a human, 2 the policy."""
        return [row[layout.CONTROL_SOURCE] for row in self._rows]

    @property
    def queue_depth(self) -> int:
        """Images that wait for an encoder, over all cameras."""
        return sum(encoder.queue_depth for encoder in self._encoders.values())

    @property
    def bytes_on_disk(self) -> int:
        """Size of the videos so far [byte]."""
        return sum(path.stat().st_size for path in self.videos.values() if path.exists())

    def add_frame(self, frame: Frame, control_source: int, *, wait: bool, task: str = "") -> None:
        """Append a frame: all of it or, if it is refused, nothing of it.

        Args:
            frame: A good frame with an action, later than the one before it.
            control_source: 0 nobody, 1 a human, 2 the policy.
            wait: Whether to wait for an encoder that is behind; if not, the frame is refused.
            task: What is to be done from this frame on; empty: as in the frame before.

        Raises:
            FrameError: the frame is not good, or an encoder is behind.
            RecordingError: an encoder failed.
        """
        self._require_good(frame, control_source)
        for name, encoder in self._encoders.items():
            encoder.require_working()
            if encoder.is_full and not wait:
                raise FrameError(f"camera {name}: {encoder.queue_depth} images wait for the encoder")
        for name, encoder in self._encoders.items():
            encoder.add_image(frame.images[name])
        self._tasks.append(task or (self._tasks[-1] if self._tasks else self.task))
        self._rows.append(
            {
                layout.ACTION: frame.action,
                layout.STATE: frame.state,
                layout.STAMP: frame.stamp,
                layout.AGE: [frame.ages.get(name, math.nan) for name in self._streams],
                layout.CONTROL_SOURCE: control_source,
            }
        )

    def set_control_sources(self, source_at: Callable[[float], int]) -> None:
        """Write into every row who led at its time: when it was added, the newest word was perhaps older."""
        for row in self._rows:
            row[layout.CONTROL_SOURCE] = source_at(row[layout.STAMP])

    def finish_videos(self) -> FinishedEpisode:
        """Encode what still waits, close the videos, and hand over the whole episode.

        Raises:
            RecordingError: no frames, or an encoder failed.
        """
        if not self._rows:
            raise RecordingError("the episode has no frames")
        started = time.monotonic()
        for encoder in self._encoders.values():
            encoder.finish_video()
        return FinishedEpisode(
            tasks=list(self._tasks),
            columns={name: np.array([row[name] for row in self._rows]) for name in self._rows[0]},
            videos=self.videos,
            histograms={name: encoder.histogram for name, encoder in self._encoders.items()},
            encode_cpu_s=sum(encoder.cpu_s for encoder in self._encoders.values()),
            finish_s=time.monotonic() - started,
        )

    def stop_encoders(self) -> None:
        """Stop encoding at once; the videos stay behind, unfinished."""
        for encoder in self._encoders.values():
            encoder.cancel()

    def _require_good(self, frame: Frame, control_source: int) -> None:
        if frame.problem:
            raise FrameError(frame.problem)
        if control_source not in layout.CONTROL_SOURCES:
            raise FrameError(f"control_source = {control_source!r}: allowed are {layout.CONTROL_SOURCES}")
        for name, camera in self._contract.recorded_cameras.items():
            shape = frame.images[name].shape if name in frame.images else None
            allowed = (camera.height, camera.width, *(() if name in self._contract.depth_cameras else (3,)))
            if shape != allowed:
                raise FrameError(f"camera {name}: {shape}, allowed is {allowed}")
        for what, values, names in (
            ("state", frame.state, self._contract.state_names),
            ("action", frame.action, self._contract.action_names),
        ):
            if values is None or values.shape != (len(names),) or not fits_float32(values):
                raise FrameError(f"{what} = {values}: allowed are {len(names)} finite values of float32")
        if self._rows and not frame.stamp > self._rows[-1][layout.STAMP]:
            raise FrameError(f"stamp {frame.stamp} does not come after {self._rows[-1][layout.STAMP]}")
