"""What the first bytes of a JPEG or PNG say, so that an image is refused before it is decoded.

A PNG of some megabytes may unfold to gigabytes: 30000 x 30000 pixels took 157 s and 5 GB.
"""

from __future__ import annotations

import struct

from vla_adapter_ros.errors import ImageError

PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PNG_END, JPEG_END = b"IEND", b"\xff\xd9"
# Start of frame, baseline to arithmetic; C4, C8 and CC lie between them and are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
_LAYOUTS = {"PNG": "signature, IHDR, ..., IEND", "JPEG": "start of frame before the scan, end marker"}


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG or PNG, by its header; the data is not decoded.

    Args:
        data: The whole file.

    Raises:
        ImageError: another format, or a file that is cut off or has no size.
    """
    if data.startswith(PNG_START):
        kind, size, whole = "PNG", _png_size(data), data.rfind(PNG_END) > 0
    elif data.startswith(JPEG_START):
        kind, size, whole = "JPEG", _jpeg_size(data), data.rfind(JPEG_END) > 0
    else:
        start = data[:8].hex(" ") or "nothing"
        raise ImageError(
            f"compressed image of {len(data)} bytes is no readable JPEG or PNG: it begins with {start}, "
            f"allowed are {JPEG_START.hex(' ')} and {PNG_START.hex(' ')}"
        )
    if size is None or not whole:
        raise ImageError(
            f"{kind} of {len(data)} bytes is no readable JPEG or PNG, it is cut off or damaged: "
            f"allowed is {_LAYOUTS[kind]}"
        )
    width, height = size
    if not (width > 0 and height > 0):
        raise ImageError(f"{kind} is {width}x{height}: allowed is 1x1 and more")
    return width, height


def _png_size(data: bytes) -> tuple[int, int] | None:
    """Of the IHDR chunk, which comes first; None if it does not."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Of the start of frame, before the first scan; None if there is none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a filling byte
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in (0xD9, 0xDA):
            return None
        elif marker in _FRAMES:
            if at + 9 > len(data):
                return None
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
