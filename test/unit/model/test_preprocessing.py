from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vla_adapter_ros.errors import ImageError, ObservationError
from vla_adapter_ros.model import preset
from vla_adapter_ros.model.config_presets import OFFICIAL_PREPROCESSING
from vla_adapter_ros.model.preprocessing import Preprocessor, area_resize, center_crop, lanczos_resize
from vla_adapter_ros.model.resampling import lanczos_weights

TINY, OFFICIAL = Preprocessor(preset("tiny").preprocessing), Preprocessor(OFFICIAL_PREPROCESSING)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_area_resize_averages() -> None:
    images = noise(2, 112, 112, 3)
    means = images.reshape(2, 56, 2, 56, 2, 3).astype(float).mean(axis=(2, 4))
    np.testing.assert_array_equal(area_resize(images, 56), np.rint(means).astype(np.uint8))


@pytest.mark.parametrize("size", [(56, 56), (112, 112), (120, 160), (40, 30)])
def test_any_camera_size_gives_the_models_size(size: tuple[int, int]) -> None:
    flat = np.full((*size, 3), 77, dtype=np.uint8)
    assert np.array_equal(TINY.resize(flat), np.full((56, 56, 3), 77, np.uint8))


def test_resized_images_are_a_fixed_point() -> None:
    """Training keeps resized bytes; the live path must see the same numbers."""
    images = noise(3, 2, 112, 112, 3)
    small = TINY.resize(images)
    assert small.shape == (3, 2, 56, 56, 3) and small.dtype == np.uint8
    np.testing.assert_array_equal(TINY.resize(small), small)
    assert torch.equal(TINY.pixels(small), TINY.pixels(TINY.resize(images)))


def test_bytes_and_brightness_give_the_same_pixels() -> None:
    images = noise(2, 56, 56, 3)
    assert torch.allclose(TINY.pixels(images), TINY.pixels(torch.from_numpy(images) / 255.0))
    assert TINY.pixels(images).shape == (2, 3, 56, 56)
    white = TINY.pixels(np.full((56, 56, 3), 255, np.uint8))
    assert torch.allclose(white, torch.full((3, 56, 56), 2.0))


def test_official_pixels_have_a_group_per_tower() -> None:
    pixels = OFFICIAL.pixels(np.full((224, 224, 3), 255, np.uint8))
    assert pixels.shape == (6, 224, 224)
    assert torch.allclose(pixels[3:], torch.ones(3, 224, 224))
    assert float(pixels[0, 0, 0]) == pytest.approx((1 - 0.484375) / 0.228515625)


def test_lanczos_keeps_flat_images_and_order() -> None:
    flat = np.full((1, 97, 41, 3), 200, np.uint8)
    assert (lanczos_resize(flat, 64) == 200).all()
    same = noise(1, 64, 64, 3)
    np.testing.assert_array_equal(lanczos_resize(same, 64), same)


def test_center_crop_enlarges_the_middle() -> None:
    image = np.zeros((1, 224, 224, 3), np.uint8)
    image[:, 30:-30, 30:-30] = 255
    before, after = (image > 0).mean(), (center_crop(image, 0.9) > 0).mean()
    assert after == pytest.approx(before / 0.9, rel=0.02)


@pytest.mark.parametrize(
    "image",
    [np.zeros((56, 56, 3)), np.zeros((56, 56), np.uint8), np.zeros((56, 56, 4), np.uint8),
     np.zeros((0, 56, 3), np.uint8)],
)  # fmt: skip
def test_wrong_images_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ObservationError, match="uint8"):
        TINY.resize(image)


def test_official_chain_refuses_to_go_on_without_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    with pytest.raises(ImageError, match="simplejpeg"):
        OFFICIAL.resize(noise(256, 256, 3))
    assert OFFICIAL.resize(noise(224, 224, 3)).shape == (224, 224, 3)


def test_a_half_turn_is_the_first_step() -> None:
    turned = Preprocessor(dataclasses.replace(TINY.config, rotate_180=True, center_crop=0.5))
    plain = Preprocessor(dataclasses.replace(TINY.config, center_crop=0.5))
    images = noise(2, 112, 100, 3)
    np.testing.assert_array_equal(turned.resize(images), plain.resize(images[:, ::-1, ::-1].copy()))
    assert (turned.resize(images) != plain.resize(images)).any()
    assert not OFFICIAL.config.rotate_180  # a matter of the platform, not of the model


@pytest.mark.parametrize("sizes", [[(48, 64), (48, 64)], [(48, 64), (30, 20)], [(224, 224), (224, 224)]])
@pytest.mark.parametrize("changes", [{}, {"rotate_180": True}, {"center_crop": 1.0}, {"resize": "area"}])
def test_all_images_at_once_are_each_by_itself(sizes: list[tuple[int, int]], changes: dict) -> None:
    chain = Preprocessor(dataclasses.replace(OFFICIAL.config, jpeg_round_trip=False, **changes))
    images = [noise(*size, 3) + np.uint8(number) for number, size in enumerate(sizes)]
    together = chain.resize_all(images)
    for image, resized in zip(images, together, strict=True):
        np.testing.assert_array_equal(chain.resize(image), resized)
        on_any_device = chain.fit(torch.from_numpy(chain.turn_and_encode(image[None])))
        np.testing.assert_array_equal(on_any_device[0].numpy(), resized)


@pytest.mark.parametrize("size", [(480, 640), (57, 300), (40, 30), (720, 1280)])
def test_bands_leave_nothing_out(size: tuple[int, int]) -> None:
    """Against whole products in float64, and torch's own average."""
    images = noise(1, *size, 3)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    rows, columns = (torch.from_numpy(lanczos_weights(before, 224)).double() for before in size)
    exact = (rows @ (planes.double() @ columns.T)).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(lanczos_resize(images, 224) - exact).max() < 0.5 + 1e-3
    average = F.interpolate(planes.float(), size=(56, 56), mode="area").round().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(area_resize(images, 56), average)
