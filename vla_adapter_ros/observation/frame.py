"""The frame: what every stream of a robot said at one time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

JOINT = "; "  # between the sentences of a problem


@dataclass(frozen=True)
class Frame:
    """One row of a data set, or one observation of the policy.

    Attributes:
        stamp: t [s].
        images: Camera name -> uint8 (H, W, 3) RGB, or uint16 (H, W) [mm] of a depth camera, 0 where it is
            unknown. Only good images are in it; those of depth cameras only where the action is asked for.
        state: float64 (S,), in the contract's order and units; NaN where unknown.
        action: float64 (A,), the command in force at t; None if unknown or not asked for. NaN where the
            contract says that the value is a next state, until that is known.
        ages: Stream (camera name or topic) -> t minus the stamp of its sample [s]; below 0 for an image
            of t that is stamped a little later.
        oldest: Stamp of the oldest sample used [s].
        problem: Why the frame must not be used, in words, the first cause first; empty if it is good.
        periods: Camera but the reference -> time between its images [s]; inf while unknown.
    """

    stamp: float
    images: dict[str, np.ndarray]
    state: np.ndarray
    action: np.ndarray | None
    ages: dict[str, float]
    oldest: float
    problem: str = ""
    periods: Mapping[str, float] = field(default_factory=dict)

    @property
    def first_cause(self) -> str:
        """What was wrong first; empty if the frame is good."""
        return self.problem.partition(JOINT)[0]


FLOAT32_MAX = float(np.finfo(np.float32).max)
"""Data sets and networks hold float32: larger values would become infinite there."""


def fits_float32(values: np.ndarray | float) -> bool:
    """Whether all values are finite, also as float32."""
    return bool((np.abs(values) <= FLOAT32_MAX).all())  # False for NaN


def value_key(joint: str, field: str) -> str:
    """Name of a value within its topic: joint (for its position), joint/velocity, position.x."""
    if not joint:
        return field
    return joint if field == "position" else f"{joint}/{field}"


def image_problem(name: str, image: np.ndarray, height: int, width: int, *, depth: bool = False) -> str:
    """What is wrong with an image, in words; empty if it is as the contract says."""
    shape, kind = ((height, width), np.uint16) if depth else ((height, width, 3), np.uint8)
    if image.shape == shape and image.dtype == kind:
        return ""
    size = "x".join(str(n) for n in image.shape[:2][::-1])
    if image.shape[:2] != (height, width):
        return f"camera {name}: image is {size}, the contract says {width}x{height}"
    return f"camera {name}: image is {image.dtype} {image.shape}, allowed is {np.dtype(kind)} {shape}"
