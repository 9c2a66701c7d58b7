"""Writes MCAP files, and reads those of strangers: every length is checked before it is believed."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from vla_adapter_ros import __version__
from vla_adapter_ros.errors import CapsuleError
from vla_adapter_ros.untrusted import short

LIBRARY = f"vla_adapter_ros {__version__}"
"""Who writes, as every file says."""
MAGIC = b"\x89MCAP0\r\n"
LARGEST_FILE = 4 << 30
LARGEST_RECORD = 256 << 20
"""Of a record, and of what a compressed chunk becomes [bytes]."""
_MOST_TOPICS = 1000
_CHUNK_BYTES = 1 << 20
_FRAME = 9  # bytes before each record: its kind and its length


class Schema(NamedTuple):
    """What messages of a topic are: name, `ros2msg` or `jsonschema`, and the definition."""

    name: str
    encoding: str
    definition: str


class Topic(NamedTuple):
    """A topic of a file: its name, its schema, and whether messages are `cdr` or `json`."""

    name: str
    schema: Schema
    encoding: str


class Message(NamedTuple):
    """A message of a file: its topic, its time [ns] and its bytes."""

    topic: str
    time_ns: int
    data: bytes


class McapWriter:
    """Writes one file; the caller gives it its name once it is complete: see `files.write_file`.

    Args:
        path: File to write.

    Raises:
        CapsuleError: the package mcap is missing.
    """

    def __init__(self, path: Path) -> None:
        try:
            from mcap.writer import Writer
        except ImportError:
            raise CapsuleError("writing MCAP files needs the package mcap: pip install mcap") from None
        self._file = open(path, "wb")
        self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES)
        self._writer.start(profile="ros2", library=LIBRARY)
        self._schemas: dict[Schema, int] = {}
        self._topics: dict[Topic, int] = {}
        self._counts: dict[int, int] = {}

    def __enter__(self) -> McapWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def close(self) -> None:
        """Write the end of the file."""
        try:
            self._writer.finish()  # type: ignore[no-untyped-call]
            self._file.flush()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close the file without its end."""
        self._file.close()

    def add_message(self, topic: Topic, time_ns: int, data: bytes) -> None:
        """Add a message; times before 0 count as 0, which the format begins with."""
        channel = self._topics.get(topic)
        if channel is None:
            schema = self._schemas.get(topic.schema)
            if schema is None:
                name, encoding, definition = topic.schema
                schema = self._writer.register_schema(name, encoding, definition.encode())
                self._schemas[topic.schema] = schema
            channel = self._writer.register_channel(topic.name, topic.encoding, schema)
            self._topics[topic] = channel
        sequence = self._counts[channel] = self._counts.get(channel, 0) + 1
        time_ns = max(time_ns, 0)
        self._writer.add_message(channel, time_ns, data, time_ns, sequence)

    def add_metadata(self, name: str, values: Mapping[str, str]) -> None:
        """Add names and texts."""
        self._writer.add_metadata(name, dict(values))

    def add_attachment(self, name: str, kind: str, data: bytes) -> None:
        """Add a file of a media type, such as text/plain."""
        self._writer.add_attachment(0, 0, name, kind, data)


