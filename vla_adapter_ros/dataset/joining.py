"""Puts several files into one: videos packet by packet, tables row group by row group. Nothing is encoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import pyarrow as pa
import pyarrow.parquet as pq

from vla_adapter_ros import files
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.errors import DatasetError

LONGEST_VIDEO_S = 1000.0
"""LeRobot compares times in single precision to 0.1 ms; from 1024 s on its numbers are 0.12 ms apart."""


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
        self._out: av.container.OutputContainer | None = None
        self._kind: tuple = ()
        self._bytes = self._images = 0
        self.files = 0
        """Files that were begun."""

    def place(self, source: Path) -> tuple[int, int]:
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
        if self._out is not None:
            self._out.close()
            self._out = None
            files.commit_file(self._path)

    def cancel(self) -> None:
        """Close the newest file as it is."""
        if self._out is not None:
            self._out.close()
            self._out = None

    @property
    def _path(self) -> Path:
        place = layout.locate(self.files - 1)
        return self._root / layout.VIDEO_PATH.format(video_key=self._key, **place)

    def _join(self, source: Path) -> None:
        with av.open(str(source)) as container:
            stream = container.streams.video[0]
            step = 1 / (Fraction(self._fps).limit_denominator(1001) * stream.time_base)  # ticks per image
            size, kind = source.stat().st_size, _kind_of(stream)
            if step.denominator != 1:
                kind = (*kind, source)  # no whole number of ticks: no other video can follow exactly
            seconds = (self._images + stream.frames) / self._fps
            full = self._bytes + size > self._largest or seconds > LONGEST_VIDEO_S
            if self._out is None or full or kind != self._kind:
                self._begin(stream, kind)
            copy, end = self._out.streams.video[0], 0
            self._places[source] = (self.files - 1, self._images)
            offset, base = int(self._images * step), stream.time_base
            for packet in container.demux(stream):
                if packet.pts is None:
                    continue
                end = max(end, packet.pts + (packet.duration or 0))
                dts = packet.dts if packet.dts is not None else packet.pts
                packet.stream, packet.time_base = copy, base
                packet.pts, packet.dts = packet.pts + offset, dts + offset
                self._out.mux(packet)
            self._bytes += size
            self._images += max(stream.frames, math.ceil(Fraction(end) / step))

    def _begin(self, stream: av.VideoStream, kind: tuple) -> None:
        self.close()
        self.files, self._kind, self._bytes, self._images = self.files + 1, kind, 0, 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._out = av.open(str(files.temporary_path(self._path)), "w", format="mp4")
        copy = self._out.add_stream_from_template(stream, opaque=True)
        copy.time_base = stream.time_base


def _kind_of(stream: av.VideoStream) -> tuple:
    """What two videos must share to be parts of one: a decoder is set up once per file."""
    context = stream.codec_context
    shape = (context.codec.canonical_name, context.width, context.height, context.pix_fmt)
    return (*shape, context.extradata, stream.time_base)


@dataclass
class TableJoiner:
    """Joins tables of rows: one row group each, a new file where the next would not fit.

    Attributes:
        root: Folder of the new data set.
        largest: Size that a file of several tables may have [byte].
        files: Files that were begun.
    """

    root: Path
    largest: float
    files: int = 0
    _sink: BinaryIO | None = None
    _writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table) -> int:
        """Append rows; returns the number of the file that holds them."""
        full = self._sink is not None and self._sink.tell() + table.nbytes > self.largest
        if self._writer is None or full or table.schema != self._writer.schema:
            self.close()
            self.files += 1
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = files.temporary_path(self._path).open("wb")
            self._writer = pq.ParquetWriter(self._sink, table.schema)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        return self.files - 1

    def close(self) -> None:
        """Finish the newest file; its name is then the final one."""
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = self._sink = None
            files.commit_file(self._path)

    @property
    def _path(self) -> Path:
        return layout.data_file(self.root, self.files - 1)
