"""Nothing about colors is guessed: what an encoding or a format leaves open is refused by name."""

from __future__ import annotations

import pytest

from vla_adapter_ros.contract import encodings, parse_contract, read_contract
from vla_adapter_ros.contract.encodings import PIXELS, layout_of, meaning_of, require_as_said
from vla_adapter_ros.contract.read import plain_contract
from vla_adapter_ros.errors import ContractError, ImageError


@pytest.mark.parametrize("said", PIXELS)
def test_an_encoding_with_a_meaning_is_that(said: str) -> None:
    assert meaning_of(said) == said
    assert meaning_of(said, said) == said
    if layout_of(said):
        assert meaning_of(layout_of(said), said) == said


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("8UC3", "key encoding in the contract, rgb8 or bgr8"),
        ("8UC4", "rgba8 or bgra8"),
        ("8UC1", "mono8 or bayer_rggb8"),
        ("8UC2", "uyvy or yuyv"),
        ("16UC3", "rgb16 or bgr16"),
        ("16UC1", "is no color: depth is allowed under depth_cameras of the contract, or the camera's key"),
        ("32FC1", "is no color: depth is allowed under depth_cameras of the contract"),
        ("nv24", "allowed are rgb8, bgr8"),
        ("8SC3", "allowed are rgb8, bgr8"),
        ("64FC4", "allowed are rgb8, bgr8"),
        ("8UC", "allowed are rgb8, bgr8"),
    ],
)
def test_others_are_refused_with_what_is_allowed(said: str, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        meaning_of(said)
    assert f"'{said}'" in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [("rgb8", "bgr8"), ("8UC4", "bgr8"), ("16UC3", "bgr8"), ("32FC1", "mono16"), ("uyvy", "yuyv"),
     ("8UC1", "nv12")],
)  # fmt: skip
def test_the_contract_contradicts_no_message(said: str, wanted: str) -> None:
    with pytest.raises(ImageError, match=f"'{said}', the contract says {wanted}: allowed are {wanted}"):
        meaning_of(said, wanted)


def test_old_names_are_the_same() -> None:
    assert encodings.PIXELS["yuv422"] == encodings.PIXELS["uyvy"]
    assert meaning_of("yuv422", "uyvy") == "uyvy" and meaning_of("yuyv", "yuv422_yuy2") == "yuv422_yuy2"


@pytest.mark.parametrize(
    ("format", "gray", "bits"),
    [
        ("jpeg", False, 8), ("png", False, 8), ("", False, 8), ("jpg", False, 8), ("jpeg", True, 8),
        ("png", False, 16),
        ("rgb8; jpeg compressed bgr8", False, 8), ("bgr8; jpeg compressed bgr8", False, 8),
        ("bgr8;jpeg compressed bgr8", False, 8), ("rgba8; png compressed bgr8", False, 8),
        ("yuv422; jpeg compressed bgr8", False, 8), ("nv21; jpeg compressed bgr8", False, 8),
        ("rgb16; png compressed bgr16", False, 16), ("bayer_rggb8; jpeg compressed bgr8", False, 8),
        ("mono8; jpeg compressed mono8", True, 8), ("mono8; jpeg compressed ", True, 8),
        ("mono16; png compressed ", True, 16), ("mono16; jpeg compressed mono8", True, 8),
    ],
)  # fmt: skip
def test_formats_that_say_enough(format: str, gray: bool, bits: int) -> None:
    require_as_said(format, gray=gray, bits=bits)


@pytest.mark.parametrize(
    ("format", "gray", "bits", "words"),
    [
        ("yuv422; jpeg compressed mono8", True, 8, "makes gray of a color camera"),
        ("rgb8; jpeg compressed bgr8", True, 8, "says that it has colors, it is gray"),
        ("bayer_rggb8; jpeg compressed mono8", True, 8, "makes gray of a color camera"),
        ("bayer_gbrg8; png compressed ", True, 8, "makes gray of a color camera"),
        ("rgb8; jpeg compressed rgb8", False, 8,
         "the order of its colors: allowed are 'rgb8; jpeg compressed bgr8'"),
        ("rgb8; jpeg", False, 8, "does not say the order of its colors"),
        ("bgr8; png compressed", False, 8, "allowed are 'bgr8; png compressed bgr8'"),
        ("8UC3; png compressed ", False, 8, "does not say what its values mean"),
        ("8UC1; jpeg compressed mono8", True, 8, "does not say what its values mean"),
        ("nv24; jpeg compressed bgr8", False, 8, "does not say what its values mean"),
        ("mono8; jpeg compressed bgr8", False, 8, "does not say the order"),
        ("mono8; png compressed ", False, 8, "says that it is gray, it has colors"),
        ("png", True, 16, "gray of 16 bits, brightness or depth"),
        ("16UC1; png compressed ", True, 16, "is no color: depth is allowed under depth_cameras"),
        ("16UC1; compressedDepth", True, 16, "is no color: depth is allowed under depth_cameras"),
        ("16UC1; compressedDepth png", True, 16, "is no color"),
        ("32FC1; compressedDepth rvl", True, 16, "is no color"),
        ("mono16; compressedDepth png", True, 16, "is no color"),
        ("32FC1; tiff compressed ", True, 16, "is no color"),
    ],
)  # fmt: skip
def test_formats_that_do_not(format: str, gray: bool, bits: int, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        require_as_said(format, gray=gray, bits=bits)
    assert f"'{format}'" in str(caught.value) and words in str(caught.value)


def test_the_key_of_a_camera() -> None:
    plain = plain_contract(read_contract("franka_sim"))
    camera = plain["cameras"]["gripper"]
    assert camera.pop("encoding") == ""  # contracts from before it are read as they were
    assert parse_contract(plain).cameras["gripper"].encoding == ""
    camera["encoding"] = "bgr8"
    assert parse_contract(plain).cameras["gripper"].encoding == "bgr8"
    for wrong, words in (
        ({"encoding": "8UC3"}, "'8UC3': allowed is one of"),
        ({"transport": "compressed"}, "'bgr8': allowed is none with transport compressed"),
    ):
        with pytest.raises(ContractError, match=words):
            parse_contract({**plain, "cameras": plain["cameras"] | {"gripper": camera | wrong}})
