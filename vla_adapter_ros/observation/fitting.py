"""Images of another size than the contract's, cropped or padded as it says: nothing is scaled."""

from __future__ import annotations

import numpy as np


def can_fit(shape: tuple[int, ...], size: tuple[int, int], fit: str) -> bool:
    """Whether an image can be given a size.

    Args:
        shape: Of the image, (H, W, ...) [px].
        size: Width and height that are wanted [px].
        fit: As the contract's camera says: empty, crop or pad.
    """
    (height, width), wanted = shape[:2], size[::-1]
    if (height, width) == wanted:
        return True
    if fit == "crop":
        return height >= wanted[0] and width >= wanted[1]
    return fit == "pad" and height <= wanted[0] and width <= wanted[1]


def fit_image(image: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """Crop an image around its middle, or put it into the middle of a black one.

    Of an odd number of lines that go or come, the larger part does so at the bottom and on the right.

    Args:
        image: (H, W, ...).
        size: Width and height that are wanted [px].
        fit: As the contract's camera says: empty, crop or pad.

    Returns:
        The image of that size, contiguous; the image itself where it has it or cannot be given it.
    """
    height, width = size[::-1]
    if image.shape[:2] == (height, width) or not can_fit(image.shape, size, fit):
        return image
    top, left = abs(image.shape[0] - height) // 2, abs(image.shape[1] - width) // 2
    if fit == "crop":
        return np.ascontiguousarray(image[top : top + height, left : left + width])
    padded = np.zeros((height, width, *image.shape[2:]), image.dtype)
    padded[top : top + image.shape[0], left : left + image.shape[1]] = image
    return padded
