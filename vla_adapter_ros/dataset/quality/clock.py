"""Checks of when the rows of an episode were captured, and how old their samples are."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.findings import Finding, skip
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade

_ALWAYS = 10  # what so many rows have in common is no chance


def check_dropped_frames(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Frames missing between the stamps, or reported by the recorder if these are more."""
    why = without_clock(s)
    if why:
        return skip("dropped_frames", why)
    gaps = np.diff(s.stamps) * s.fps
    missing = max(int(np.maximum(np.rint(gaps) - 1, 0).sum()), s.dropped)
    share = missing / (missing + len(s.stamps))
    longest = f", longest gap {gaps.max() / s.fps:.3f} s" if missing and len(gaps) else ""
    return grade("dropped_frames", share, settings, f"{missing} frames ({share:.1%}){longest}")


def check_rate_error(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """True rate from the first to the last stamp."""
    why = without_clock(s)
    if why:
        return skip("rate_error", why)
    rate = (len(s.stamps) - 1) / max(float(s.stamps[-1] - s.stamps[0]), 1e-9)
    error = abs(rate / s.fps - 1)
    return grade("rate_error", error, settings, f"{rate:.2f} Hz instead of {s.fps:g} Hz ({error:.1%} off)")


def check_stream_age(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """How old the samples of each stream are when they are used."""
    if s.ages is None:
        return skip("stream_age_p95", "no ages recorded")
    p95 = np.nanquantile(s.ages, 0.95, axis=0)
    worst = int(np.nanargmax(p95))
    periods = float(p95[worst] * s.fps)
    what = f"{periods:.2f} periods ({1e3 * p95[worst]:.0f} ms, {s.streams[worst]})"
    return grade("stream_age_p95", periods, settings, what)


def check_stream_skew(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """How far apart the samples of one row were taken."""
    if s.ages is None:
        return skip("stream_skew", "no ages recorded")
    known = np.where(np.isfinite(s.ages), s.ages, np.nanmin(s.ages))
    if known.shape[1] < 2:
        return skip("stream_skew", "the age of one stream only was recorded")
    spread = np.ptp(known, axis=1)
    row = int(np.argmax(spread))
    periods = float(spread[row] * s.fps)
    oldest = s.streams[int(np.argmax(known[row]))]
    what = f"{periods:.2f} periods ({1e3 * spread[row]:.0f} ms in row {row}, oldest {oldest})"
    return grade("stream_skew", periods, settings, what)


def check_camera_lag(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Cameras whose images are always nearly one period old: the next come soon after the reference's."""
    if s.ages is None or len(s.ages) < _ALWAYS:
        return skip("camera_lag", "no ages recorded" if s.ages is None else f"fewer than {_ALWAYS} rows")
    cameras = s.images if contract is None else contract.cameras
    lags = {name: _lag(s, column, name) for column, name in enumerate(s.streams) if name in cameras}
    if not lags:
        return skip("camera_lag", "no ages of cameras recorded")
    camera = max(lags, key=lags.__getitem__)
    late = lags[camera] > settings.limits_of("camera_lag")[0]
    what = f"camera {camera} is always " + (
        f"one period old ({lags[camera]:.2f}): make it the reference camera"
        if late
        else f"{lags[camera]:.2f} old"
    )
    return grade("camera_lag", lags[camera], settings, what)


def _lag(s: Samples, column: int, camera: str) -> float:
    """Age that nearly all images of a camera have at least, in its periods, or else in steps of the rows."""
    period = s.periods.get(camera, np.inf)
    if not np.isfinite(period) and s.stamps is not None:
        steps = np.diff(s.stamps - s.ages[:, column])
        period = np.median(steps[steps > 0]) if (steps > 0).any() else np.inf
    return float(np.nanquantile(s.ages[:, column], 0.05) / period)


def without_clock(s: Samples) -> str:
    """Why the stamps say nothing about time; empty if they do."""
    if s.stamps is None or len(s.stamps) < 2:
        return "no real stamps recorded" if s.stamps is None else "one row only"
    return ""
