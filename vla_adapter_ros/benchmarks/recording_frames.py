"""Images for measurements of recorders: a moving, slightly noisy scene with its number written into it.

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
    """

    def __init__(self, width: int, height: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        coarse = rng.uniform(30, 220, (height // 16 + 2, 2 * width // 16 + 2, 3))
        scene = np.kron(coarse, np.ones((16, 16, 1)))[: height + 8, : 2 * width]
        for axis in (0, 1):  # soft edges, as lenses make them
            scene = (scene + np.roll(scene, 3, axis) + np.roll(scene, 6, axis)) / 3
        noise = rng.normal(0, 1.5, (4, height, width, 3))
        self._loop = np.empty((_LOOP, height, width, 3), np.uint8)
        for n in range(_LOOP):
            # To and fro, so that the loop has no jump.
            shift = round(width / 4 * (1 - np.cos(2 * np.pi * n / _LOOP)))
            image = scene[:height, shift : shift + width] + noise[n % 4]
            self._loop[n] = np.clip(image, 0, 255)

    def image(self, number: int) -> np.ndarray:
        """Image `number`, from 0 to 2**20 - 1: uint8 (H, W, 3)."""
        image = self._loop[number % _LOOP].copy()
        bits = (number >> np.arange(BITS)) & 1
        row = np.repeat(np.where(bits, 235, 20).astype(np.uint8), _BLOCK)
        image[:_BLOCK, : len(row)] = row[None, :, None]
        return image


def read_number(image: np.ndarray) -> int:
    """The number written into an image, uint8 (H, W, 3)."""
    inner = (
        image[4 : _BLOCK - 4, : BITS * _BLOCK].mean(axis=(0, 2)).reshape(BITS, _BLOCK)[:, 4:-4].mean(axis=1)
    )
    return int(((inner > 128).astype(np.int64) << np.arange(BITS)).sum())
