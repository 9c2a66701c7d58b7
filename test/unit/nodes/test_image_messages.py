"""Every usual image encoding becomes the same RGB array; cv_bridge, where it works, agrees."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="ROS 2 is not installed: make setup brings rclpy")

from sensor_msgs.msg import CompressedImage, Image

from vla_adapter_ros.contract.encodings import GRAY, PIXELS, layout_of
from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.nodes import image_messages
from vla_adapter_ros.nodes.image_messages import BRIDGED, array_to_image
from vla_adapter_ros.observation.images import decode_image, decode_with_opencv

RNG = np.random.default_rng(0)
# Smooth, so that Bayer and chroma subsampling lose little.
RGB = cv2.resize(RNG.integers(0, 256, (4, 5, 3), np.uint8), (20, 16), interpolation=cv2.INTER_CUBIC)


def encode(rgb: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Image:
    """An independent encoder: plain NumPy except for luma and chroma."""
    size = PIXELS[encoding][0]
    height, width, _ = rgb.shape
    if encoding in ("rgb8", "rgb16"):
        pixels = rgb
    elif encoding in ("bgr8", "bgr16"):
        pixels = rgb[..., ::-1]
    elif encoding[:4] in ("rgba", "bgra"):
        alpha = np.full((height, width, 1), 7, np.uint8)
        pixels = np.concatenate([rgb if encoding[0] == "r" else rgb[..., ::-1], alpha], axis=2)
    elif encoding in GRAY:
        pixels = rgb[..., :1]
    elif encoding.startswith("bayer"):
        letters = encoding[6:10]
        pixels = np.empty((height, width, 1), np.uint8)
        for i, letter in enumerate(letters):
            y, x = divmod(i, 2)
            pixels[y::2, x::2, 0] = rgb[y::2, x::2, "rgb".index(letter)]
    elif encoding in ("nv12", "nv21"):
        yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)  # luma, then a plane of each chroma
        planes = yuv[height:].reshape(2, height // 2, width // 2)
        chroma = np.stack(planes if encoding == "nv12" else planes[::-1], axis=-1).reshape(-1, width)
        pixels = np.concatenate([yuv[:height], chroma])[..., None]
    else:
        yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV)
        luma, chroma = yuv[..., :1], np.empty((height, width, 1), np.uint8)
        chroma[:, 0::2, 0], chroma[:, 1::2, 0] = yuv[:, 0::2, 1], yuv[:, 0::2, 2]
        order = [chroma, luma] if encoding in ("uyvy", "yuv422") else [luma, chroma]
        pixels = np.concatenate(order, axis=2)
    values = pixels.astype(np.uint16) * 257 if size == 2 else pixels
    raw = values.astype(f"{'>' if big else '<'}u{size}").reshape(len(pixels), -1).view(np.uint8)
    padded = np.concatenate([raw, np.full((len(raw), padding), 99, np.uint8)], axis=1)
    message = Image(
        height=height, width=width, encoding=encoding, is_bigendian=int(big), step=padded.shape[1]
    )
    message.data = padded.tobytes()
    return message


def decode_as_nodes(message, **more) -> np.ndarray:
    """Decode an image as nodes do: through cv_bridge where there is one."""
    return decode_image(message, decode_raw=image_messages.decode_raw, **more)


@pytest.mark.parametrize("encoding", PIXELS)
@pytest.mark.parametrize("padding", [0, 12])
@pytest.mark.parametrize("big", [False, True])
def test_encodings(encoding, padding, big):
    image = decode_image(encode(RGB, encoding, padding, big))
    assert image.shape == RGB.shape and image.dtype == np.uint8
    expected = np.repeat(RGB[..., :1], 3, axis=2) if encoding in GRAY else RGB
    difference = np.abs(image.astype(int) - expected)
    if encoding.startswith("bayer") or PIXELS[encoding][1] == 2 or encoding.startswith("nv"):
        inner = difference[2:-2, 2:-2]
        assert np.median(inner) <= 12  # interpolated colors; a wrong pattern gives about 60
    else:
        assert difference.max() == 0


def test_wrong_bayer_pattern_would_be_seen():
    wrong = encode(RGB, "bayer_rggb8")
    wrong.encoding = "bayer_bggr8"
    assert np.median(np.abs(decode_image(wrong).astype(int) - RGB)[2:-2, 2:-2]) > 12


def test_cv_bridge_agrees():
    """Where it converts an encoding at all; it does not know uyvy, yuyv, nv12 and nv21."""
    if image_messages.cv_bridge() is None:
        pytest.skip(
            "cv_bridge is not here or not for this NumPy: install ros-DISTRO-cv-bridge and source ROS"
        )
    for encoding in PIXELS:
        message = encode(RGB, encoding)
        try:
            theirs = image_messages.cv_bridge().CvBridge().imgmsg_to_cv2(message, "rgb8")
        except Exception as error:
            assert encoding in ("uyvy", "yuyv", "nv12", "nv21"), error
            continue
        # It rounds 16 bits to 8, and makes colors of Bayer patterns before that.
        opencv = decode_with_opencv(message, encoding)
        difference = np.abs(opencv.astype(int) - theirs)
        assert difference.max() <= (2 if PIXELS[encoding][0] == 2 else 0), encoding
        expected = theirs if encoding in BRIDGED else opencv
        np.testing.assert_array_equal(
            image_messages.decode_raw(message, encoding), expected, err_msg=encoding
        )


@pytest.mark.parametrize("said", ["8UC1", "8UC2", "8UC3", "8UC4", "16UC1", "16UC3", "16UC4"])
def test_what_says_nothing_about_colours_is_refused_as_by_cv_bridge(said):
    encoding = next(name for name in PIXELS if layout_of(name) == said)
    message = encode(RGB, encoding)
    message.encoding = said
    with pytest.raises(ImageError, match=said):
        decode_as_nodes(message)
    np.testing.assert_array_equal(
        decode_as_nodes(message, encoding=encoding), decode_as_nodes(encode(RGB, encoding))
    )
    if (bridge := image_messages.cv_bridge()) is not None:
        with pytest.raises(bridge.CvBridgeError):
            bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")


def test_compressed_png_and_jpeg():
    for kind, tolerance in (("png", 0), ("jpeg", 40)):
        _, data = cv2.imencode(f".{kind}", RGB[..., ::-1])
        image = decode_as_nodes(CompressedImage(format=kind, data=data.tobytes()))
        assert np.abs(image.astype(int) - RGB).max() <= tolerance


def test_round_trip_and_rotation():
    np.testing.assert_array_equal(decode_as_nodes(array_to_image(RGB, "camera")), RGB)
    turned = decode_as_nodes(array_to_image(RGB, "camera"), rotation=90)
    np.testing.assert_array_equal(turned, np.rot90(RGB))


def test_camera_info_projects_the_edge_of_the_view_to_the_edge_of_the_image():
    info = image_messages.camera_info(array_to_image(RGB, "camera"), vertical_fov=np.radians(60))
    edge = np.array(info.k).reshape(3, 3) @ [0.0, np.tan(np.radians(30)), 1.0]
    np.testing.assert_allclose(edge, [RGB.shape[1] / 2, RGB.shape[0], 1.0])
    assert info.header.frame_id == "camera"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Image(height=2, width=2, encoding="depth", step=8, data=bytes(16)), "'depth'"),
        (Image(height=2, width=2, encoding="rgb8", step=6, data=bytes(5)), "5 bytes"),
        (Image(height=2, width=2, encoding="rgb8", step=3, data=bytes(60)), "step 3"),
        (CompressedImage(format="jpeg", data=b"not a picture"), "no readable JPEG"),
        (CompressedImage(format="jpeg", data=b""), "0 bytes"),
    ],
)
def test_bad_images_are_refused(message, words):
    with pytest.raises(ImageError, match=words):
        decode_as_nodes(message)
