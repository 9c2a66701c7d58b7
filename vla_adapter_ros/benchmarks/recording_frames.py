"""Images for measurements of recorders: a slightly noisy scene in motion, with its number written into it.

Numpy alone, so that every writer that is measured gets the same images.
"""

from __future__ import annotations

import numpy as np

BITS = 20  # of the number in an image
_BLOCK = 16  # side of a bit [px]: survives any usual video quality
_LOOP = 60  # images until the scene repeats; the numbers do not


class SceneMaker:
    """Makes the images of one camera.

    Args:
        width: [px], at least BITS * 16.
        height: [px].
        seed: Cameras of different seeds show different scenes.
        fixed: Whether the camera stands still, and something arm-sized moves before it; else the whole
            scene moves to and fro, as a gripper camera sees it.
    """

    def __init__(self, width: int, height: int, seed: int, *, fixed: bool = False) -> None:
        rng = np.random.default_rng(seed)
        scene = _texture(rng, 2 * width, height)
        noise = rng.normal(0, 1.5, (4, height, width, 3))
        self._loop = np.empty((_LOOP, height, width, 3), np.uint8)
        for n in range(_LOOP):
            # To and fro, so that the loop has no jump.
            shift = round(width / 4 * (1 - np.cos(2 * np.pi * n / _LOOP)))
            image = scene[:height, :width].copy() if fixed else scene[:height, shift : shift + width]
            if fixed:
                arm = scene[height // 3 : height, width : width + width // 6]
                image[: len(arm), shift : shift + arm.shape[1]] = arm
            self._loop[n] = np.clip(image + noise[n % 4], 0, 255)

    def image(self, number: int) -> np.ndarray:
        """Image `number`, from 0 to 2**20 - 1: uint8 (H, W, 3)."""
        image = self._loop[number % _LOOP].copy()
        bits = (number >> np.arange(BITS)) & 1
        row = np.repeat(np.where(bits, 235, 20).astype(np.uint8), _BLOCK)
        image[:_BLOCK, : len(row)] = row[None, :, None]
        return image


def _texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Patches of all sizes, the larger the stronger (as 1/f, as in photographs): float64 (H, W, 3)."""
    scene = np.full((height, width, 3), 120.0)
    for size in (128, 64, 32, 16, 8, 4):
        shape = (-(-height // size), -(-width // size))
        gray, tint = rng.normal(size=(*shape, 1)), rng.normal(size=(*shape, 3))
        scene += np.kron(size / 2.4 * (gray + tint / 3), np.ones((size, size, 1)))[:height, :width]
    for axis in (0, 1):  # soft edges, as lenses make them
        scene = (scene + np.roll(scene, 1, axis) + np.roll(scene, 2, axis)) / 3
    return np.clip(scene, 0, 255)


def read_number(image: np.ndarray) -> int:
    """The number written into an image, uint8 (H, W, 3)."""
    inner = (
        image[4 : _BLOCK - 4, : BITS * _BLOCK].mean(axis=(0, 2)).reshape(BITS, _BLOCK)[:, 4:-4].mean(axis=1)
    )
    return int(((inner > 128).astype(np.int64) << np.arange(BITS)).sum())
