"""What the policy's newest chunks were predicted from, in memory."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from vla_adapter_ros.capsule.recorded_core import KEPT_S
from vla_adapter_ros.capsule.ring import NewestEntries
from vla_adapter_ros.observation.frame import Frame

MOST_IMAGE_BYTES = 150_000_000
_MOST_RECEIVED = 64  # compressed images of a camera that may still enter a chunk
_SAME_S = 1e-6


class Inference(NamedTuple):
    """One prediction.

    Attributes:
        frame: Its images are those that went into the chunk.
        received: Camera -> the compressed image as it came, where it is known; it is kept instead of pixels.
        instruction: In words.
        rows: What the policy answered, float64 (H, A).
        message: The chunk as it was published.
        committed: Rows before the chunk that the policy was told, float64 (D, A); None: none.
    """

    frame: Frame
    received: dict[str, Any]
    instruction: str
    rows: np.ndarray
    message: Any
    committed: np.ndarray | None = None


class PolicyRing:
    """Predictions of the last `KEPT_S`, and at most `MOST_IMAGE_BYTES`. Safe to use from several threads.

    Args:
        cameras: Names of the cameras whose images are compressed when they come.
    """

    def __init__(self, cameras: tuple[str, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._entries: NewestEntries[Inference] = NewestEntries(KEPT_S, MOST_IMAGE_BYTES)
        self._received: dict[str, deque[tuple[float, Any]]] = {
            camera: deque(maxlen=_MOST_RECEIVED) for camera in cameras
        }

    def note_image(self, camera: str, stamp: float, message: Any) -> None:
        """Keep a compressed image for a while, in case that it enters a chunk."""
        if camera in self._received:
            with self._lock:
                self._received[camera].append((stamp, message))

    def add(
        self,
        frame: Frame,
        instruction: str,
        rows: np.ndarray,
        message: Any,
        committed: np.ndarray | None = None,
    ) -> None:
        """Add a prediction; see `Inference`."""
        with self._lock:
            received = {
                camera: sample[1]
                for camera, samples in self._received.items()
                for sample in samples
                if abs(sample[0] - (frame.stamp - frame.ages.get(camera, np.inf))) < _SAME_S
            }
            pixels = {name: image for name, image in frame.images.items() if name not in received}
            size = sum(image.nbytes for image in pixels.values())
            size += sum(len(image.data) for image in received.values())
            kept = Frame(frame.stamp, pixels, frame.state, None, frame.ages, frame.oldest)
            entry = Inference(kept, received, instruction, rows, message, committed)
            self._entries.add(entry, frame.stamp, size)

    def contents(self) -> list[Inference]:
        """The predictions, the oldest first."""
        with self._lock:
            return self._entries.contents()
