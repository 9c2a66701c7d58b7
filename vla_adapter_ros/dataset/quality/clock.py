"""Checks of when rows were captured, and how old their samples are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality.findings import Finding, Level, skip
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, QualitySettings, grade

_ALWAYS = 10  # what so many rows have in common is no chance
_OFF_PERIOD = 0.25  # of the period: a gap is regular within it
_WRONG_RATE = 0.25  # the true rate may differ from the nominal one by this fraction


def check_dropped_frames(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """Frames missing between the stamps, or reported by the recorder if these are more."""
    if s.stamps is None or len(s.stamps) < 2:
        return _skip_without_clock("dropped_frames", s)
    gaps = np.diff(s.stamps) * s.fps
    skipped = int(np.maximum(np.rint(gaps) - 1, 0).sum())
    missing = max(skipped, s.dropped)
    fraction = missing / (missing + len(s.stamps))
    what = f"{missing} frames ({fraction:.1%})"
    if missing and len(gaps):
        what += f", longest gap {gaps.max() / s.fps:.3f} s"
    if skipped > s.dropped:
        camera = f" ({contract.reference_camera})" if contract is not None else ""
        what += (
            f"; {skipped - s.dropped} images of the reference camera{camera} did not come: see its own rate"
        )
    return grade("dropped_frames", fraction, settings, what)


def check_rate_error(s: Samples, settings: QualitySettings, contract: Contract | None) -> Finding:
    """True rate from the first to the last stamp."""
    if s.stamps is None or len(s.stamps) < 2:
        return _skip_without_clock("rate_error", s)
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
    lags = {
        name: _lag(s, s.ages[:, column], name) for column, name in enumerate(s.streams) if name in cameras
    }
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


def check_timing(stamps: Sequence[np.ndarray], fps: float, settings: QualitySettings = DEFAULTS) -> Finding:
    """True times of rows against the rate.

    Args:
        stamps: Times of each episode's rows [s]; empty where there are none but computed ones.
        fps: Nominal rate [Hz].
    """
    gaps = np.concatenate([np.diff(times) for times in stamps]) * fps if stamps else np.empty(0)
    if not len(gaps):
        return skip("timing", "no true times were recorded, only row / rate")
    shortest, low, middle, high, longest = np.quantile(gaps, [0, 0.01, 0.5, 0.99, 1.0]) / fps * 1e3
    off = float((np.abs(gaps - 1) > _OFF_PERIOD).mean())
    mean = 1.0 / float(gaps.mean())
    text = (
        f"{off:.1%} of gaps are off by more than {_OFF_PERIOD:.0%} of {1e3 / fps:.0f} ms (1 % below "
        f"{low:.0f}, median {middle:.0f}, 1 % above {high:.0f} ms, shortest {shortest:.0f}, "
        f"longest {longest:.0f}; mean rate {fps * mean:.2f} Hz)"
    )
    wrong = abs(1e3 / (middle * fps) - 1) if middle > 0 else math.inf
    if wrong > _WRONG_RATE:
        rate = 1e3 / max(middle, 1e-9)
        text = f"rows come at {rate:.2f} Hz, the data set says {fps:g} Hz; allowed is the true rate"
        return Finding("timing", Level.FAIL, wrong, text)
    return grade("timing", off, settings, text)


def _lag(s: Samples, ages: np.ndarray, camera: str) -> float:
    """Age that nearly all images of a camera have at least, in its periods, or else in steps of the rows.

    Args:
        s: The episode.
        ages: Of the camera's images, (T,) [s].
        camera: Its name.
    """
    period = s.periods.get(camera, np.inf)
    if not np.isfinite(period) and s.stamps is not None:
        steps = np.diff(s.stamps - ages)
        period = np.median(steps[steps > 0]) if (steps > 0).any() else np.inf
    return float(np.nanquantile(ages, 0.05) / period)


def _skip_without_clock(name: str, s: Samples) -> Finding:
    return skip(name, "no real stamps recorded" if s.stamps is None else "one row only")
