"""What the first bytes of a JPEG or PNG say, so that an image is refused before it is decoded.

A PNG of some megabytes may unfold to gigabytes: 30000 x 30000 pixels took 157 s and 5 GB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from vla_adapter_ros.errors import ImageError

PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PNG_END, JPEG_END = b"IEND", b"\xff\xd9"
# Start of frame, baseline to arithmetic; C4, C8 and CC lie between them and are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
_PNG_COLORS = (2, 3, 6)  # true color, palette, true color with alpha; the others are gray
_LAYOUTS = {"PNG": "signature, IHDR, ..., IEND", "JPEG": "start of frame before the scan, end marker"}


@dataclass(frozen=True)
class PictureHeader:
    """What a JPEG or PNG says about itself.

    Attributes:
        kind: JPEG or PNG.
        width, height: [px], at least 1.
        gray: Whether it has one value per pixel, beside alpha.
        bits: Per value.
    """

    kind: str
    width: int
    height: int
    gray: bool
    bits: int


def picture_header(data: bytes) -> PictureHeader:
    """Header of a JPEG or PNG; the data is not decoded.

    Args:
        data: The whole file.

    Raises:
        ImageError: another format, or a file that is cut off or has no size or other colors.
    """
    if data.startswith(PNG_START):
        kind, facts, whole = "PNG", _png_facts(data), data.rfind(PNG_END) > 0
    elif data.startswith(JPEG_START):
        kind, facts, whole = "JPEG", _jpeg_facts(data), data.rfind(JPEG_END) > 0
    else:
        start = data[:8].hex(" ") or "nothing"
        raise ImageError(
            f"compressed image of {len(data)} bytes is no readable JPEG or PNG: it begins with {start}, "
            f"allowed are {JPEG_START.hex(' ')} and {PNG_START.hex(' ')}"
        )
    if facts is None or not whole:
        raise ImageError(
            f"{kind} of {len(data)} bytes is no readable JPEG or PNG, it is cut off or damaged: "
            f"allowed is {_LAYOUTS[kind]}"
        )
    width, height, values, bits = facts
    if not (width > 0 and height > 0):
        raise ImageError(f"{kind} is {width}x{height}: allowed is 1x1 and more")
    if values not in (1, 3):
        raise ImageError(f"{kind} has {values} values per pixel: allowed are 1 (gray) and 3 (colors)")
    return PictureHeader(kind, width, height, values == 1, bits)


def _png_facts(data: bytes) -> tuple[int, int, int, int] | None:
    """Width, height, values per pixel without alpha, bits: of the IHDR chunk; None if it is not the first."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height, bits, color = struct.unpack(">IIBB", data[16:26])
    return width, height, 3 if color in _PNG_COLORS else 1, bits


def _jpeg_facts(data: bytes) -> tuple[int, int, int, int] | None:
    """Width, height, values per pixel, bits: of the start of frame, before the first scan; None without."""
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
            if at + 10 > len(data):
                return None
            bits, height, width, values = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return width, height, values, bits
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
