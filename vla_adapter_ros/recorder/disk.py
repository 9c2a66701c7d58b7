"""How much can still be recorded onto a disk."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from vla_adapter_ros.contract import Contract

BYTES_PER_PIXEL = 0.02  # of encoded video at the default quality, until a real figure is known
DEPTH_BYTES_PER_PIXEL = 0.45  # without loss, with noise of 0.2 %
_MEASURED_S = 5.0  # recorded time from which on the real figure counts


def usual_speed(contract: Contract) -> float:
    """How fast an episode of a robot usually grows [byte/s]."""
    size = sum(BYTES_PER_PIXEL * camera.width * camera.height for camera in contract.cameras.values())
    size += sum(DEPTH_BYTES_PER_PIXEL * c.width * c.height for c in contract.depth_cameras.values())
    return size * contract.rate_hz


class DiskGauge:
    """Watches the disk of a data set, and learns how fast it fills.

    Args:
        root: Folder of the data set; it exists.
        contract: Cameras and rate.
        floor: Free space that is to remain [byte].
    """

    def __init__(self, root: Path, contract: Contract, floor: float) -> None:
        self._root, self._floor = root, floor
        self._usual = usual_speed(contract)
        self._bytes = self._seconds = 0.0

    def add_episode(self, size: float, seconds: float) -> None:
        """Learn from an episode of `seconds` [s] whose videos take `size` [byte]."""
        self._bytes += size
        self._seconds += max(0.0, seconds)

    def free(self) -> float:
        """Free space [byte]; NaN where the file system does not tell its size."""
        usage = shutil.disk_usage(self._root)
        return float(usage.free) if usage.total > 0 else math.nan

    def shortage(self) -> str:
        """Why nothing more may be recorded; empty if there is room."""
        free = self.free()
        if not free < self._floor:
            return ""
        return (
            f"the disk of {self._root} is full: {free / 1e9:.2f} GB left, "
            f"allowed is at least {self._floor / 1e9:.2f}"
        )

    def minutes_left(self, size: float = 0.0, seconds: float = 0.0) -> float:
        """Recording time until the floor is reached [min], NaN if nobody knows.

        Args:
            size, seconds: Of the current episode so far [byte], [s].
        """
        written, lasted = self._bytes + size, self._seconds + max(0.0, seconds)
        speed = written / lasted if lasted > _MEASURED_S and written > 0 else self._usual
        room = self.free() - self._floor
        return room / speed / 60 if not room < 0 else 0.0
