"""Checks of the images of an episode."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.findings import Finding, skip
from vla_adapter_ros.dataset.quality.images import BRIGHTEST, CHANGE, MEAN, SATURATED
from vla_adapter_ros.dataset.quality.rows import IDLE_SHARE, arm_columns
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade

_KEY_IMAGE_CHANGE = 8.0  # levels of 255 by which a key image of a still scene may differ
_STILL_AROUND = 4  # still rows on each side of it


def check_refused_images(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Images that came but could not be used: damaged ones, or of an encoding that is not taken."""
    if s.refused is None:
        return skip("refused_images", "nothing says which images could not be used")
    if not s.refused:
        return grade("refused_images", 0.0, settings, "none")
    camera = max(s.refused, key=lambda name: s.refused[name][0])
    count, why = s.refused[camera]
    what = f"{count} images in {len(s.state)} rows (camera {camera}), the first: {why}"
    return grade("refused_images", count / len(s.state), settings, what)


def check_repeated_frames(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Images that stay the same although the arm moves."""
    why = _without_changes(s)
    if why:
        return skip("repeated_frames", why)
    moving = _moving(s, settings, contract)
    if not moving.any():
        return skip("repeated_frames", "the arm never moves fast enough to tell")
    shares = {name: float(_same(s, settings, name)[moving].mean()) for name in s.images}
    camera = max(shares, key=shares.__getitem__)
    what = f"{shares[camera]:.1%} of {int(moving.sum())} rows in motion (camera {camera})"
    return grade("repeated_frames", shares[camera], settings, what)


def check_frozen_camera(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Longest stretch of unchanged images, counting only the rows in motion."""
    why = _without_changes(s)
    if why:
        return skip("frozen_camera", why)
    moving = _moving(s, settings, contract)
    if not moving.any():
        return skip("frozen_camera", "the arm never moves fast enough to tell")
    longest = {}
    for name in s.images:
        run = best = 0
        for same, moves in zip(_same(s, settings, name), moving, strict=True):
            run = run + int(moves) if same else 0
            best = max(best, run)
        longest[name] = best / s.fps
    camera = max(longest, key=longest.__getitem__)
    what = f"{longest[camera]:.2f} s of motion in one image (camera {camera})"
    return grade("frozen_camera", longest[camera], settings, what)


def check_black_camera(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Images without a single block that is brighter than black."""
    if not s.images:
        return skip("black_camera", "no images were looked at")
    shares = {n: float((m[:, BRIGHTEST] < settings.black_level).mean()) for n, m in s.images.items()}
    camera = max(shares, key=shares.__getitem__)
    return grade("black_camera", shares[camera], settings, f"{shares[camera]:.1%} (camera {camera})")


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
    """Median share of saturated values."""
    if not s.images:
        return skip("saturated_images", "no images were looked at")
    shares = {name: float(np.median(m[:, SATURATED])) for name, m in s.images.items()}
    camera = max(shares, key=shares.__getitem__)
    return grade("saturated_images", shares[camera], settings, f"{shares[camera]:.1%} (camera {camera})")


def _without_changes(s: Samples) -> str:
    """Why changes from image to image are not known; empty if they are."""
    if not s.images:
        return "no images were looked at"
    return "" if s.every_image else "only some images were looked at"


def _moving(s: Samples, settings: QualitySettings, contract: Contract | None) -> np.ndarray:
    """Rows in which the arm moves faster than what a camera may miss: bool (T,), row 0 never."""
    state = s.state[:, arm_columns(s, contract)]
    step = np.maximum(settings.motion_speed / s.fps, IDLE_SHARE * np.ptp(state, axis=0))
    moving = np.zeros(len(state), dtype=bool)
    moving[1:] = (np.abs(np.diff(state, axis=0)) > step).any(axis=1)
    return moving


def _same(s: Samples, settings: QualitySettings, camera: str) -> np.ndarray:
    """Rows whose image is that of the row before, bool (T,).

    In a video every key image is coded anew and differs a little. One such row between still ones is still.
    """
    if not s.lossy:
        return s.images[camera][:, CHANGE] <= 0.0
    change = s.images[camera][:, CHANGE]
    still = change <= settings.lossy_change
    for row in np.flatnonzero(~still & (change <= _KEY_IMAGE_CHANGE)):
        around = still[max(row - _STILL_AROUND, 0) : row], still[row + 1 : row + 1 + _STILL_AROUND]
        if all(len(side) == _STILL_AROUND and side.all() for side in around):
            still[row] = True
    return still
