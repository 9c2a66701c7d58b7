"""What a camera always saw when the demonstrations began: one picture without arm and objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vla_adapter_ros.errors import ImageError
from vla_adapter_ros.scene_check.alignment import light

LONGEST_SIDE = 320
"""Larger pictures are kept at this length of their longer side [px]: enough to see a shift of 0.1 %."""
MOST_VIEWS = 48
"""Demonstrations that a reference is made of, at most."""
_SAME = 0.1  # of the light (logarithm): a pixel shows the same thing
_PLAIN = 0.5  # share of the demonstrations from which on a pixel says something about brightness and color


@dataclass(frozen=True)
class LightRange:
    """Brightness and color of the demonstrations, as logarithms of factors of the reference.

    Attributes:
        darkest, brightest: Of red, green and blue together.
        low, high: Of red, green and blue without the brightness, float64 (3,), lowest and highest.
    """

    darkest: float
    brightest: float
    low: np.ndarray
    high: np.ndarray

    def outside(self, factors: np.ndarray) -> tuple[float, float]:
        """How far brightness and the most changed color lie outside, as logarithms; 0 is inside.

        Args:
            factors: Of red, green and blue (3,), see `ReferenceView.light_factors`.
        """
        brightness = float(factors.mean())
        color = factors - brightness
        beyond = np.maximum(np.maximum(color - self.high, self.low - color), 0.0)
        return max(brightness - self.brightest, 0.0) + min(brightness - self.darkest, 0.0), float(
            beyond.max()
        )


@dataclass(frozen=True)
class ReferenceView:
    """What one camera always saw.

    Attributes:
        image: RGB, uint8 (H, W, 3); at each pixel what was seen there most often.
        share: Share of the demonstrations that showed it, float32 (H, W), 0 to 1.
        size: Width and height of the camera's images [px].
        light: Brightness and color of the demonstrations.
    """

    image: np.ndarray
    share: np.ndarray
    size: tuple[int, int]
    light: LightRange

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of `image` [px]."""
        return self.image.shape[1], self.image.shape[0]

    def fit(self, image: np.ndarray) -> np.ndarray:
        """A camera's image, uint8 (H, W, 3), at the size of the reference."""
        return _resize(image, self.stored_size)

    def light_factors(self, image: np.ndarray) -> np.ndarray:
        """Logarithm of how much brighter red, green and blue (3,) of a fitted image are than here."""
        return _light_factors(image, self.image, self.share)


def spread_views(count: int) -> np.ndarray:
    """Places of the demonstrations that are looked at, at most `MOST_VIEWS` of `count`, evenly spread."""
    return np.linspace(0, count - 1, min(MOST_VIEWS, count)).astype(int)


def stored_size(size: tuple[int, int]) -> tuple[int, int]:
    """At which width and height a reference of images of some width and height is kept [px]."""
    factor = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def make_reference(images: Sequence[np.ndarray]) -> ReferenceView:
    """Make the reference of one camera.

    Args:
        images: The first images of demonstrations, RGB, uint8 (H, W, 3), all of one size; the first
            `MOST_VIEWS` count.

    Raises:
        ImageError: no image, or images of several sizes.
    """
    sizes = {image.shape for image in images}
    if len(sizes) != 1:
        raise ImageError(
            f"first images of the sizes {sorted(sizes)}: allowed is one size, and at least one image"
        )
    height, width = images[0].shape[:2]
    small = np.stack([_resize(image, stored_size((width, height))) for image in images[:MOST_VIEWS]])
    lights = np.stack([light(image) for image in small])
    gains = np.median(lights - lights[0], axis=(1, 2))
    lights -= (gains - np.median(gains)).astype(np.float32)[:, None, None]
    often = np.zeros(lights.shape, np.float32)
    for other in lights:
        often += np.exp(-2 * ((lights - other) / _SAME) ** 2)
    typical = np.take_along_axis(lights, often.argmax(axis=0)[None], axis=0)
    same = np.abs(lights - typical) < _SAME
    count = same.sum(axis=0)
    image = ((small * same[..., None]).sum(axis=0) / count[..., None] + 0.5).astype(np.uint8)
    share = (count / len(small)).astype(np.float32)
    factors = np.array([_light_factors(view, image, share) for view in small])
    brightness = factors.mean(axis=1)
    colors = factors - brightness[:, None]
    limits = LightRange(
        float(brightness.min()), float(brightness.max()), colors.min(axis=0), colors.max(axis=0)
    )
    return ReferenceView(image, share, (width, height), limits)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size[::-1]:
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _light_factors(image: np.ndarray, reference: np.ndarray, share: np.ndarray) -> np.ndarray:
    plain = share >= min(_PLAIN, float(np.median(share)))
    return np.median(np.log((image[plain] + 8.0) / (reference[plain] + 8.0)), axis=0)
