"""Decoded images in a file, for data sets whose images do not fit memory: decoded once for all trainings."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from vla_adapter_ros.dataset.mapped import MappedDataset
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.errors import TrainingError

Fill = Callable[[np.ndarray, list[int]], Iterable[int]]
"""Writes the images of these parts into the array; gives the number of each part when it is there."""
_RESERVE = 1 << 30  # bytes that must stay free


def images_key(data: Sequence[Dataset], cameras: Sequence[str], preparation: str) -> str:
    """A name that is another one whenever the images would be.

    Args:
        data: The data sets: their files by path, size and time of change, and how cameras are shown.
        cameras: Their order.
        preparation: How images become those of the model.
    """
    sums = hashlib.sha256(repr((tuple(cameras), preparation)).encode())
    for part in data:
        paths = {path for e in part.episodes for path in (e.data, *(v.path for v in e.videos.values()))}
        for path in sorted(paths):
            facts = path.stat() if path.exists() else None
            sums.update(repr((str(path), facts and (facts.st_size, facts.st_mtime_ns))).encode())
        sums.update(repr([(e.index, e.length, e.first_row) for e in part.episodes]).encode())
        if isinstance(part, MappedDataset):
            shown = part.contract.recorded_cameras if part.contract else {}
            turned = [(part.source_of(c), shown[c].size, str(shown[c].fit)) for c in cameras if c in shown]
            sums.update(repr(turned).encode())
    return sums.hexdigest()[:24]


def open_images(folder: Path, key: str, shape: tuple[int, ...], parts: int, fill: Fill) -> np.ndarray:
    """The images as an array that lies in a file; what is not there yet is decoded first.

    One process decodes, others wait for it. A process that was killed leaves whole parts, and the next one
    goes on with those that are missing.

    Args:
        folder: Made if it is missing.
        key: Of the images, see `images_key`.
        shape: Of the array, uint8.
        parts: In how many parts they are decoded.
        fill: Decodes parts.

    Raises:
        TrainingError: the disk is too small, or the folder cannot be written to.
        DatasetError: a video is damaged.
    """
    images, done = folder / f"{key}.images", folder / f"{key}.done"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f"{key}.lock"):
            known = done.read_bytes() if done.is_file() and images.is_file() else b""
            state = bytearray(known if len(known) == parts else bytes(parts))
            missing = [number for number in range(parts) if not state[number]]
            if missing:
                if not any(state):
                    _require_room(folder, images, math.prod(shape))
                    images.unlink(missing_ok=True)
                array = np.memmap(images, np.uint8, "r+" if images.is_file() else "w+", shape=shape)
                for number in fill(array, missing):
                    array.flush()
                    state[number] = 1
                    done.write_bytes(state)
                del array
    except OSError as error:
        raise TrainingError(f"{folder} cannot hold decoded images: {error}: choose another folder") from None
    return np.memmap(images, np.uint8, "r", shape=shape)


def _require_room(folder: Path, images: Path, needed: int) -> None:
    there = images.stat().st_blocks * 512 if images.is_file() else 0
    free = shutil.disk_usage(folder).free + there - _RESERVE
    if free < needed:
        raise TrainingError(
            f"{folder}: {max(0, free) / 1e9:.1f} GB can be used, decoded images need {needed / 1e9:.1f} GB: "
            "make room, choose another folder, or leave image_cache out"
        )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Inside, no other process is; the kernel lets them in when this one is gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
