"""Compare what a camera sees with what it always saw when the demonstrations began."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.choices import Choice
from vla_adapter_ros.contract.safety import SceneLimits
from vla_adapter_ros.scene_check.alignment import SEARCH, align, light
from vla_adapter_ros.scene_check.motion import ImageMotion
from vla_adapter_ros.scene_check.reference import ReferenceView

LEAST_EVIDENCE = 6.0
"""Motions that explain an image no better than this count as none. Of 100 unchanged scenes, none had more."""
LEAST_MATCH = 0.2
"""With fewer edges found again, the image shows something else."""
LEAST_EDGES = 40
"""Pixels; a reference with fewer says nothing."""
MOST_UNCERTAIN = 0.03
"""Of the width: with a larger standard deviation of the displacement, nothing is said."""
_BLANK = 0.02  # standard deviation of the light (logarithm) of an image that shows something
_ASPECT = 0.01  # difference of width to height, as a fraction


AT_REST = ImageMotion()


class Verdict(Choice):
    """Whether a scene is the same as in the demonstrations."""

    SAME = "same"
    CHANGED = "changed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ViewComparison:
    """One camera against the demonstrations.

    Attributes:
        camera: Its name.
        verdict: Same, changed or unknown.
        text: What was found, a sentence without full stop.
        score: How far the content of the image has moved, root mean square over the image [px of the
            camera]; NaN where unknown.
        motion: Where the content lies now [px of the camera].
        match: Share of the reference's edges that were found again.
        brightness: By what fraction the image is brighter (above 0) or darker than all demonstrations.
        color: By what fraction the most changed of red, green and blue has left the demonstrations' range,
            brightness apart.
    """

    camera: str
    verdict: Verdict
    text: str
    score: float = np.nan
    motion: ImageMotion = AT_REST
    match: float = np.nan
    brightness: float = np.nan
    color: float = np.nan


def compare_view(
    camera: str, reference: ReferenceView | None, image: np.ndarray, limits: SceneLimits
) -> ViewComparison:
    """Compare an image of a camera with its reference.

    Args:
        camera: Its name.
        reference: From the checkpoint; None if it holds none.
        image: RGB, uint8 (H, W, 3).
        limits: Of the contract.
    """
    if why := _unknown(reference, image):
        return ViewComparison(camera, Verdict.UNKNOWN, f"camera {camera}: {why}")
    assert reference is not None
    fitted = reference.fit(image)
    found = align(light(reference.image), reference.share, light(fitted))
    if found.edges < LEAST_EDGES:
        why = "the demonstrations show too little that stands still"
        return ViewComparison(camera, Verdict.UNKNOWN, f"camera {camera}: {why}")
    width = image.shape[1]
    motion = found.motion if found.evidence > LEAST_EVIDENCE else AT_REST
    lost = found.match < LEAST_MATCH
    score = motion.displacement((fitted.shape[1], fitted.shape[0]))
    if lost:  # beyond what can be followed
        score = max(score, SEARCH * fitted.shape[1])
    motion, score = motion.resized(width / fitted.shape[1]), score * width / fitted.shape[1]
    brightness, color = map(np.expm1, reference.light.outside(reference.light_factors(fitted)))
    problems = []
    if lost:
        problems.append(f"shows something else: only {found.match:.0%} of what always stood there is found")
    elif score > limits.displacement_max * width:
        problems.append(f"has moved: {describe_motion(motion, score, width)}")
    if abs(brightness) > limits.brightness_max:
        way = "brighter" if brightness > 0 else "darker"
        problems.append(f"is {abs(brightness):.0%} {way} than all demonstrations")
    if color > limits.color_max:
        problems.append(f"has other colors than all demonstrations, by {color:.0%}")
    if not problems and found.uncertainty > MOST_UNCERTAIN * fitted.shape[1]:
        why = "too little of what stands still is visible"
        return ViewComparison(camera, Verdict.UNKNOWN, f"camera {camera}: {why}")
    text = f"camera {camera} " + (" and ".join(problems) or "sees the same scene")
    verdict = Verdict.CHANGED if problems else Verdict.SAME
    return ViewComparison(camera, verdict, text, score, motion, found.match, float(brightness), float(color))


def describe_motion(motion: ImageMotion, score: float, width: int) -> str:
    """A motion in words, such as: its image lies 5.1 px right and 0.2 px down, turned by 0.3 degrees."""
    right, down = motion.shift
    parts = [
        f"{abs(right):.1f} px {'right' if right >= 0 else 'left'}",
        f"{abs(down):.1f} px {'down' if down >= 0 else 'up'}",
        f"turned by {np.degrees(motion.turn):.1f} degrees",
        f"{motion.scale:.2f} times as large",
    ]
    return f"its image lies {', '.join(parts)} (score {score:.1f} px, {score / width:.1%} of the width)"


def _unknown(reference: ReferenceView | None, image: np.ndarray) -> str:
    """Why an image cannot be compared; empty if it can."""
    if reference is None:
        return "the checkpoint holds no view of its demonstrations"
    height, width = image.shape[:2]
    wide, high = reference.size
    if abs(width * high / (height * wide) - 1) > _ASPECT:
        return f"the image is {width}x{height}, the demonstrations' were {wide}x{high}"
    if float(light(reference.fit(image)).std()) < _BLANK:
        return "the image is blank"
    return ""
