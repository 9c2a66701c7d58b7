"""Pictures of a made-up room: what stands still, and in front of it an arm and things that lie elsewhere."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = (160, 120)  # width and height [px]
_MARGIN = 40  # px of the room beyond the picture, which a moved camera sees


def room(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """What stands still: uint8 (H + 2 margins, W + 2 margins, 3)."""
    rng = np.random.default_rng(seed)
    width, height = size[0] + 2 * _MARGIN, size[1] + 2 * _MARGIN
    image = np.full((height, width, 3), (120, 130, 125), np.uint8)
    for _ in range(25):
        corner = rng.integers(0, [width, height])
        other = corner + rng.integers(8, 60, 2)
        cv2.rectangle(image, corner.tolist(), other.tolist(), rng.integers(40, 220, 3).tolist(), -1)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def seen(
    background: np.ndarray,
    rng: np.random.Generator | None = None,
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    turn_deg: float = 0.0,
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """What a camera sees: uint8 (H, W, 3).

    Args:
        background: From `room`.
        rng: Draws where arm and things are, and noise; None: nothing stands in front, and no noise.
        shift: How far the content lies right and down of where it was [px].
        turn_deg: Clockwise about the picture's center [degrees].
        gain: Factors of red, green and blue.
    """
    height, width = (n - 2 * _MARGIN for n in background.shape[:2])
    center = (np.array([width, height]) - 1) / 2
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    linear = np.array([[c, -s], [s, c]])
    matrix = np.column_stack([linear, center + shift - linear @ (center + _MARGIN)])
    image = cv2.warpAffine(background, matrix, (width, height), flags=cv2.INTER_LINEAR)
    if rng is not None:
        elbow = rng.integers([0, 0], [width, height // 2])
        cv2.line(image, (int(elbow[0]), 0), elbow.tolist(), (235, 235, 235), 14)
        for _ in range(4):
            corner = rng.integers([0, height // 3], [width, height])
            color = rng.integers(0, 255, 3).tolist()
            cv2.rectangle(image, corner.tolist(), (corner + 10).tolist(), color, -1)
        image = np.clip(image + rng.normal(0, 2, image.shape), 0, 255)
    return np.clip(image * np.array(gain) + 0.5, 0, 255).astype(np.uint8)
