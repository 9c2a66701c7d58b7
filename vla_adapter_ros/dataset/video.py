"""Video of one camera and one episode, encoded while it is recorded, and decoded again."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np

from vla_adapter_ros.dataset.column_statistics import empty_histogram, image_histogram
from vla_adapter_ros.dataset.depth import CODEC, PIXEL_FORMAT, DepthCoding, holds_depth
from vla_adapter_ros.dataset.video_colors import yuv_planes
from vla_adapter_ros.errors import DatasetError, RecordingError
from vla_adapter_ros.system_info import ordinary_scheduling
from vla_adapter_ros.untrusted import pointer_note

_ENCODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
_PRESETS = {"h264": "veryfast", "hevc": "veryfast", "av1": "12"}
_QUEUE_LENGTH = 64  # images that may wait for the encoder
_QUEUE_TIMEOUT_S = 20.0  # an encoder that takes longer for one image has hung


@dataclass(frozen=True)
class VideoSettings:
    """How videos are encoded.

    Attributes:
        codec: h264, hevc or av1.
        crf: Quality, smaller is better and larger on disk; 0 to 63.
        gop: Images from one key image to the next: small is fast to jump in, large is small on disk.
        preset: The encoder's own name (x264, x265) or number (SVT-AV1) for its effort; empty: veryfast,
            and 12 for SVT-AV1.
    """

    codec: str = "h264"
    crf: int = 23
    gop: int = 10
    preset: str = ""

    def __post_init__(self) -> None:
        if self.codec not in _ENCODERS:
            raise DatasetError(f"codec = {self.codec!r}: allowed are {list(_ENCODERS)}")
        if not 0 <= self.crf <= 63:
            raise DatasetError(f"crf = {self.crf!r}: allowed is 0 to 63")
        if self.gop < 1:
            raise DatasetError(f"gop = {self.gop!r}: allowed is at least 1")
        if not self.preset:
            object.__setattr__(self, "preset", _PRESETS[self.codec])
        if self.codec == "av1" and not self.preset.isdigit():
            raise DatasetError(
                f"preset = {self.preset!r}: allowed for av1 is a number, 0 (slow) to 13 (fast)"
            )


class VideoEncoder:
    """Encodes the images of one camera in a thread of its own, into an mp4 without B-frames.

    Depth becomes codes that are encoded without loss, whatever the settings say of quality.

    Args:
        path: File to write.
        fps: Images per second, whole.
        width: Image width [px], even.
        height: Image height [px], even.
        settings: Codec and quality.
        depth: Whether images are depth, uint16 (H, W) [mm], and not uint8 (H, W, 3) RGB.
    """

    def __init__(
        self, path: Path, fps: int, width: int, height: int, settings: VideoSettings, *, depth: bool = False
    ) -> None:
        self._path, self._fps, self._settings = path, fps, settings
        self._width, self._height, self._depth = width, height, depth
        self._queue: queue.Queue[np.ndarray | None] = queue.Queue(_QUEUE_LENGTH)
        self._error: BaseException | None = None
        self._cancelled = False
        self._at_end = False  # the queue's end has been taken out
        self.cpu_s = 0.0
        """Processor time of the thread [s], known once it has ended."""
        self.frames = 0
        """Images encoded so far."""
        self.histogram = empty_histogram(depth)
        """Values counted so far, as of `image_histogram`."""
        self._thread = threading.Thread(target=self._run, name=f"encode {path.name}", daemon=True)
        self._thread.start()

    @property
    def queue_depth(self) -> int:
        """Images that wait for the encoder."""
        return self._queue.qsize()

    @property
    def is_full(self) -> bool:
        """Whether the next image would have to wait."""
        return self._queue.full()

    def require_working(self) -> None:
        """Raise RecordingError if the encoder failed."""
        if self._error is not None:
            raise RecordingError(f"{self._path}: encoding failed: {self._error}") from self._error

    def add_image(self, image: np.ndarray) -> None:
        """Hand over an image; waits while the queue is full.

        Raises:
            RecordingError: the encoder failed or hangs.
        """
        self.require_working()
        try:
            self._queue.put(image, timeout=_QUEUE_TIMEOUT_S)
        except queue.Full:
            raise RecordingError(f"{self._path}: the encoder hangs, {_QUEUE_LENGTH} images wait") from None

    def finish_video(self) -> None:
        """Encode what still waits and close the file.

        Raises:
            RecordingError: the encoder failed.
        """
        self._queue.put(None)
        self._thread.join()
        self.require_working()

    def cancel(self) -> None:
        """Stop at once; the file stays behind, unfinished."""
        self._cancelled = True
        with contextlib.suppress(queue.Full):  # an encoder that hangs is left alone: it ends with the process
            self._queue.put(None, timeout=_QUEUE_TIMEOUT_S)
            self._thread.join(_QUEUE_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._encode()
        except BaseException as error:
            self._error = error
            # Go on emptying the queue: whoever fills it must not wait for a dead encoder.
            while not self._at_end and self._queue.get() is not None:
                pass
        finally:
            self.cpu_s = time.thread_time()

    def _encode(self) -> None:
        settings = self._settings
        with av.open(str(self._path), "w", format="mp4") as container:
            codec, pixels = (CODEC, PIXEL_FORMAT) if self._depth else (settings.codec, "yuv420p")
            stream = cast(av.VideoStream, container.add_stream(_ENCODERS[codec], rate=self._fps))
            stream.width, stream.height, stream.pix_fmt = self._width, self._height, pixels
            stream.time_base = stream.codec_context.time_base = Fraction(1, self._fps)
            stream.codec_context.thread_count = 1
            stream.options = {**(_DEPTH_OPTIONS if self._depth else _options(settings))}
            with ordinary_scheduling():
                stream.codec_context.open(strict=False)
            while (image := self._queue.get()) is not None:
                if self._cancelled:
                    continue
                if self._depth:
                    planes = DepthCoding().encode(image)
                else:
                    planes = yuv_planes(image)
                frame = av.VideoFrame.from_ndarray(planes, format=pixels)
                frame.pts, frame.time_base = self.frames, Fraction(1, self._fps)
                container.mux(stream.encode(frame))
                self.histogram += image_histogram(image)
                self.frames += 1
            self._at_end = True
            if not self._cancelled:
                container.mux(stream.encode())


_DEPTH_OPTIONS = {
    "g": "10", "bf": "0", "preset": "ultrafast", "x265-params": "lossless=1:bframes=0:log-level=error"
}  # fmt: skip


def _options(settings: VideoSettings) -> dict[str, str]:
    options = {"crf": str(settings.crf), "g": str(settings.gop), "preset": settings.preset}
    if settings.codec == "hevc":
        return {**options, "bf": "0", "x265-params": "bframes=0:log-level=error"}
    if settings.codec == "h264":  # no key images beside those of the GOP, wherever the light changes
        return {**options, "bf": "0", "sc_threshold": "0"}
    return options  # SVT-AV1 puts no image out of order into the file


def encodes_depth() -> bool:
    """Whether this build of FFmpeg encodes depth: its x265 may have been built for 8 bits only."""
    try:
        formats = av.codec.Codec(_ENCODERS[CODEC], "w").video_formats or ()
    except av.codec.codec.UnknownCodecError:
        return False
    return PIXEL_FORMAT in {kind.name for kind in formats}


def to_colors(frame: av.VideoFrame, path: Path) -> np.ndarray:
    """Image of a decoded frame, uint8 (H, W, 3) RGB.

    Raises:
        DatasetError: the video holds depth.
    """
    if holds_depth(frame.format.name):
        raise DatasetError(f"{path} holds depth ({frame.format.name}): allowed is a video of colors")
    return frame.to_ndarray(format="rgb24")


def no_video(path: Path, error: BaseException) -> DatasetError:
    """The error to raise where a library cannot read a video."""
    if note := pointer_note(path):
        return DatasetError(note)
    why = "no such file" if isinstance(error, FileNotFoundError) else f"no readable video: {error}"
    return DatasetError(f"{path}: {why}")


def count_frames(path: Path) -> int:
    """Number of images in a video, as its header says; in one without such a number they are counted.

    Raises:
        DatasetError: no readable video.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            count = stream.frames or sum(packet.pts is not None for packet in container.demux(stream))
    except (av.FFmpegError, IndexError, OSError) as error:
        raise no_video(path, error) from error
    return count


