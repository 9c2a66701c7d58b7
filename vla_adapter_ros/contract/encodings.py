"""What the encodings of images, and the formats of compressed ones, say about their values.

Names are those of sensor_msgs/image_encodings.hpp, formats those of compressed_image_transport. Some
encodings say what their values mean (`bgr8`), others only how they lie in memory (`8UC3`, OpenCV's name of
the layout). Nothing is guessed: what leaves the order of its colors open is refused, or the contract
says it.
"""

from __future__ import annotations

from vla_adapter_ros.errors import ImageError

PIXELS: dict[str, tuple[int, int]] = {
    "rgb8": (1, 3), "bgr8": (1, 3), "rgba8": (1, 4), "bgra8": (1, 4), "mono8": (1, 1),
    "rgb16": (2, 3), "bgr16": (2, 3), "rgba16": (2, 4), "bgra16": (2, 4), "mono16": (2, 1),
    "uyvy": (1, 2), "yuv422": (1, 2), "yuyv": (1, 2), "yuv422_yuy2": (1, 2), "nv12": (1, 1), "nv21": (1, 1),
    **{f"bayer_{pattern}{bits}": (bits // 8, 1)
       for bits in (8, 16) for pattern in ("rggb", "bggr", "gbrg", "grbg")},
}  # fmt: skip
"""Encodings that say what their values mean -> (bytes per value, values per pixel)."""
PLANAR = ("nv12", "nv21")
"""Luma of all rows, then chroma of half as many: one and a half times the data of `PIXELS`."""
SYNONYMS = {"yuv422": "uyvy", "yuv422_yuy2": "yuyv"}
"""Old names, still sent."""
GRAY = ("mono8", "mono16")
DEPTH = {"16UC1": "mm", "32FC1": "m"}
"""Depth images -> unit of their values (REP 118)."""


LAYOUTS: dict[str, tuple[int, int]] = PIXELS | {"16UC1": (2, 1), "32FC1": (4, 1)}
"""All encodings that are read -> (bytes per value, values per pixel)."""


def layout_of(encoding: str) -> str:
    """OpenCV's name of how an encoding's values lie in memory, such as 8UC3; empty for planar ones."""
    size, values = PIXELS[encoding]
    return "" if encoding in PLANAR else f"{8 * size}UC{values}"


def depth_codec(format: str) -> tuple[str, str]:
    """Encoding of the depth in a compressed image, one of `DEPTH`, and what it is compressed with.

    Returns:
        For `16UC1; png compressed`: 16UC1 and png. For `32FC1; compressedDepth png`, and the old
        `32FC1; compressedDepth`: 32FC1 and compressedDepth.

    Raises:
        ImageError: no depth, or compressed in another way.
    """
    source, _, rest = (part.strip() for part in format.partition(";"))
    codec = {
        "png compressed": "png",
        "compressedDepth": "compressedDepth",
        "compressedDepth png": "compressedDepth",
    }
    if source in DEPTH and rest in codec and (source, rest) != ("32FC1", "png compressed"):
        return source, codec[rest]
    raise _undecided(
        format,
        "is no depth that can be read: allowed are '16UC1; compressedDepth png', "
        "'32FC1; compressedDepth png', '16UC1; png compressed', and transport raw",
    )


def meaning_of(said: str, wanted: str = "") -> str:
    """Encoding, one of `PIXELS`, by which a raw image of a color camera is to be read.

    Args:
        said: What its message says.
        wanted: What the contract says: it gives a layout its meaning, and must not contradict a message.

    Raises:
        ImageError: unknown, depth, without a meaning, or another one than the contract's.
    """
    if wanted:
        if SYNONYMS.get(said, said) in (SYNONYMS.get(wanted, wanted), layout_of(wanted)):
            return wanted
        allowed = " and ".join(filter(None, (wanted, layout_of(wanted))))
        raise ImageError(
            f"image encoding '{shortened(said)}', the contract says {wanted}: allowed are {allowed}"
        )
    if said in PIXELS:
        return said
    meanings = [name for name in PIXELS if layout_of(name) == said and name not in SYNONYMS]
    if said in DEPTH:
        raise ImageError(f"image encoding '{said}' is no color: {_depth_allowed(meanings)}")
    if meanings:
        raise ImageError(
            f"image encoding '{said}' does not say what its values mean: allowed is one with the camera's "
            f"key encoding in the contract, {' or '.join(meanings)}"
        )
    raise ImageError(f"image encoding '{shortened(said)}': allowed are {', '.join(PIXELS)}")


def says_grey(format: str) -> bool | None:
    """Whether a compressed image's format says that its picture is gray, or has colors; None: neither.

    A format of one word, such as `jpeg`, leaves it to the picture. Others say what was compressed and how,
    such as `rgb8; jpeg compressed bgr8`: only what begins with bgr is a picture in its usual order.

    Raises:
        ImageError: depth, colors that became gray, or an order of colors that is left open.
    """
    source, says, rest = (part.strip() for part in format.partition(";"))
    codec, _, target = (part.strip() for part in rest.partition(" compressed"))
    if source in DEPTH or codec.startswith("compressedDepth"):
        raise _undecided(format, f"is no color: {_depth_allowed()}")
    if not says:
        return None
    if source not in PIXELS:
        raise _undecided(
            format,
            "does not say what its values mean: allowed before the semicolon are " + ", ".join(PIXELS),
        )
    if codec not in ("jpeg", "jpg", "png"):
        raise _undecided(format, f"is compressed by '{shortened(codec)}': allowed are jpeg and png")
    if source in GRAY and target in ("", *GRAY):
        return True
    if source not in GRAY and target in ("bgr8", "bgr16"):
        return False
    allowed = f"'{source}; {codec} compressed {'mono8' if source in GRAY else 'bgr8'}'"
    if target in GRAY or (not target and source.startswith("bayer")):
        raise _undecided(format, f"makes gray of a color camera: allowed are {allowed}, and transport raw")
    raise _undecided(
        format, f"does not say the order of its colors: allowed are {allowed}, and 'jpeg' or 'png' alone"
    )


def require_as_said(format: str, *, gray: bool, bits: int) -> None:
    """Refuse a picture that is not what its format says.

    Args:
        format: One that `says_grey` takes.
        gray: Whether the picture has one value per pixel.
        bits: Per value.

    Raises:
        ImageError: gray that should have colors, or the reverse; gray of 16 bits that may be depth.
    """
    said = says_grey(format)
    if said is None and gray and bits > 8:
        raise _undecided(
            format,
            f"is gray of {bits} bits, brightness or depth: allowed are 'mono16; png compressed', and depth "
            "under depth_cameras of the contract",
        )
    if said is not None and said != gray:
        words = {True: "is gray", False: "has colors"}
        raise _undecided(format, f"says that it {words[said]}, it {words[gray]}: allowed is what it says")


def shortened(text: str) -> str:
    """What a stranger wrote, for a sentence."""
    return text if len(text) <= 40 else f"{text[:40]}..."


def _undecided(format: str, why: str) -> ImageError:
    return ImageError(f"compressed image '{shortened(format)}' {why}")


def _depth_allowed(meanings: list[str] | None = None) -> str:
    key = f", or the camera's key encoding, one of {', '.join(meanings)}" if meanings else ""
    return f"depth is allowed under depth_cameras of the contract{key}"
