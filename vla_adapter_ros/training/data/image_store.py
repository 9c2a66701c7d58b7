"""The images of a training by row: decoded once and kept, or decoded when they are wanted.

Single images out of videos: files stay open, and reading goes on where that beats a jump.
"""

from __future__ import annotations

import dataclasses
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import psutil

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.opening import Dataset
from vla_adapter_ros.dataset.video import no_video, to_colors
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.preprocessing import Preprocessor, center_crop
from vla_adapter_ros.paths import expand
from vla_adapter_ros.training.data.augmentation import resolve_augmentation
from vla_adapter_ros.training.data.data_sources import OpenSource
from vla_adapter_ros.training.data.image_file import images_key, open_images
from vla_adapter_ros.training.setting_words import Augmentation
from vla_adapter_ros.training.settings import FinetuneSettings

CACHE_LIMIT = 2**30  # bytes of images that are kept where not all fit
_BLOCK = 64  # images that are resized at once
_MAX_THREADS = 8
_OPEN_FILES = 64
_READ_ON = 12  # images: up to this distance decoding on is cheaper than jumping to a key image


def memory_limit() -> int:
    """Bytes that decoded images may take: half of what is free, shared by the processes of this machine."""
    processes = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return psutil.virtual_memory().available // 2 // processes


def training_images(
    sources: Sequence[OpenSource],
    contract: Contract,
    policy: VlaAdapterPolicy,
    settings: FinetuneSettings,
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImageStore:
    """Images of data sets for training a policy that `prepare_preprocessing` gave; see `ImageStore`."""
    preprocessing = policy.config.preprocessing
    crop = 1.0
    if resolve_augmentation(settings.augmentation, policy.config) == Augmentation.OFFICIAL:
        crop = preprocessing.center_crop  # left to later: random crops need the whole image
        preprocessing = dataclasses.replace(preprocessing, center_crop=1.0)
    return ImageStore(
        [source.data for source in sources], contract.camera_names, Preprocessor(preprocessing).resize,
        preprocessing.size, crop=crop, limit=limit, progress=progress,
        folder=expand(settings.image_cache) if settings.image_cache else None,
        preparation=repr(preprocessing),
    )  # fmt: skip


class _Part(NamedTuple):
    """The images of one episode and camera, and where they go."""

    data: Dataset
    camera: str
    episode: int
    length: int
    first: int
    place: int


class ImageStore:
    """The images of data sets at the model's size, by row; rows of the second follow those of the first.

    All are decoded once and kept if they fit `limit` bytes, or in a file if there is a folder for it.
    Otherwise each is decoded when asked for, rows that lie close together in a video in one go, and the last
    ones that were used stay in memory.

    Args:
        data: The data set, or several.
        cameras: Their order is the model's.
        resize: uint8 (..., H, W, 3) to uint8 (..., size, size, 3).
        size: Width and height after `resize` [px].
        crop: Fraction of the area of the central box that `store[rows]` shows, and `uncropped` does not.
        limit: Memory that decoded images may take [byte]; None: see `memory_limit`.
        cache: Memory for the last images used, where not all fit [byte].
        progress: Called with (episodes done, episodes) while decoding.
        folder: Where decoded images are kept that do not fit memory, see `image_file`; None: nowhere.
        preparation: What `resize` does, in words that differ when it does.

    Attributes:
        in_memory: Whether all images are decoded and kept in memory.
    """

    def __init__(
        self,
        data: Dataset | Sequence[Dataset],
        cameras: tuple[str, ...],
        resize: Callable[[np.ndarray], np.ndarray],
        size: int,
        *,
        crop: float = 1.0,
        limit: int | None = None,
        cache: int = CACHE_LIMIT,
        progress: Callable[[int, int], None] = lambda done, total: None,
        folder: Path | None = None,
        preparation: str = "",
    ) -> None:
        self._data = tuple(data) if isinstance(data, Sequence) else (data,)
        self._cameras, self._resize, self._size, self._crop = cameras, resize, size, crop
        self._starts = np.cumsum([0, *(part.num_frames for part in self._data)])
        self._images: np.ndarray | None = None
        self._frames = VideoFrames()
        self._cached: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._max_cached = cache // (size * size * 3)
        shape = (int(self._starts[-1]), len(cameras), size, size, 3)
        limit = memory_limit() if limit is None else limit
        self.in_memory = bool(np.prod(shape, dtype=np.int64) <= limit)
        if self.in_memory:
            self._images = np.empty(shape, dtype=np.uint8)
            for _ in self._fill(self._images, range(len(self._work)), progress):
                pass
        elif folder is not None and limit:
            key = images_key(self._data, cameras, preparation)
            self._images = open_images(
                folder, key, shape, len(self._work),
                lambda images, missing: self._fill(images, missing, progress),
            )  # fmt: skip

    def __len__(self) -> int:
        """Rows."""
        return int(self._starts[-1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Images of rows (B,) as the running policy sees them: uint8 (B, cameras, size, size, 3)."""
        images = self.uncropped(rows)
        if self._crop == 1.0:
            return images
        return center_crop(images.reshape(-1, *images.shape[2:]), self._crop).reshape(images.shape)

    def uncropped(self, rows: np.ndarray) -> np.ndarray:
        """The same before the central box is cut out, for training on random crops."""
        if self._images is not None:
            return self._images[rows]
        rows = np.asarray(rows)
        out = np.empty((len(rows), len(self._cameras), self._size, self._size, 3), dtype=np.uint8)
        for camera in range(len(self._cameras)):
            self._look_up(rows, camera, out[:, camera])
        return out

    def _look_up(self, rows: np.ndarray, camera: int, out: np.ndarray) -> None:
        """Images of one camera, from those that were kept or from the videos."""
        lacking = [row for row in np.unique(rows).tolist() if (row, camera) not in self._cached]
        found = dict(zip(lacking, self._decode(lacking, camera), strict=True))
        for place, row in enumerate(rows.tolist()):
            key = (row, camera)
            if key in self._cached:
                self._cached.move_to_end(key)
                out[place] = self._cached[key]
            else:
                out[place] = found[row]
        for row, image in found.items():
            self._cached[row, camera] = image
        while len(self._cached) > self._max_cached:
            self._cached.popitem(last=False)

    def original(self, row: int, camera: int) -> np.ndarray:
        """Image of a row as it was recorded: uint8 (H, W, 3) RGB; `camera` is its place among the cameras.

        Raises:
            DatasetError: no readable video, or it has no such image.
        """
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        data, at = self._data[part], row - int(self._starts[part])
        firsts = [episode.first_row for episode in data.episodes]
        episode = int(np.searchsorted(firsts, at, side="right")) - 1
        return self._frames.image(data, self._cameras[camera], episode, at - firsts[episode])

    def _decode(self, rows: list[int], camera: int) -> list[np.ndarray]:
        """Images of rows in rising order, at the model's size."""
        raw = [self.original(row, camera) for row in rows]
        images: list[np.ndarray] = []
        for start in range(0, len(raw), _BLOCK):
            block = raw[start : start + _BLOCK]
            if len({image.shape for image in block}) == 1:
                images.extend(self._resize(np.stack(block)))
            else:
                images.extend(self._resize(image) for image in block)
        return images

    def __getstate__(self) -> dict[str, Any]:
        """Another process opens a file of images itself: pickled, it would be all of them."""
        images = self._images
        file = (images.filename, images.shape) if isinstance(images, np.memmap) else None
        return {**self.__dict__, "_images": None if file else images, "file": file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        file = state.pop("file")
        self.__dict__.update(state)
        if file:
            self._images = np.memmap(file[0], np.uint8, "r", shape=file[1])

    @property
    def _work(self) -> list[_Part]:
        """The images of every episode and camera."""
        return [
            _Part(data, camera, episode.index, episode.length, int(start) + episode.first_row, c)
            for data, start in zip(self._data, self._starts, strict=False)
            for episode in data.episodes
            for c, camera in enumerate(self._cameras)
        ]

    def _fill(
        self, images: np.ndarray, numbers: Sequence[int], progress: Callable[[int, int], None]
    ) -> Iterator[int]:
        """Decode parts of the work, several at a time: decoding and resizing leave Python's lock alone.

        Gives the number of each when its images are there.
        """
        work, cameras = self._work, len(self._cameras)
        with ThreadPoolExecutor(max(1, min(_MAX_THREADS, len(os.sched_getaffinity(0))))) as pool:
            try:
                filled = pool.map(lambda number: self._fill_part(images, work[number]), numbers)
                for done, (number, _) in enumerate(zip(numbers, filled, strict=True), start=1):
                    yield number
                    if done % cameras == 0:
                        progress(done // cameras, len(numbers) // cameras)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _fill_part(self, images: np.ndarray, part: _Part) -> None:
        data, camera, episode, length, first, place = part
        block: list[np.ndarray] = []
        done = 0
        for image in data.images(camera, episode):
            block.append(image)
            if len(block) == _BLOCK or done + len(block) == length:
                rows = slice(first + done, first + done + len(block))
                images[rows, place] = self._resize(np.stack(block))
                done += len(block)
                block.clear()


class VideoFrames:
    """Decodes single images; ask for those of one video in rising order.

    Belongs to one process: a copy in another one starts with no open file.
    """

    def __init__(self) -> None:
        self._forget_files()

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        self._forget_files()

    def _forget_files(self) -> None:
        self._open: OrderedDict[Path, _OpenVideo] = OrderedDict()
        self._process = os.getpid()

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
            self._forget_files()
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
                at = int((wanted + 0.25 / fps) / (self._stream.time_base or 0))
                self._container.seek(at, stream=self._stream)
                self._decoder = self._container.decode(self._stream)
            for frame in self._decoder:
                self._time = frame.time
                if abs(frame.time - wanted) * fps <= 0.5:
                    return to_colors(frame, self._path)
                if frame.time > wanted:
                    break
        except (av.FFmpegError, OSError, TypeError, ValueError, ArithmeticError) as error:
            self._decoder = None
            raise no_video(self._path, error) from error
        self._decoder = None
        raise DatasetError(f"{self._path}: no image at {wanted:.4f} s")
