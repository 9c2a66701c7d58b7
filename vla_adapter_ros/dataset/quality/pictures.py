"""Checks of the images of an episode."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.findings import Finding, skip
from vla_adapter_ros.dataset.quality.images import BRIGHTEST, CHANGE, MEAN, SATURATED
from vla_adapter_ros.dataset.quality.rows import IDLE_FRACTION, arm_columns
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade

_KEY_IMAGE_CHANGE = 8.0  # levels of 255 by which a key image of a still scene may differ
_STILL_AROUND = 4  # still rows on each side of it
_FROZEN_S = 0.5  # images that are the same for longer are repeated, whatever is around them
_NEIGHBORS = 6  # rows on each side that say how much an image should change
_SPARED = 2  # repeated rows of sampled windows that are not counted: few rows say little of all
_REPEATED = 0.2  # of that: an image that changes less is that of the row before


def check_refused_images(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Images that came but could not be used: damaged ones, or of an encoding that is not taken."""
    if s.refused is None:
        return skip("refused_images", "nothing says which images could not be used")
    if not s.refused:
        return grade("refused_images", 0.0, settings, "none")
    camera, (count, why) = max(s.refused.items(), key=lambda entry: entry[1][0])
    what = f"{count} images in {len(s.state)} rows (camera {camera}), the first: {why}"
    return grade("refused_images", count / len(s.state), settings, what)


def check_repeated_frames(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Images that stay the same although the arm moves.

    A row whose images change is compared with the rows around it, and not with a fixed level: a codec takes
    small changes away and adds others, but what moves stays far above both. Where the images around hardly
    change nothing can be told of a single row; there, only a long stretch of still images counts.
    """
    why, moving = _without_motion(s, settings, contract)
    if why:
        return skip("repeated_frames", why)
    fractions, counts = {}, {}
    for name in s.images:
        change = s.images[name][:, CHANGE]
        around = _around(change)
        told = around >= settings.visible_change
        frozen = _long_runs(_still(change, settings), round(_FROZEN_S * s.fps))
        repeated = (told & (change <= _REPEATED * around)) | frozen
        known = moving & np.isfinite(change) & (told | frozen)
        spared = 0 if s.looked is None else _SPARED
        fractions[name] = max(int(repeated[known].sum()) - spared, 0) / max(int(known.sum()), 1)
        counts[name] = int(known.sum())
    if not any(counts.values()):
        return skip("repeated_frames", "the images change too little to tell")
    camera = max(fractions, key=fractions.__getitem__)
    what = f"{fractions[camera]:.1%} of {counts[camera]} rows in motion (camera {camera}{_how_many(s)})"
    return grade("repeated_frames", fractions[camera], settings, what)


def check_frozen_camera(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Longest stretch of unchanged images, counting only the rows in motion."""
    why, moving = _without_motion(s, settings, contract)
    if why:
        return skip("frozen_camera", why)
    longest = {}
    for name in s.images:
        run = best = 0
        for same, moves in zip(_still(s.images[name][:, CHANGE], settings), moving, strict=True):
            run = run + int(moves) if same else 0
            best = max(best, run)
        longest[name] = best / s.fps
    camera = max(longest, key=longest.__getitem__)
    what = f"{longest[camera]:.2f} s of motion in one image (camera {camera}{_how_many(s)})"
    return grade("frozen_camera", longest[camera], settings, what)


def check_black_camera(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Images without a single block that is brighter than black."""
    if not s.images:
        return skip("black_camera", "no images were looked at")
    fractions = {n: float((m[:, BRIGHTEST] < settings.black_level).mean()) for n, m in s.images.items()}
    camera = max(fractions, key=fractions.__getitem__)
    return grade("black_camera", fractions[camera], settings, f"{fractions[camera]:.1%} (camera {camera})")


def check_dark_images(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Median brightness."""
    if not s.images:
        return skip("dark_images", "no images were looked at")
    levels = {name: float(np.median(m[:, MEAN])) for name, m in s.images.items()}
    camera = min(levels, key=levels.__getitem__)
    return grade(
        "dark_images", levels[camera], settings, f"mean level {levels[camera]:.0f} (camera {camera})"
    )


def check_saturated_images(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Median fraction of saturated values."""
    if not s.images:
        return skip("saturated_images", "no images were looked at")
    fractions = {name: float(np.median(m[:, SATURATED])) for name, m in s.images.items()}
    camera = max(fractions, key=fractions.__getitem__)
    return grade(
        "saturated_images", fractions[camera], settings, f"{fractions[camera]:.1%} (camera {camera})"
    )


def _how_many(s: Samples) -> str:
    """Says in how many images it was looked for, where these are not all."""
    return "" if s.looked is None else f"; {len(s.looked)} of {len(s.state)} images looked at"


def _without_motion(
    s: Samples, settings: QualitySettings, contract: Contract | None
) -> tuple[str, np.ndarray]:
    """Why changes from image to image tell nothing (empty if they do), and in which looked-at rows to look.

    Those are the rows in which the arm moves faster than what a camera may miss: bool (M,), row 0 never.
    """
    state = s.state[:, arm_columns(s, contract)]
    moving = np.zeros(len(state), dtype=bool)
    if s.images and len(state):
        step = np.maximum(settings.motion_speed / s.fps, IDLE_FRACTION * np.ptp(state, axis=0))
        moving[1:] = (np.abs(np.diff(state, axis=0)) > step).any(axis=1)
    if s.looked is not None:
        moving = moving[s.looked]
    if not s.images:
        return "no images were looked at", moving
    changes = [np.isfinite(measured[:, CHANGE]) for measured in s.images.values()]
    if not any(change.any() for change in changes):
        return "no two images in a row were looked at", moving
    return "" if moving.any() else "the arm never moves fast enough to tell", moving


def _around(change: np.ndarray) -> np.ndarray:
    """Mean change of the images before each, or of those after it if these change less: (M,).

    0 where either is not known: an arm that comes to rest is no repeated image.
    """
    known = np.isfinite(change)
    window = np.maximum.accumulate(np.where(known, 0, np.arange(len(change))))  # its first row
    sides = []
    for sign in (-1, 1):
        total, count = np.zeros(len(change)), np.zeros(len(change))
        for step in range(1, _NEIGHBORS + 1):
            there = np.arange(len(change)) + sign * step
            inside = (there >= 0) & (there < len(change))
            there = np.clip(there, 0, len(change) - 1)
            inside &= known[there] & (window[there] == window)
            total += np.where(inside, np.where(known, change, 0.0)[there], 0.0)
            count += inside
        sides.append(total / np.maximum(count, 1))
    return np.minimum(*sides)


def _still(change: np.ndarray, settings: QualitySettings) -> np.ndarray:
    """Rows whose image is that of the row before, but for what a codec does, bool (M,).

    In a video every key image is coded anew and differs a little. One such row between still ones is still.
    """
    still = change <= settings.lossy_change
    for row in np.flatnonzero(~still & (change <= _KEY_IMAGE_CHANGE)):
        around = still[max(row - _STILL_AROUND, 0) : row], still[row + 1 : row + 1 + _STILL_AROUND]
        if all(len(side) == _STILL_AROUND and side.all() for side in around):
            still[row] = True
    return still


def _long_runs(still: np.ndarray, minimum: int) -> np.ndarray:
    """Rows that are part of more than `minimum` still ones, one after the other, bool (M,)."""
    edges = np.diff(np.concatenate([[0], still.astype(np.int8), [0]]))
    kept = np.zeros(len(still), dtype=bool)
    for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        kept[first:end] = end - first > minimum
    return kept
