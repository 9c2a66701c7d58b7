"""Augmentation against slow loops over single pixels, and against the crop of the running policy."""

from __future__ import annotations

import colorsys
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.model import preset
from vla_adapter_ros.model.preprocessing import center_crop
from vla_adapter_ros.training.data.augmentation import (
    augment,
    draw,
    evaluation_preprocessing,
    random_crop,
    resolve_augmentation,
    saturate,
    shift_hue,
)


def some_images(batch: int = 2, cameras: int = 2, size: int = 9) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (batch, cameras, size, size, 3), dtype=np.uint8)


def slow_official(image: np.ndarray, place, brightness, contrast, saturation, hue) -> np.ndarray:
    """The published chain for one image, pixel by pixel, in double precision; uint8 in and out."""
    unit = image / 255.0
    size, side = len(image), math.sqrt(0.9)
    start = place * (1 - side)
    cropped = np.empty_like(unit)
    for row in range(size):
        for column in range(size):
            y, x = ((start + n / (size - 1) * side) * (size - 1) for n in (row, column))
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, size - 1), min(x0 + 1, size - 1)
            upper = unit[y0, x0] * (1 - (x - x0)) + unit[y0, x1] * (x - x0)
            lower = unit[y1, x0] * (1 - (x - x0)) + unit[y1, x1] * (x - x0)
            cropped[row, column] = upper * (1 - (y - y0)) + lower * (y - y0)
    bright = np.clip(cropped + brightness, 0, 1)
    mean = bright.reshape(-1, 3).mean(axis=0)
    contrasted = np.clip((bright - mean) * contrast + mean, 0, 1)
    out = np.empty_like(contrasted)
    for row in range(size):
        for column in range(size):
            h, s, v = colorsys.rgb_to_hsv(*contrasted[row, column])
            r, g, b = colorsys.hsv_to_rgb(h, min(s * saturation, 1.0), v)
            h, s, v = colorsys.rgb_to_hsv(r, g, b)
            out[row, column] = colorsys.hsv_to_rgb((h + hue) % 1.0, s, v)
    return np.minimum(out * 255.5, 255).astype(np.uint8)


def test_the_official_chain_equals_the_slow_one():
    images = some_images()
    draws = draw("official", 2, 2, torch.Generator().manual_seed(1))
    ours = augment("official", torch.from_numpy(images), draws) * 255
    assert ours.min() >= 0 and ours.max() <= 255
    images[0, 0, :2] = 0, 255, 0  # colors at the edge of what there is
    ours = augment("official", torch.from_numpy(images), draws) * 255
    assert ours.min() >= 0 and ours.max() <= 255
    for b in range(2):
        for c in range(2):
            numbers = {name: float(value[b, c]) for name, value in draws.items()}
            wanted = slow_official(images[b, c], **numbers)
            found = ours[b, c].round().numpy().astype(int)
            # Float32 against double precision: a value on the border between two bytes may fall to either.
            assert np.abs(found - wanted).max() <= 1
            assert (found != wanted).mean() < 0.01


@pytest.mark.parametrize("factor", [0.0, 0.8, 1.2, 50.0])
def test_saturation_is_that_of_hsv(factor):
    pixels = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    pixels[0], pixels[1] = 0.0, 0.5  # black and gray have none
    found = saturate(pixels, torch.tensor([factor]))
    for pixel, ours in zip(pixels.tolist(), found.tolist(), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        assert ours == pytest.approx(colorsys.hsv_to_rgb(h, min(s * factor, 1), v), abs=1e-5)


@pytest.mark.parametrize("turn", [-0.5, -0.05, 0.0, 0.05, 0.4])
def test_hue_is_that_of_hsv(turn):
    pixels = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    pixels[0], pixels[1], pixels[2] = 0.0, 0.5, torch.tensor([1.0, 0.0, 0.0])
    found = shift_hue(pixels, torch.tensor([turn]))
    for pixel, ours in zip(pixels.tolist(), found.tolist(), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        assert ours == pytest.approx(colorsys.hsv_to_rgb((h + turn) % 1, s, v), abs=1e-5)


def test_the_crop_in_the_middle_is_the_one_of_the_running_policy():
    images = some_images(size=56)[0]
    ours = random_crop(torch.from_numpy(images[None]).float() / 255, torch.full((1, 2), 0.5))[0]
    wanted = center_crop(images, 0.9)
    found = (ours * 255.5).floor().clamp(max=255).numpy()
    assert np.abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 0.001


def test_crops_reach_both_corners_and_lie_on_the_diagonal():
    ramp = torch.linspace(0, 1, 11)
    images = torch.stack([ramp[:, None].expand(11, 11), ramp.expand(11, 11), torch.zeros(11, 11)], -1)
    first, last = (random_crop(images[None, None], torch.full((1, 1), p))[0, 0] for p in (0.0, 1.0))
    assert first[0, 0, :2].tolist() == [0, 0]
    assert last[-1, -1, :2].tolist() == pytest.approx([1, 1])
    assert first[-1, -1, 0] == pytest.approx(math.sqrt(0.9), abs=1e-6)
    torch.testing.assert_close(first[..., 0], first[..., 1].T)


def test_draws_stay_in_their_ranges_and_differ_from_image_to_image():
    draws = draw("official", 500, 2, torch.Generator().manual_seed(0))
    ranges = {
        "place": (0, 1), "brightness": (-0.2, 0.2), "contrast": (0.8, 1.2), "saturation": (0.8, 1.2),
        "hue": (-0.05, 0.05),
    }  # fmt: skip
    assert set(draws) == set(ranges)
    for name, (low, high) in ranges.items():
        values, width = draws[name], high - low
        assert low <= values.min() < low + 0.05 * width
        assert high - 0.05 * width < values.max() <= high
        assert (values[:, 0] != values[:, 1]).all()  # each camera has its own
    again = draw("official", 500, 2, torch.Generator().manual_seed(0))
    assert all(torch.equal(draws[name], again[name]) for name in draws)


def test_light_changes_brightness_alone_and_none_nothing():
    images = torch.from_numpy(some_images())
    draws = draw("light", 2, 2, torch.Generator().manual_seed(0), gain=0.15, offset=0.075)
    found = augment("light", images, draws)
    gain, offset = float(draws["gain"][1, 0]), float(draws["offset"][1, 0])
    torch.testing.assert_close(found[1, 0], (images[1, 0] / 255 * gain + offset).clamp(0, 1))
    assert draw("none", 2, 2, torch.Generator()) == {}
    assert torch.equal(augment("none", images, {}), images / 255)


def test_what_auto_means_and_what_the_checkpoint_must_do_afterwards():
    tiny, large = preset("tiny"), preset("0.5b")
    assert resolve_augmentation("auto", tiny) == "light"
    assert resolve_augmentation("auto", large) == "official"
    assert resolve_augmentation("none", large) == "none"
    assert evaluation_preprocessing("official", tiny.preprocessing).center_crop == 0.9
    assert evaluation_preprocessing("light", tiny.preprocessing) == tiny.preprocessing
    cropped = replace(tiny.preprocessing, center_crop=0.8)
    assert evaluation_preprocessing("light", cropped) == cropped
    with pytest.raises(
        TrainingError, match=r"augmentation = 'strong': allowed is one of \['auto', 'official'"
    ):
        resolve_augmentation("strong", tiny)
