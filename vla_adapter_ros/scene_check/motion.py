"""How a picture has moved: shift, turn and scale, and how far that takes its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageMotion:
    """Where the content of a reference picture lies in another one of the same size.

    A point at x from the center of the reference lies at `shift` + `scale` R(`turn`) x from the center of
    the other.

    Attributes:
        shift: To the right and down [px].
        turn: Clockwise as one looks at the picture [rad].
        scale: 1: as large as before.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    scale: float = 1.0

    def linear(self) -> np.ndarray:
        """Turn and scale, float64 (2, 2)."""
        c, s = self.scale * np.cos(self.turn), self.scale * np.sin(self.turn)
        return np.array([[c, -s], [s, c]])

    def matrix(self, size: tuple[int, int]) -> np.ndarray:
        """Map float64 (2, 3) from pixels of the reference to pixels of the other picture.

        Args:
            size: Width and height of both [px].
        """
        center = (np.array(size) - 1) / 2
        return np.column_stack([self.linear(), center + self.shift - self.linear() @ center])

    def displacement(self, size: tuple[int, int]) -> float:
        """How far the content moves: the root mean square over all pixels [px].

        Args:
            size: Width and height of the picture [px].
        """
        extra = self.linear() - np.eye(2)
        from_center = (size[0] ** 2 + size[1] ** 2 - 2) / 12  # mean square of a pixel's distance [px^2]
        by_turn_and_scale = (extra[0, 0] ** 2 + extra[0, 1] ** 2) * from_center
        return float(np.sqrt(self.shift[0] ** 2 + self.shift[1] ** 2 + by_turn_and_scale))

    def resized(self, factor: float) -> ImageMotion:
        """The same motion in pictures that are `factor` times as large."""
        return ImageMotion((self.shift[0] * factor, self.shift[1] * factor), self.turn, self.scale)
