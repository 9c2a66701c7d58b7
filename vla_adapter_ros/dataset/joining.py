"""Puts several files into one: videos packet by packet, tables row group by row group. Nothing is encoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import files
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.video import time_base_of
from vla_adapter_ros.errors import DatasetError

LONGEST_VIDEO_S = 1000.0
"""LeRobot compares times in single precision to 0.1 ms; from 1024 s on its numbers are 0.12 ms apart."""


@dataclass
class _OpenVideo:
    """The newest file of a camera: what it is made of so far.

    Attributes:
        out, copy: The open file, and the stream in it.
        kind: What all its videos share.
        bytes, images: How much is in it.
    """

    out: av.container.OutputContainer
    copy: av.VideoStream
    kind: tuple[Any, ...]
    bytes: int = 0
    images: int = 0


class VideoJoiner:
    """Joins the videos of one camera, in the order in which they are asked for.

    A new file is begun where the next video was encoded otherwise, or would make the file too large or long.

    Args:
        root: Folder of the new data set.
        key: Feature of the camera.
        fps: Images per second.
        largest: Size that a file of several videos may have [byte].
    """

    def __init__(self, root: Path, key: str, fps: float, largest: float) -> None:
        self._root, self._key, self._fps, self._largest = root, key, fps, largest
        self._places: dict[Path, tuple[int, int]] = {}
        self._newest: _OpenVideo | None = None
        self.files = 0
        """Files that were begun."""

    def place_video(self, source: Path) -> tuple[int, int]:
        """Number of the new file that holds a video, and how many images come before it there.

        Raises:
            DatasetError: no readable video.
        """
        if source not in self._places:
            try:
                self._join(source)
            except (av.FFmpegError, IndexError, OSError, ValueError) as error:
                raise DatasetError(f"{source}: cannot be joined with others: {error}") from error
        return self._places[source]

    def close(self) -> None:
        """Finish the newest file; its name is then the final one."""
        if self._newest is not None:
            self.cancel()
            files.commit_file(self._path)

    def cancel(self) -> None:
        """Close the newest file as it is."""
        if self._newest is not None:
            self._newest.out.close()
            self._newest = None

    @property
    def _path(self) -> Path:
        place = layout.locate(self.files - 1)
        return self._root / layout.VIDEO_PATH.format(video_key=self._key, **place)

    def _join(self, source: Path) -> None:
        with av.open(str(source)) as container:
            stream = container.streams.video[0]
            base = time_base_of(stream)
            step = 1 / (Fraction(self._fps).limit_denominator(1001) * base)  # ticks per image
            size, kind = source.stat().st_size, _kind_of(stream)
            if step.denominator != 1:
                kind = (*kind, source)  # no whole number of ticks: no other video can follow exactly
            target = self._newest
            if target is None or target.kind != kind or self._is_full(target, size, stream.frames):
                target = self._begin(stream, kind)
            self._places[source] = (self.files - 1, target.images)
            offset, end = int(target.images * step), 0
            for packet in container.demux(stream):
                if packet.pts is None:
                    continue
                end = max(end, packet.pts + (packet.duration or 0))
                dts = packet.dts if packet.dts is not None else packet.pts
                packet.stream, packet.time_base = target.copy, base
                packet.pts, packet.dts = packet.pts + offset, dts + offset
                target.out.mux(packet)
            target.bytes += size
            target.images += max(stream.frames, math.ceil(Fraction(end) / step))

    def _is_full(self, target: _OpenVideo, size: int, images: int) -> bool:
        seconds = (target.images + images) / self._fps
        return target.bytes + size > self._largest or seconds > LONGEST_VIDEO_S

    def _begin(self, stream: av.VideoStream, kind: tuple[Any, ...]) -> _OpenVideo:
        self.close()
        self.files += 1
        self._path.parent.mkdir(parents=True, exist_ok=True)
        out = av.open(str(files.temporary_path(self._path)), "w", format="mp4")
        copy = out.add_stream_from_template(stream, opaque=True)
        copy.time_base = time_base_of(stream)
        self._newest = _OpenVideo(out, copy, kind)
        return self._newest


def _kind_of(stream: av.VideoStream) -> tuple[Any, ...]:
    """What two videos must share to be parts of one: a decoder is set up once per file."""
    context = stream.codec_context
    shape = (context.codec.canonical_name, context.width, context.height, context.pix_fmt)
    return (*shape, context.extradata, stream.time_base)


class TableJoiner:
    """Joins tables of rows: one row group each, a new file where the next would not fit.

    Args:
        root: Folder of the new data set.
        largest: Size that a file of several tables may have [byte].
    """

    def __init__(self, root: Path, largest: float) -> None:
        self._root, self._largest = root, largest
        self._newest: tuple[BinaryIO, pq.ParquetWriter] | None = None
        self.files = 0
        """Files that were begun."""

    def add_rows(self, table: pa.Table) -> int:
        """Append a table; returns the number of the file that holds it."""
        target = self._newest
        if target is not None:
            full = target[0].tell() + table.nbytes > self._largest
            target = None if full or table.schema != target[1].schema else target
        if target is None:
            target = self._begin(table.schema)
        target[1].write_table(table, row_group_size=max(1, table.num_rows))
        return self.files - 1

    def close(self) -> None:
        """Finish the newest file; its name is then the final one."""
        if self._newest is not None:
            sink, writer = self._newest
            writer.close()
            sink.close()
            self._newest = None
            files.commit_file(self._path)

    def _begin(self, schema: pa.Schema) -> tuple[BinaryIO, pq.ParquetWriter]:
        self.close()
        self.files += 1
        self._path.parent.mkdir(parents=True, exist_ok=True)
        sink = files.temporary_path(self._path).open("wb")
        self._newest = sink, pq.ParquetWriter(sink, schema)
        return self._newest

    @property
    def _path(self) -> Path:
        return layout.data_file(self._root, self.files - 1)