def time_base_of(stream: av.VideoStream) -> Fraction:
    """How long a tick of a video's clock is [s].

    Raises:
        ValueError: the file does not say it.
    """
    if stream.time_base is None:
        raise ValueError("no time base")
    return stream.time_base


def decode_frames(
    path: Path, start_s: float, count: int, fps: float, coding: DepthCoding | None = None
) -> Iterator[np.ndarray]:
    """Give out `count` images from `start_s` [s] on, one per 1/fps.

    They are uint8 (H, W, 3) RGB or, with a `coding`, depth, uint16 (H, W) [mm].

    Raises:
        DatasetError: the video cannot be read, or has not one image for each of these times.
    """
    found = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if start_s > 0:
                container.seek(int(start_s / time_base_of(stream)), stream=stream)
            for frame in container.decode(stream):
                if frame.time is None:
                    raise DatasetError(f"{path}: an image without a time")
                at = (frame.time - start_s) * fps  # in images
                if at < found - 0.5:
                    continue  # before the start: a video can only be entered at key images
                if at > found + 0.5:
                    raise DatasetError(f"{path}: no image at {start_s + found / fps:.4f} s")
                if coding is None:
                    yield to_colors(frame, path)
                else:
                    yield coding.decode(frame.to_ndarray(format=PIXEL_FORMAT))
                found += 1
                if found == count:
                    return
    except (av.FFmpegError, IndexError, OSError, ValueError, TypeError, OverflowError) as error:
        raise no_video(path, error) from error
    raise DatasetError(f"{path}: {found} images from {start_s:.4f} s on, {count} expected")
