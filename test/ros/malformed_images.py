"""Malformed images, each with the words that must be said about it. No ROS is needed to make them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from vla_adapter_ros.contract.encodings import PIXELS, PLANAR

WIDTH, HEIGHT = 8, 6
UNKNOWN = (
    "", "RGB8", "rgb8 ", "32FC1", "32FC3", "64FC1", "16UC1", "8UC1", "8UC2", "8UC3", "8UC4", "8UC5", "16UC3",
    "bayer_gray8", "bayer_rggb12", "nv24", "yuv444", "jpeg", "png", "depth", "b\u00e4yer", "x" * 10_000,
)  # fmt: skip


@dataclass(frozen=True)
class BadImage:
    """The fields of a message, which has a `format` if it is compressed, and what must be said."""

    name: str
    words: str
    fields: dict[str, Any] = field(repr=False)

    @property
    def compressed(self) -> bool:
        return "format" in self.fields


def raw(encoding: str, width: int = WIDTH, height: int = HEIGHT, **changes: Any) -> dict[str, Any]:
    """Fields of a raw image that is good but for the changes."""
    size, channels = PIXELS.get(encoding, (1, 3))
    step = width * size * channels
    fields = {"encoding": encoding, "width": width, "height": height, "step": step, "is_bigendian": 0}
    return {**fields, "data": bytes(min(step * lines_of(encoding, height), 1_000_000)), **changes}


def lines_of(encoding: str, height: int = HEIGHT) -> int:
    """Rows of `step` bytes of an image."""
    return height * 3 // 2 if encoding in PLANAR else height


def bad_raw() -> Iterator[BadImage]:
    for encoding, (size, channels) in PIXELS.items():
        step = WIDTH * size * channels
        short = step * lines_of(encoding) - 1
        for name, words, fields in (
            ("0x0", "0x0", raw(encoding, 0, 0)),
            ("no rows", f"{WIDTH}x0", raw(encoding, WIDTH, 0)),
            ("no columns", "0x6", raw(encoding, 0, HEIGHT)),
            ("a byte short", f"{short} bytes", raw(encoding, data=bytes(short))),
            ("a short step", f"step {step - 1}", raw(encoding, step=step - 1)),
            ("step 0", "step 0", raw(encoding, step=0)),
            ("a huge width", "2147483646x6", raw(encoding, step=2**32 - 1) | {"width": 2**31 - 2}),
        ):
            yield BadImage(f"{encoding}: {name}", words, fields)
        if channels == 2 or encoding in PLANAR:
            yield BadImage(f"{encoding}: odd width", "7 pixels wide: allowed are even", raw(encoding, 7))
        if encoding in PLANAR:
            yield BadImage(
                f"{encoding}: odd height", "5 pixels high: allowed are even", raw(encoding, WIDTH, 5)
            )
        if encoding.startswith("bayer"):
            yield BadImage(f"{encoding}: 2x2", "2x2: allowed is 3x3", raw(encoding, 2, 2))
        if size == 2:
            fields = raw(encoding, is_bigendian=7)
            yield BadImage(f"{encoding}: endianness 7", "is_bigendian = 7: allowed are 0 and 1", fields)
    for encoding in UNKNOWN:
        yield BadImage(f"encoding {encoding[:20]!r}", "image encoding '", raw(encoding))


def picture(kind: str, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A good file of this kind, such as "png"."""
    levels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(f".{kind}", levels)[1].tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that says to be of this size, with little in it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header says to be of this size."""
    data = picture("jpg")
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def bad_compressed() -> Iterator[BadImage]:
    png, jpeg = picture("png", 64, 48), picture("jpg", 64, 48)
    frame, scan = jpeg.index(b"\xff\xc0"), jpeg.index(b"\xff\xda")
    middle = len(png) // 2
    for name, words, data in (
        ("nothing", "of 0 bytes", b""),
        ("text", "no readable JPEG or PNG", b"not a picture"),
        ("zeros", "no readable JPEG or PNG", bytes(5000)),
        ("BMP", "begins with 42 4d", picture("bmp")),
        ("TIFF", "no readable JPEG or PNG", picture("tiff")),
        ("WebP", "begins with 52 49 46 46", picture("webp")),
        ("GIF", "begins with 47 49 46", b"GIF89a" + bytes(100)),
        ("PNG: signature alone", "cut off", png[:8]),
        ("PNG: cut in the header", "cut off", png[:20]),
        ("PNG: cut in half", "cut off", png[:middle]),
        ("PNG: no end", "cut off", png[:-12]),
        ("PNG: no header", "cut off", png[:8] + png[33:]),
        ("PNG: damaged in the middle", "damaged", png[:middle] + bytes(100) + png[middle + 100 :]),
        ("PNG: 0x0", "0x0", png_of(0, 0)),
        ("PNG: 0x6", "0x6", png_of(0, 6)),
        ("PNG: less data than pixels", "damaged", png_of(WIDTH, HEIGHT, bytes(20))),
        ("JPEG: signature alone", "cut off", jpeg[:3]),
        ("JPEG: cut in the header", "cut off", jpeg[: frame + 6]),
        ("JPEG: cut in half", "cut off", jpeg[: len(jpeg) // 2]),
        ("JPEG: no end", "cut off", jpeg[:-2]),
        ("JPEG: no frame", "cut off", jpeg[:frame] + jpeg[scan:]),
        ("JPEG: no scan", "damaged", jpeg[:scan] + jpeg[-2:]),
        ("JPEG: 0x0", "0x0", jpeg_of(0, 0)),
        ("JPEG: garbage after the start", "cut off", b"\xff\xd8\xff" + bytes(500) + b"\xff\xd9"),
    ):
        yield BadImage(name, words, {"format": "png" if "PNG" in name else "jpeg", "data": data})
    for format in (
        "16UC1; compressedDepth", "32FC1; compressedDepth rvl", "16UC1; png compressed ",
        "8UC3; png compressed ",
        "rgb8; jpeg compressed rgb8", "yuv422; jpeg compressed mono8", "32FC1; tiff compressed ",
    ):  # fmt: skip
        yield BadImage(f"format {format}", f"'{format}'", {"format": format, "data": bytes(12) + png})
    for format in ("zstd", "h264", "tiff"):
        yield BadImage(f"format {format}", "no readable JPEG or PNG", {"format": format, "data": bytes(500)})
    yield BadImage("PNG: 30000x30000", "30000x30000", {"format": "png", "data": png_of(30000, 30000)})
    yield BadImage("JPEG: 65500x65500", "65500x65500", {"format": "jpeg", "data": jpeg_of(65500, 65500)})


BAD_IMAGES = (*bad_raw(), *bad_compressed())
