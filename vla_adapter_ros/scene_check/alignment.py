"""Estimate how a view has moved against what always stood in its place.

Pixels of the reference that differ strongly from the view are taken for hidden by an arm or an object and
do not count. Only edges of the reference count: what lies on a plain table does not disturb.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from vla_adapter_ros.scene_check.motion import ImageMotion

COARSE_SIDE = 28
"""Shorter side of the smallest pictures, in which motions are searched [px]."""
SEARCH = 0.3
"""Farthest shift that is searched, as a fraction of the shorter side."""
MIN_SHARE = 0.35
"""Share of the demonstrations in which an edge must have been visible."""
EDGE = 0.04
"""Smallest change of the light per pixel that is an edge (logarithm)."""
_TURNS = np.radians((-6.0, 0.0, 6.0))
_STARTS = 4  # of the motions found, the best, each then refined
_DARK = 16.0  # gray levels: below, differences are noise rather than light
_NOISE = 0.05  # of the light (logarithm)
_BLUR = 1 / 12  # of the shorter side: changes of the light over longer distances do not count
_EDGE_PLACE = 0.5  # px: how exactly a camera of few pixels draws an edge where it is
_CUT = 3.0  # standard deviations from which on a pixel is hidden
_AS_STEEP = 0.4  # of the reference's slope: an edge is found again
_NEIGHBORS = 6.0  # pixels that err together
_PRIOR = (0.1, 0.1, np.radians(5.0), 0.03)  # motions that are usual: of the longer side, rad, logarithm
_ITERATIONS = 30


@dataclass(frozen=True)
class Alignment:
    """What was found.

    Attributes:
        motion: The most probable one.
        match: Share of the reference's edges that the view has where the motion puts them.
        evidence: How much better the motion explains the view than none does (twice the logarithm of the
            ratio of probabilities).
        uncertainty: Of the displacement, one standard deviation [px].
        edges: Pixels of the reference that count.
    """

    motion: ImageMotion
    match: float
    evidence: float
    uncertainty: float
    edges: int


def light(image: np.ndarray) -> np.ndarray:
    """The logarithm of an image's light, float32 (H, W), of uint8 RGB (H, W, 3)."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.log(gray + _DARK)


def align(reference: np.ndarray, share: np.ndarray, view: np.ndarray) -> Alignment:
    """Estimate the motion from a reference to a view, whatever stands in the foreground of either.

    Args:
        reference: Light of what always stood there, float32 (H, W), see `light`.
        share: Share of the demonstrations in which it was visible, float32 (H, W), 0 to 1.
        view: Light of the view, float32 (H, W).

    Returns:
        The alignment. Where the reference has no edges, it is no motion with a match of 0.

    Source:
        Coarse to fine search, then Gauss-Newton steps with Tukey's biweight, as in direct image alignment
        (Baker and Matthews 2004, International Journal of Computer Vision 56, 221-255).
    """
    levels = [_Level(*(_shrink(part, size) for part in (reference, share, view))) for size in _sizes(view)]
    finest = levels[-1]
    if not len(finest.reference):
        return Alignment(ImageMotion(), 0.0, 0.0, np.inf, 0)
    starts = [levels[0].refine(start) for start in (ImageMotion(), *levels[0].search())]
    motion = min(starts, key=lambda found: found[1])[0]
    for coarse, level in pairwise(levels):
        at_rest, found = ImageMotion(), motion.resized(level.side / coarse.side)
        motion = min((level.refine(start) for start in (at_rest, found)), key=lambda entry: entry[1])[0]
    if len(levels) == 1:
        motion = levels[0].refine(motion)[0]
    return Alignment(
        motion,
        finest.match(motion),
        finest.cost(ImageMotion()) - finest.cost(motion),
        finest.uncertainty(motion),
        len(finest.reference),
    )


def _sizes(image: np.ndarray) -> list[tuple[int, int]]:
    """Widths and heights of the pictures that are compared, the smallest first."""
    height, width = image.shape
    halvings = max(0, int(np.log2(min(height, width) / COARSE_SIDE)))
    return [(round(width / 2**n), round(height / 2**n)) for n in range(halvings, -1, -1)]


