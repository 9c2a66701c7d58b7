"""Takes images out of a video file without decoding and encoding them again."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vla_adapter_ros.dataset.depth import CODEC, PIXEL_FORMAT, DepthCoding
from vla_adapter_ros.dataset.video import decode_frames, no_video, time_base_of
from vla_adapter_ros.errors import DatasetError

CODECS = ("h264", "hevc", "av1")


def video_codec(path: Path) -> str:
    """Codec of a video by its usual name, such as h264.

    Raises:
        DatasetError: no readable video.
    """
    try:
        with av.open(str(path)) as container:
            codec = _codec_of(container.streams.video[0])
    except (av.FFmpegError, IndexError, OSError) as error:
        raise no_video(path, error) from error
    return codec


def key_images(path: Path, start_s: float, count: int, fps: float) -> list[int]:
    """Which of `count` images from `start_s` [s] on a copy may begin with: their places, from 0.

    Raises:
        DatasetError: no readable video.
    """
    try:
        with av.open(str(path)) as container:
            packets = _packets(container, start_s, count, fps)
            places = [place for place, packet in packets if packet.is_keyframe]
    except (av.FFmpegError, IndexError, OSError, ValueError) as error:
        raise no_video(path, error) from error
    return places


def copy_video(
    source: Path, start_s: float, count: int, fps: int, target: Path, *, depth: bool = False
) -> str:
    """Copy `count` images, one per 1/fps from `start_s` [s] on, as they are encoded.

    Args:
        source: Video of one episode or of several.
        start_s: Time of the first image in it.
        count: Number of images.
        fps: Images per second.
        target: mp4 to write; image k is at exactly k / fps.
        depth: Whether it holds depth, as LeRobot codes it.

    Returns:
        Why it cannot be copied, in words; empty if it was. Then the first and the last image were decoded
        from both files and are the same.

    Raises:
        DatasetError: no readable video.
    """
    try:
        reason = _copy(source, start_s, count, fps, target)
    except (av.FFmpegError, IndexError, OSError, ValueError) as error:
        raise DatasetError(f"{source}: cannot be copied: {error}") from error
    if reason:
        target.unlink(missing_ok=True)
        return reason
    for place in dict.fromkeys((0, count - 1)):
        before, after = (
            next(decode_frames(path, start + place / fps, 1, fps, DepthCoding() if depth else None))
            for path, start in ((source, start_s), (target, 0.0))
        )
        if not np.array_equal(before, after):
            target.unlink(missing_ok=True)
            return f"image {place} of the copy is another"
    return ""


def _copy(source: Path, start_s: float, count: int, fps: int, target: Path) -> str:
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        codec, pixels = _codec_of(stream), stream.codec_context.pix_fmt
        if (codec not in CODECS or pixels != "yuv420p") and (codec, pixels) != (CODEC, PIXEL_FORMAT):
            return f"{codec} {pixels}, allowed are {CODECS} in yuv420p"
        with av.open(str(target), "w", format="mp4") as out:
            copy = out.add_stream_from_template(stream, opaque=True)  # a decoder's name is no encoder's
            copy.time_base = Fraction(1, fps)
            copied = 0
            for place, packet in _packets(container, start_s, count, fps):
                if copied == 0 and not packet.is_keyframe:
                    return "it begins between two key images"
                if place != copied:
                    if stream.codec_context.has_b_frames:
                        return "it has B-frames: images are stored in another order than they are shown"
                    return f"image {place} comes in place {copied}: not one image per row, in their order"
                packet.stream, packet.time_base = copy, Fraction(1, fps)
                packet.pts = packet.dts = copied
                packet.duration = 1
                out.mux(packet)
                copied += 1
    return "" if copied == count else f"{copied} images, {count} expected"


def _packets(
    container: av.container.InputContainer, start_s: float, count: int, fps: float
) -> Iterator[tuple[int, av.Packet]]:
    """Packets of images 0 to count - 1 after `start_s`, in the order of the file, with their places."""
    stream = container.streams.video[0]
    tick = time_base_of(stream)
    if start_s > 0:
        container.seek(round(start_s / tick), stream=stream)
    for packet in container.demux(stream):
        if packet.pts is None:
            continue
        place = round((float(packet.pts * tick) - start_s) * fps)
        if place >= count:
            return
        if place >= 0:
            yield place, packet


def _codec_of(stream: av.VideoStream) -> str:
    return str(stream.codec_context.codec.canonical_name)
