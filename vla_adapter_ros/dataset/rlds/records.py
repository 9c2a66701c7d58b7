"""Records of TFRecord files: length, its checksum, the record, its checksum; checksums are masked CRC-32C."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

from vla_adapter_ros.errors import DatasetError

_HEAD, _CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
_LONGEST = 1 << 31  # protobuf's own limit
NEEDED = "pip install 'vla_adapter_ros[rlds]'"
"""What installs the libraries that RLDS data needs."""


class Record(NamedTuple):
    """Where a record lies: its file, its first byte there, and how many it has."""

    path: Path
    start: int
    length: int


def find_records(path: Path) -> list[Record]:
    """All records of a file; only their heads are read.

    Raises:
        DatasetError: the file cannot be read, is cut off, or is no TFRecord file.
    """
    found: list[Record] = []
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            at = 0
            while at < size:
                file.seek(at)
                head = file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    raise DatasetError(f"{path}: cut off in record {len(found)}, at byte {at}")
                length, checksum = _HEAD.unpack(head)
                if checksum != _masked(head[:8]):
                    raise DatasetError(f"{path}: damaged at byte {at}, or no TFRecord file")
                start = at + _HEAD.size
                at = start + length + _CHECKSUM.size
                if length > _LONGEST or at > size:
                    raise DatasetError(f"{path}: cut off in record {len(found)}, of {length} bytes")
                found.append(Record(path, start, length))
    except OSError as error:
        raise DatasetError(f"{path} is not readable: {error}") from None
    return found


def read_record(record: Record) -> bytes:
    """The bytes of a record.

    Raises:
        DatasetError: they do not fit their checksum, or cannot be read.
    """
    try:
        with open(record.path, "rb") as file:
            file.seek(record.start)
            data, tail = file.read(record.length), file.read(_CHECKSUM.size)
    except OSError as error:
        raise DatasetError(f"{record.path} is not readable: {error}") from None
    if len(tail) < _CHECKSUM.size or _CHECKSUM.unpack(tail)[0] != _masked(data):
        raise DatasetError(f"{record.path}: the record at byte {record.start} does not fit its checksum")
    return data


def _masked(data: bytes) -> int:
    """CRC-32C, turned and moved as TFRecord files have it."""
    value = int(_crc32c().value(data))
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc32c() -> Any:
    try:
        import google_crc32c
    except ImportError:
        raise DatasetError(f"RLDS data needs google-crc32c: {NEEDED}") from None
    return google_crc32c