def _shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image if image.shape == size[::-1] else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _local(image: np.ndarray) -> np.ndarray:
    """The light relative to that of the surroundings."""
    sigma = max(1.5, min(image.shape) * _BLUR)
    return image - cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change per pixel to the right and down."""
    across = cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    return across, cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)


class _Level:
    """Reference and view at one size; E edge pixels count. Steps d (4,) are in px at the picture's rim."""

    def __init__(self, reference: np.ndarray, share: np.ndarray, view: np.ndarray) -> None:
        self.height, self.width = reference.shape
        self.side = max(self.height, self.width)
        self._rim = self.side / 2
        reference, view = _local(reference), _local(view)
        across, down = _gradient(reference)
        steep, square = np.hypot(across, down), np.ones((3, 3), np.uint8)
        visible = cv2.erode(share, square)
        edges = (steep > EDGE) & (visible > MIN_SHARE)
        y, x = np.nonzero(edges)
        self._x, self._y = x - (self.width - 1) / 2, y - (self.height - 1) / 2
        self.reference = reference[edges].astype(np.float64)
        self._slope = np.stack([across[edges], down[edges]]).astype(np.float64)
        self._weight = visible[edges].astype(np.float64) / _NEIGHBORS
        self._sigma = np.hypot(_NOISE, _EDGE_PLACE * cv2.dilate(steep, square)[edges].astype(np.float64))
        self._view = cv2.merge([view, *_gradient(view)])
        self._usual = np.array(_PRIOR) * [self.side, self.side, self._rim, self._rim]

    def cost(self, motion: ImageMotion) -> float:
        """Minus twice the logarithm of the motion's probability, but for a constant."""
        values, inside = self._sample(motion)
        return self._cost(values[:, 0] - self.reference, inside, motion)

    def match(self, motion: ImageMotion) -> float:
        """Share of the edges that the view has where the motion puts them: steep, and in that direction."""
        values, inside = self._sample(motion)
        along = (self._slope * (motion.linear().T @ values[:, 1:].T)).sum(axis=0)
        return float(((along > _AS_STEEP * (self._slope**2).sum(axis=0)) & inside).mean())

    def uncertainty(self, motion: ImageMotion) -> float:
        """Standard deviation of the displacement [px]."""
        covariance = np.linalg.inv(self._equations(motion)[0])
        return float(np.sqrt(np.trace(covariance[:2, :2]) + np.trace(covariance[2:, 2:]) / 3))

    def search(self) -> list[ImageMotion]:
        """The best shifts and turns of a grid, which differ from one another."""
        farthest = int(SEARCH * min(self.height, self.width))
        reach = range(-farthest, farthest + 1, 2)
        grid = [ImageMotion((x, y), float(turn)) for turn in _TURNS for y in reach for x in reach]
        best: list[ImageMotion] = []
        for motion in sorted(grid, key=self.cost):
            if all(np.hypot(*np.subtract(motion.shift, other.shift)) > 2 for other in best):
                best.append(motion)
            if len(best) == _STARTS:
                break
        return best

    def refine(self, motion: ImageMotion) -> tuple[ImageMotion, float]:
        """The best motion near one, which is never worse, and its cost."""
        cost, damping = self.cost(motion), 1e-3
        for _ in range(_ITERATIONS):
            matrix, vector = self._equations(motion)
            while damping < 1e4:
                step = np.linalg.solve(matrix + damping * np.diag(np.diag(matrix)), vector)
                candidate = self._moved(motion, step)
                new = self.cost(candidate)
                if new < cost:
                    break
                damping *= 8
            else:
                break
            gained, motion, cost, damping = cost - new, candidate, new, max(damping / 4, 1e-4)
            if gained < 1e-4 or np.abs(step).max() < 2e-3:
                break
        return motion, cost

    def _cost(self, error: np.ndarray, inside: np.ndarray, motion: ImageMotion) -> float:
        ratio = np.minimum(np.abs(error) / (self._sigma * _CUT), 1.0)
        lost = np.where(inside, 1 - (1 - ratio**2) ** 3, 1.0)
        usual = float(((self._steps(motion) / self._usual) ** 2).sum())
        return float((lost * self._weight).sum()) * _CUT**2 / 3 + usual

    def _equations(self, motion: ImageMotion) -> tuple[np.ndarray, np.ndarray]:
        """Matrix (4, 4) and right side (4,) of the next step."""
        values, inside = self._sample(motion)
        error = values[:, 0] - self.reference
        # The view's slope along the reference's axes. The mean with the reference's own errs least.
        slope = (self._slope + motion.linear().T @ values[:, 1:].T) / 2
        x, y = self._x / self._rim, self._y / self._rim
        jacobian = np.stack([*slope, x * slope[1] - y * slope[0], x * slope[0] + y * slope[1]], axis=-1)
        ratio = error / (self._sigma * _CUT)
        trust = np.where((np.abs(ratio) < 1) & inside, (1 - ratio**2) ** 2, 0.0)
        weighted = jacobian * (trust * self._weight / self._sigma**2)[:, None]
        matrix = weighted.T @ jacobian + np.diag(self._usual**-2.0)
        return matrix, -(weighted.T @ error + self._steps(motion) / self._usual**2)

    def _steps(self, motion: ImageMotion) -> np.ndarray:
        """A motion as a step from none."""
        return np.array([*motion.shift, motion.turn * self._rim, np.log(motion.scale) * self._rim])

    def _moved(self, motion: ImageMotion, step: np.ndarray) -> ImageMotion:
        """A small step in the reference, then the motion; scale and turn stay within what a camera does."""
        shift = motion.shift + motion.linear() @ step[:2]
        turn = np.clip(motion.turn + step[2] / self._rim, -np.pi / 2, np.pi / 2)
        scale = np.clip(motion.scale * np.exp(np.clip(step[3] / self._rim, -1.0, 1.0)), 0.5, 2.0)
        return ImageMotion((float(shift[0]), float(shift[1])), float(turn), float(scale))

    def _sample(self, motion: ImageMotion) -> tuple[np.ndarray, np.ndarray]:
        """The view and its slopes (E, 3) where the edges lie by a motion, and whether that is inside (E,)."""
        (a, b), (c, d) = motion.linear()
        x = a * self._x + b * self._y + motion.shift[0] + (self.width - 1) / 2
        y = c * self._x + d * self._y + motion.shift[1] + (self.height - 1) / 2
        inside = (x >= 0) & (y >= 0) & (x <= self.width - 1) & (y <= self.height - 1)
        places = x.astype(np.float32)[None], y.astype(np.float32)[None]
        values = cv2.remap(self._view, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return values[0].astype(np.float64), inside
