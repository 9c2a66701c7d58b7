"""Encoded and decoded again, images are as bright and as colored as they were."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from foreign_samples import MAPPING, make_foreign, make_ours
from recording_samples import CONTRACT

from vla_adapter_ros.dataset.mapping import parse_mapping
from vla_adapter_ros.dataset.opening import open_dataset
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.tools.importing import import_lerobot
from vla_adapter_ros.dataset.video import VideoEncoder, VideoSettings, decode_frames
from vla_adapter_ros.dataset.video_colors import yuv_planes

SIZE = (120, 160)


def scene(seed: int, tint: tuple[int, int, int] | None = None) -> np.ndarray:
    """A smooth picture; of one color in many brightnesses, with a camera's noise, if a tint is given."""
    random = np.random.default_rng(seed)
    rough = random.uniform(0.2, 0.9, (12, 16, 3 if tint is None else 1)).astype(np.float32)
    smooth = cv2.resize(rough, SIZE[::-1], interpolation=cv2.INTER_LINEAR).reshape(*SIZE, -1)
    image = smooth * np.array(tint or (255, 255, 255)) + random.normal(0, 1.0, (*SIZE, 3))
    return image.clip(0, 255).round().astype(np.uint8)


SCENES = {
    "every gray": [np.full((*SIZE, 3), level, np.uint8) for level in range(256)],
    "gray with noise": [scene(n, (250, 250, 250)) for n in range(6)],
    "colorful": [scene(n) for n in range(6)],
    "wood": [scene(n, (230, 180, 120)) for n in range(6)],
    "skin": [scene(n, (230, 190, 170)) for n in range(6)],
    "blue": [scene(n, (90, 120, 230)) for n in range(6)],
    "green": [scene(n, (110, 220, 100)) for n in range(6)],
    "single colors": [np.tile(c, (*SIZE, 1)) for c in
                       np.random.default_rng(0).integers(20, 236, (300, 1, 1, 3)).astype(np.uint8)[:, 0]],
}  # fmt: skip


@pytest.mark.parametrize("name", SCENES)
def test_planes_come_back_with_the_same_mean_in_every_channel(name):
    errors = []
    for image in SCENES[name]:
        back = av.VideoFrame.from_ndarray(yuv_planes(image), format="yuv420p").to_ndarray(format="rgb24")
        errors.append((back.astype(float) - image).mean(axis=(0, 1)))
    assert np.abs(np.mean(errors, axis=0)).max() < 0.1  # OpenCV's conversion: 0.47 to 1.5 darker


def test_extremes_stay_within_their_range():
    for corner in np.ndindex(2, 2, 2):
        image = np.full((16, 16, 3), np.array(corner) * 255, np.uint8)
        back = av.VideoFrame.from_ndarray(yuv_planes(image), format="yuv420p").to_ndarray(format="rgb24")
        assert np.abs(back.astype(int) - image).max() <= 2


@pytest.mark.parametrize("codec", ["h264", "av1"])
def test_many_encodings_do_not_make_a_picture_darker(tmp_path, codec):
    tints = (None, (230, 180, 120), (230, 190, 170), (90, 120, 230), (250, 250, 250))
    first = images = [
        np.roll(scene(n, tint), 2 * k, axis=1) for n, tint in enumerate(tints) for k in range(4)
    ]
    for generation in range(4):
        path = tmp_path / f"{generation}.mp4"
        encoder = VideoEncoder(path, 10, *SIZE[::-1], VideoSettings(codec, crf=18))  # of imports
        for image in images:
            encoder.add_image(image)
        encoder.finish_video()
        images = list(decode_frames(path, 0.0, len(first), 10.0))
        drift = [(last.astype(float) - image).mean() for image, last in zip(first, images, strict=True)]
        # What is left the encoder makes by itself. With OpenCV's conversion: 1.0, and after four times 3.5.
        assert np.abs(np.mean(drift)) < (0.15 if generation == 0 else 0.4)


def test_an_import_of_pictures_and_of_turned_videos_keeps_the_brightness(tmp_path):
    ours = make_ours(tmp_path / "ours", lengths=(6,), tasks=("wave",))
    dataset = open_dataset(make_foreign(tmp_path / "foreign", ours, images="image"), parse_mapping(MAPPING))
    import_lerobot(dataset, CONTRACT, tmp_path / "made")
    made = DatasetReader(tmp_path / "made")
    for camera in CONTRACT.cameras:
        difference = made.decode(camera, 0).astype(float) - dataset.decode(camera, 0)
        assert abs(difference.mean()) < 0.1