class McapFile:
    """A file that is complete, open for reading.

    Args:
        path: Where it lies.

    Raises:
        CapsuleError: no MCAP file, a damaged or cut one, or one that is larger than allowed.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            import mcap  # noqa: F401
        except ImportError:
            raise CapsuleError("reading MCAP files needs the package mcap: pip install mcap") from None
        self.path, self.size = path, os.stat(path).st_size
        if self.size > LARGEST_FILE:
            raise CapsuleError(f"{path}: {self.size} bytes: allowed are {LARGEST_FILE}")
        self.topics: dict[str, Topic] = {}
        """The topics that have messages, by name."""
        self.counts: dict[str, int] = {}
        """Topic -> messages."""
        self.bytes: dict[str, int] = {}
        """Topic -> bytes of its messages, before compression."""
        self.metadata: dict[str, dict[str, str]] = {}
        self.attachments: dict[str, tuple[str, bytes]] = {}
        """Name -> media type and content."""
        self.begin_ns = self.end_ns = 0
        for message in self.messages():
            if message.topic not in self.counts:
                self.counts[message.topic] = self.bytes[message.topic] = 0
            if not any(self.counts.values()):
                self.begin_ns = self.end_ns = message.time_ns
            self.counts[message.topic] += 1
            self.bytes[message.topic] += len(message.data)
            self.begin_ns = min(self.begin_ns, message.time_ns)
            self.end_ns = max(self.end_ns, message.time_ns)

    def messages(self) -> Iterator[Message]:
        """All messages, in the order in which they were written.

        Raises:
            CapsuleError: a damaged file.
        """
        try:
            with open(self.path, "rb") as file:
                yield from self._messages(file)
        except (CapsuleError, OSError):
            raise
        except Exception as error:  # of the parser's records, of any kind
            text = f"{type(error).__name__}: {short(str(error), 150)}"
            raise CapsuleError(f"{self.path}: damaged: {text}") from None

    def _messages(self, file: IO[bytes]) -> Iterator[Message]:
        from mcap import records
        from mcap.opcode import Opcode

        if file.read(len(MAGIC)) != MAGIC:
            raise CapsuleError(f"{self.path}: no MCAP file: it begins with other bytes")
        schemas: dict[int, Schema] = {}
        channels: dict[int, Topic] = {}
        ended = False
        for kind, stream, length in self._expanded(file):
            if kind == Opcode.SCHEMA:
                schema = records.Schema.read(stream)
                schemas[schema.id] = Schema(schema.name, schema.encoding, schema.data.decode())
            elif kind == Opcode.CHANNEL:
                channel = records.Channel.read(stream)
                described = schemas.get(channel.schema_id, Schema("", "", ""))
                channels[channel.id] = Topic(channel.topic, described, channel.message_encoding)
                if len(channels) > _MOST_TOPICS:
                    raise CapsuleError(f"{self.path}: more than {_MOST_TOPICS} topics")
            elif kind == Opcode.MESSAGE:
                message = records.Message.read(stream, length)
                topic = channels.get(message.channel_id)
                if topic is None:
                    raise CapsuleError(f"{self.path}: damaged: a message of a channel that it lacks")
                self.topics.setdefault(topic.name, topic)
                yield Message(topic.name, message.log_time, message.data)
            elif kind == Opcode.METADATA:
                metadata = records.Metadata.read(stream)
                self.metadata[metadata.name] = metadata.metadata
            elif kind == Opcode.ATTACHMENT:
                attachment = records.Attachment.read(stream)
                self.attachments[attachment.name] = attachment.media_type, attachment.data
            ended = ended or kind == Opcode.FOOTER
        if not ended:
            raise CapsuleError(f"{self.path}: it ends in the middle: it was cut, or not written to its end")

    def _expanded(self, file: IO[bytes]) -> Iterator[tuple[int, Any, int]]:
        """Kind, content and length of each record, those in chunks too, up to the footer."""
        from mcap.opcode import Opcode
        from mcap.records import Chunk

        left = self.size - len(MAGIC)
        for kind, stream, length in self._framed(file, left):
            if kind != Opcode.CHUNK:
                yield kind, stream, length
                if kind == Opcode.FOOTER:
                    return
                continue
            data = self._decompressed(Chunk.read(stream))
            yield from self._framed(io.BytesIO(data), len(data))

    def _framed(self, file: IO[bytes], left: int) -> Iterator[tuple[int, Any, int]]:
        from mcap.data_stream import ReadDataStream

        while left >= _FRAME:
            frame = file.read(_FRAME)
            kind, length = frame[0], int.from_bytes(frame[1:], "little")
            left -= _FRAME + length
            if left < 0:
                raise CapsuleError(f"{self.path}: it ends in the middle: it was cut, or is damaged")
            if length > LARGEST_RECORD:
                raise CapsuleError(f"{self.path}: a record of {length} bytes: allowed are {LARGEST_RECORD}")
            yield kind, ReadDataStream(io.BytesIO(file.read(length))), length

    def _decompressed(self, chunk: Any) -> bytes:
        """The records of a chunk; no more than allowed is ever taken out of it."""
        if chunk.uncompressed_size > LARGEST_RECORD:
            raise CapsuleError(
                f"{self.path}: a chunk of {chunk.uncompressed_size} bytes: allowed are {LARGEST_RECORD}"
            )
        if chunk.compression == "zstd":
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(chunk.data) as reader:
                data = reader.read(chunk.uncompressed_size + 1)
        elif chunk.compression == "lz4":
            import lz4.frame

            data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, chunk.uncompressed_size + 1)
        elif chunk.compression == "":
            data = chunk.data
        else:
            raise CapsuleError(
                f"{self.path}: compression {short(chunk.compression, 30)}: allowed is zstd, lz4 or none"
            )
        if len(data) != chunk.uncompressed_size:
            raise CapsuleError(f"{self.path}: damaged: a chunk is not as long as it says")
        return bytes(data)
