"""A picture that shows what has changed: the demonstrations, what the camera sees now, and both at once."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import cv2
import numpy as np

from vla_adapter_ros.scene_check.reference import ReferenceView
from vla_adapter_ros.scene_check.scene import SceneComparison
from vla_adapter_ros.scene_check.views import Verdict

PANEL = 360  # width of each of the three pictures [px]
_LINE, _LETTER, _GAP = 16, 7, 6  # height of a line, width of a letter, space around [px]
_COLORS = {Verdict.SAME: (60, 140, 40), Verdict.CHANGED: (200, 40, 30), Verdict.UNKNOWN: (110, 110, 110)}
_TITLES = ("demonstrations", "now", "both: what stayed is gray")


def draw_scene(
    references: Mapping[str, ReferenceView], images: Mapping[str, np.ndarray], found: SceneComparison
) -> np.ndarray:
    """Draw a row per camera, with the result above, and a line about the start pose.

    Where nothing has moved, the third picture is gray: it has the demonstrations in red, now in cyan.

    Args:
        references: From the checkpoint.
        images: Camera -> RGB, uint8 (H, W, 3).
        found: What the comparison of these images found.

    Returns:
        RGB, uint8 (H, W, 3).
    """
    rows = []
    for view in found.views:
        rows.append(_text(view.text, _COLORS[view.verdict]))
        rows.append(_panels(references.get(view.camera), images[view.camera]))
    if found.start is not None:
        rows.append(_text(found.start.text, _COLORS[found.start.verdict]))
    return np.vstack(rows)


def _panels(reference: ReferenceView | None, image: np.ndarray) -> np.ndarray:
    now = _fit(image)
    was = np.full_like(now, 235) if reference is None else cv2.resize(_fit(reference.image), now.shape[1::-1])
    both = now if reference is None else _overlay(was, now)
    row = [_titled(*entry) for entry in zip((was, now, both), _TITLES, strict=True)]
    space = np.full((row[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.hstack([row[0], space, row[1], space, row[2]])


def _fit(image: np.ndarray) -> np.ndarray:
    height = max(1, round(image.shape[0] * PANEL / image.shape[1]))
    way = cv2.INTER_AREA if image.shape[1] > PANEL else cv2.INTER_LINEAR
    return cv2.resize(image, (PANEL, height), interpolation=way)


def _overlay(was: np.ndarray, now: np.ndarray) -> np.ndarray:
    """The old picture in red, the new one in green and blue; differences of brightness alone stay small."""
    old, new = (cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32) for part in (was, now))
    old *= np.median(new) / max(float(np.median(old)), 1.0)
    bright = np.clip(old, 0, 255).astype(np.uint8)
    return np.dstack([bright, new.astype(np.uint8), new.astype(np.uint8)])


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    head = np.full((_LINE + _GAP, picture.shape[1], 3), 255, np.uint8)
    _write(head, title, (2, _LINE), (90, 90, 90))
    return np.vstack([head, picture])


def _text(text: str, color: tuple[int, int, int]) -> np.ndarray:
    width = 3 * PANEL + 2 * _GAP
    lines = textwrap.wrap(text, width // _LETTER)
    strip = np.full((len(lines) * _LINE + 2 * _GAP, width, 3), 255, np.uint8)
    for number, line in enumerate(lines, 1):
        _write(strip, line, (2, number * _LINE), color)
    return strip


def _write(image: np.ndarray, text: str, place: tuple[int, int], color: tuple[int, int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV draws no other letters
    cv2.putText(image, plain, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
