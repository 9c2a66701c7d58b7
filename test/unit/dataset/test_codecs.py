"""Whether an image is repeated does not depend on how it was coded."""

from __future__ import annotations

import io

import av
import cv2
import numpy as np
import pytest

from vla_adapter_ros.dataset.quality.episode import validate_episode
from vla_adapter_ros.dataset.quality.images import measure_images
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings
from vla_adapter_ros.system_info import ordinary_scheduling

ROWS, FPS = 190, 30.0
REPEATED = np.arange(12, ROWS, 19)  # ten rows, 5 %
SETTINGS = QualitySettings()
CODINGS = {
    "png": None,
    "h264": ("libx264", {"crf": "23", "g": "10", "bf": "0"}),
    "h264 of few key images": ("libx264", {"crf": "28", "g": "250", "bf": "0"}),
    "av1": ("libsvtav1", {"crf": "30", "g": "2", "preset": "12"}),
    "av1 of few key images": ("libsvtav1", {"crf": "30", "g": "160", "preset": "12"}),
}


def speed() -> np.ndarray:
    """Pixels per row of the arm in the image: now slow, now fast, (ROWS,)."""
    return 0.15 + 2.5 * np.clip(np.sin(np.arange(ROWS) / 15), 0, None)


def images(repeated: np.ndarray = REPEATED) -> list[np.ndarray]:
    """A table with a soft texture, and an arm that moves over it; some images stand for the next row too."""
    rng = np.random.default_rng(1)
    table = cv2.GaussianBlur(rng.integers(60, 190, size=(96, 128, 3)).astype(np.float32), (0, 0), 3)
    table = np.clip((table - table.mean()) * 4 + 120, 0, 255)
    made: list[np.ndarray] = []
    for n, x in enumerate(np.cumsum(speed())):
        if n in repeated:
            made.append(made[-1])
            continue
        image = table.copy()
        shift = np.float32([[1, 0, 4 + x % 90], [0, 1, 30]])
        arm = np.full((36, 22, 3), (200, 70, 60), dtype=np.float32)
        mask = cv2.warpAffine(np.ones((36, 22), np.float32), shift, (128, 96))[..., None]
        image = image * (1 - mask) + cv2.warpAffine(arm, shift, (128, 96)) * mask
        made.append(image.round().astype(np.uint8))
    return made


def coded(frames: list[np.ndarray], coding) -> list[np.ndarray]:
    if coding is None:
        return [cv2.imdecode(cv2.imencode(".png", frame)[1], cv2.IMREAD_COLOR) for frame in frames]
    codec, options = coding
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.options = 128, 96, "yuv420p", options
        with ordinary_scheduling():
            stream.codec_context.open(strict=False)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def found(frames: list[np.ndarray]) -> dict[str, float]:
    state = np.cumsum(speed())[:, None] * np.array([[0.01, 0.02]])
    samples = Samples(
        FPS, state, state + 0.01, ("a", "b"), ("a", "b"), images={"top": measure_images(frames, SETTINGS)}
    )
    return {c.name: c for c in validate_episode(samples, SETTINGS).findings}


@pytest.mark.parametrize("coding", CODINGS)
def test_the_same_images_are_repeated_in_every_coding(coding):
    check = found(coded(images(), CODINGS[coding]))["repeated_frames"]
    assert check.value == pytest.approx(found(images())["repeated_frames"].value, abs=0.05), check.line
    assert 0.03 <= check.value <= 0.1, check.line
    clean = found(coded(images(np.empty(0)), CODINGS[coding]))
    assert clean["repeated_frames"].value <= 0.02 and clean["repeated_frames"].level == "pass"
    assert clean["frozen_camera"].level == "pass", clean["frozen_camera"].line


@pytest.mark.parametrize("coding", CODINGS)
def test_a_camera_at_half_the_rate_fails_in_every_coding(coding):
    half = found(coded(images(np.arange(1, ROWS, 2)), CODINGS[coding]))["repeated_frames"]
    assert half.level == "fail" and half.value <= 0.6, half.line  # frames between others may blend them
