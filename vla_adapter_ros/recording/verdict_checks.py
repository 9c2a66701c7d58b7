"""The checks of an episode, one function each: samples, settings and contract (or None) to a `Check`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.recording.layout import CONTROL_SOURCES
from vla_adapter_ros.recording.verdict_types import Check, Samples, VerdictSettings, grade, skip

_CHANGE, _MEAN, _BRIGHTEST, _SATURATED = range(4)  # columns of measured images
_EQUAL = 1e-5  # an action this close to a state is a copy of it: float32 rounding of radians
_IDLE_SHARE = 0.01  # part of a column's range that is no motion, whatever its unit
_KEY_IMAGE_CHANGE = 8.0  # levels of 255 by which a key image of a still scene may differ
_STILL_AROUND = 4  # still rows on each side of it
_ALWAYS = 10  # what so many rows have in common is no chance


def check_missing_values(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Rows in which a state or an action is not finite."""
    columns = (*s.state_names, *s.action_names)
    bad = ~np.isfinite(np.hstack([s.state, s.action]))
    names = [columns[n] for n in np.flatnonzero(bad.any(axis=0))]
    share = float(bad.any(axis=1).mean())
    return grade("missing_values", share, settings, f"{share:.1%} of rows{_listed(names)}")


def check_dropped_frames(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Frames missing between the stamps, or reported by the recorder if these are more."""
    why = _without_clock(s)
    if why:
        return skip("dropped_frames", why)
    gaps = np.diff(s.stamps) * s.fps
    missing = max(int(np.maximum(np.rint(gaps) - 1, 0).sum()), s.dropped)
    share = missing / (missing + len(s.stamps))
    longest = f", longest gap {gaps.max() / s.fps:.3f} s" if missing and len(gaps) else ""
    return grade("dropped_frames", share, settings, f"{missing} frames ({share:.1%}){longest}")


def check_refused_images(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Images that came but could not be used: damaged ones, or of an encoding that is not taken."""
    if s.refused is None:
        return skip("refused_images", "nothing says which images could not be used")
    if not s.refused:
        return grade("refused_images", 0.0, settings, "none")
    camera = max(s.refused, key=lambda name: s.refused[name][0])
    count, why = s.refused[camera]
    what = f"{count} images in {len(s.state)} rows (camera {camera}), the first: {why}"
    return grade("refused_images", count / len(s.state), settings, what)


def check_repeated_frames(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
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


def check_rate_error(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """True rate from the first to the last stamp."""
    why = _without_clock(s)
    if why:
        return skip("rate_error", why)
    rate = (len(s.stamps) - 1) / max(float(s.stamps[-1] - s.stamps[0]), 1e-9)
    error = abs(rate / s.fps - 1)
    return grade("rate_error", error, settings, f"{rate:.2f} Hz instead of {s.fps:g} Hz ({error:.1%} off)")


def check_stream_age(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """How old the samples of each stream are when they are used."""
    if s.ages is None:
        return skip("stream_age_p95", "no ages recorded")
    p95 = np.quantile(s.ages, 0.95, axis=0)
    worst = int(np.argmax(p95))
    periods = float(p95[worst] * s.fps)
    what = f"{periods:.2f} periods ({1e3 * p95[worst]:.0f} ms, {s.streams[worst]})"
    return grade("stream_age_p95", periods, settings, what)


def check_stream_skew(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """How far apart the samples of one row were taken."""
    if s.ages is None:
        return skip("stream_skew", "no ages recorded")
    spread = np.ptp(s.ages, axis=1)
    row = int(np.argmax(spread))
    periods = float(spread[row] * s.fps)
    oldest = s.streams[int(np.argmax(s.ages[row]))]
    what = f"{periods:.2f} periods ({1e3 * spread[row]:.0f} ms in row {row}, oldest {oldest})"
    return grade("stream_skew", periods, settings, what)


def check_camera_lag(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Cameras whose images are always nearly one period old: the next come soon after the reference's."""
    if s.ages is None or len(s.ages) < _ALWAYS:
        return skip("camera_lag", "no ages recorded" if s.ages is None else f"fewer than {_ALWAYS} rows")
    cameras = s.images if contract is None else contract.cameras
    lags = {name: _lag(s, column, name) for column, name in enumerate(s.streams) if name in cameras}
    if not lags:
        return skip("camera_lag", "no ages of cameras recorded")
    camera = max(lags, key=lags.__getitem__)
    late = lags[camera] > settings.camera_lag[0]
    what = f"camera {camera} is always " + (
        f"one period old ({lags[camera]:.2f}): make it the reference camera"
        if late
        else f"{lags[camera]:.2f} old"
    )
    return grade("camera_lag", lags[camera], settings, what)


def check_frozen_camera(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
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


def check_black_camera(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Images without a single block that is brighter than black."""
    if not s.images:
        return skip("black_camera", "no images were looked at")
    shares = {n: float((m[:, _BRIGHTEST] < settings.black_level).mean()) for n, m in s.images.items()}
    camera = max(shares, key=shares.__getitem__)
    return grade("black_camera", shares[camera], settings, f"{shares[camera]:.1%} (camera {camera})")


def check_dark_images(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Median brightness."""
    if not s.images:
        return skip("dark_images", "no images were looked at")
    levels = {name: float(np.median(m[:, _MEAN])) for name, m in s.images.items()}
    camera = min(levels, key=levels.__getitem__)
    return grade(
        "dark_images", levels[camera], settings, f"mean level {levels[camera]:.0f} (camera {camera})"
    )


def check_saturated_images(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Median share of saturated values."""
    if not s.images:
        return skip("saturated_images", "no images were looked at")
    shares = {name: float(np.median(m[:, _SATURATED])) for name, m in s.images.items()}
    camera = max(shares, key=shares.__getitem__)
    return grade("saturated_images", shares[camera], settings, f"{shares[camera]:.1%} (camera {camera})")


def check_constant_joints(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Joints of the arm (without a contract: all state columns) that stay where they are."""
    columns = _arm_columns(s, contract)
    if len(s.state) < 2 or not columns:
        return skip("constant_joints", "no state" if not columns else "one row only")
    still = np.ptp(s.state[:, columns], axis=0) <= settings.still_range
    names = [s.state_names[c] for c, is_still in zip(columns, still, strict=True) if is_still]
    share = float(still.mean())
    what = f"{_cause(s) if names else ''}{len(names)} of {len(columns)}{_listed(names)}"
    return grade("constant_joints", share, settings, what)


def check_action_is_next_state(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Actions that were made from states afterwards: no command was recorded."""
    twins = _driven_state(s, contract)
    pairs = [(n, s.state_names.index(twin)) for n, twin in enumerate(twins) if twin in s.state_names]
    if not pairs and s.action.shape == s.state.shape:
        pairs = [(n, n) for n in range(s.state.shape[1])]
    if not pairs or len(s.state) < 2:
        return skip("action_is_next_state", "action and state have no names in common")
    action, state = s.action[:, [a for a, _ in pairs]], s.state[:, [b for _, b in pairs]]
    moving = (np.abs(np.diff(state, axis=0)) > _EQUAL).any(axis=1)
    if not moving.any():
        return skip("action_is_next_state", "nothing moves")
    shares = [
        float((np.abs(action[:-1] - other) <= _EQUAL).all(axis=1)[moving].mean())
        for other in (state[:-1], state[1:])
    ]
    which = "the next" if shares[1] >= shares[0] else "the same"
    share = max(shares)
    return grade("action_is_next_state", share, settings, f"{share:.1%} of moving rows ({which} row's state)")


def check_idle_head(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Rows at the start that are like the first one."""
    seconds = idle_rows(np.hstack([s.state, s.action]), settings) / s.fps
    return grade("idle_head", seconds, settings, f"{seconds:.1f} s")


def check_idle_tail(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Rows at the end that are like the last one."""
    seconds = idle_rows(np.hstack([s.state, s.action])[::-1], settings) / s.fps
    return grade("idle_tail", seconds, settings, f"{seconds:.1f} s")


def check_state_limits(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Measured joints out of their range, or faster than allowed."""
    if contract is None:
        return skip("state_limits", "no contract")
    bad = np.zeros(len(s.state), dtype=bool)
    worst = ""
    steps = np.full(max(len(s.state) - 1, 0), 1 / s.fps) if s.stamps is None else np.diff(s.stamps)
    for column, (dimension, joint) in enumerate(zip(contract.state, contract.state_joints, strict=True)):
        if dimension.field != "position" or joint not in contract.limits:
            continue
        limits, values = contract.limits[joint], s.state[:, column]
        low, high = limits.position
        out = (values < low - settings.position_slack) | (values > high + settings.position_slack)
        speed = np.abs(np.diff(values)) / np.maximum(steps, 1e-3)
        fast = speed > limits.velocity * settings.velocity_slack
        if out.any() and not worst:
            extreme = values[out][0]
            worst = f", {dimension.name} at {extreme:.3f}, range {low:g} to {high:g}"
        if fast.any() and not worst:
            worst = f", {dimension.name} at {speed.max():.2f}/s, limit {limits.velocity:g}/s"
        bad |= out
        bad[1:] |= fast
    share = float(bad.mean())
    return grade("state_limits", share, settings, f"{share:.1%} of rows{worst}")


def check_action_limits(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Commanded positions out of range (they are recorded before the controller limits them)."""
    if contract is None:
        return skip("action_limits", "no contract")
    if contract.action.space != "joint_position":
        return skip("action_limits", f"{contract.action.space} commands no positions")
    bad = np.zeros(len(s.action), dtype=bool)
    worst = ""
    for column, joint in enumerate(contract.action_joints):
        if joint not in contract.limits:
            continue
        dimension, (low, high) = contract.action.dimensions[column], contract.limits[joint].position
        values = s.action[:, column] * dimension.scale
        out = (values < low - settings.position_slack) | (values > high + settings.position_slack)
        if out.any() and not worst:
            worst = f", {dimension.name} to {values[out][0]:.3f}, range {low:g} to {high:g}"
        bad |= out
    share = float(bad.mean())
    return grade("action_limits", share, settings, f"{share:.1%} of rows{worst}")


def check_gripper_motion(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Whether a gripper is told to open or close at all: of several, one may rest."""
    grippers = [g for g in contract.grippers if g.dimension in s.action_names] if contract else []
    if not grippers:
        return skip("gripper_motion", "no contract" if contract is None else "no gripper in the action")
    ways = {
        g.dimension: float(np.ptp(s.action[:, s.action_names.index(g.dimension)]) / abs(g.open - g.closed))
        for g in grippers
    }
    most = max(ways, key=ways.__getitem__)
    which = f" ({most})" if len(ways) > 1 else ""
    return grade(
        "gripper_motion", ways[most], settings, f"{ways[most]:.0%} of the way from open to closed{which}"
    )


def check_unled_rows(s: Samples, settings: VerdictSettings, contract: Contract | None) -> Check:
    """Whether anybody led. Where nobody does, the action is the command that holds the arm."""
    if s.sources is None:
        return skip("unled_rows", "nothing says who was in control")
    count = {name: int((s.sources == number).sum()) for number, name in CONTROL_SOURCES.items()}
    what = f"{count['none']} rows led by nobody, {count['human']} by a human, {count['policy']} by the policy"
    if s.obstacle and count["none"]:
        what = _cause(s) + what
    return grade("unled_rows", count["none"] / len(s.sources), settings, what)


CHECKS: tuple[Callable[[Samples, VerdictSettings, Contract | None], Check], ...] = (
    check_missing_values,
    check_dropped_frames,
    check_refused_images,
    check_repeated_frames,
    check_rate_error,
    check_stream_age,
    check_stream_skew,
    check_camera_lag,
    check_frozen_camera,
    check_black_camera,
    check_dark_images,
    check_saturated_images,
    check_constant_joints,
    check_action_is_next_state,
    check_idle_head,
    check_idle_tail,
    check_state_limits,
    check_action_limits,
    check_gripper_motion,
    check_unled_rows,
)
"""In the order in which they are reported."""


def _cause(s: Samples) -> str:
    """Why the arm stood still, ahead of what was seen of that; empty where nothing says so."""
    if s.obstacle:
        return f"the controller let nothing move ({s.obstacle}); "
    unled = s.sources is not None and not np.any(s.sources)
    return "nobody led the arm; " if unled else ""


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f" ({shown})" if names else ""


def _lag(s: Samples, column: int, camera: str) -> float:
    """Age that nearly all images of a camera have at least, in its periods, or else in steps of the rows."""
    period = s.periods.get(camera, np.inf)
    if not np.isfinite(period) and s.stamps is not None:
        steps = np.diff(s.stamps - s.ages[:, column])
        period = np.median(steps[steps > 0]) if (steps > 0).any() else np.inf
    return float(np.quantile(s.ages[:, column], 0.05) / period)


def _without_clock(s: Samples) -> str:
    """Why the stamps say nothing about time; empty if they do."""
    if s.stamps is None or len(s.stamps) < 2:
        return "no real stamps recorded" if s.stamps is None else "one row only"
    return ""


def _driven_state(s: Samples, contract: Contract | None) -> tuple[str, ...]:
    """Name of the state value that measures what each action value drives; its own name where unknown."""
    if contract is None or s.action_names != contract.action_names:
        return s.action_names
    twins = zip(s.action_names, contract.driven_state, strict=True)
    return tuple(name if name in s.state_names else twin or name for name, twin in twins)


def _without_changes(s: Samples) -> str:
    """Why changes from image to image are not known; empty if they are."""
    if not s.images:
        return "no images were looked at"
    return "" if s.every_image else "only some images were looked at"


def _arm_columns(s: Samples, contract: Contract | None) -> list[int]:
    """State columns that move with the arm, without the gripper; all if none can be told apart."""
    if contract is not None:
        columns = [
            n
            for n, (d, joint) in enumerate(zip(contract.state, contract.state_joints, strict=True))
            if d.field == "position" and joint in contract.arm_joints
        ]
    else:
        hand = ("grip", "finger", "jaw")
        columns = [n for n, name in enumerate(s.state_names) if not any(h in name.lower() for h in hand)]
    return columns or list(range(s.state.shape[1]))


def _moving(s: Samples, settings: VerdictSettings, contract: Contract | None) -> np.ndarray:
    """Rows in which the arm moves faster than what a camera may miss: bool (T,), row 0 never."""
    state = s.state[:, _arm_columns(s, contract)]
    step = np.maximum(settings.motion_speed / s.fps, _IDLE_SHARE * np.ptp(state, axis=0))
    moving = np.zeros(len(state), dtype=bool)
    moving[1:] = (np.abs(np.diff(state, axis=0)) > step).any(axis=1)
    return moving


def _same(s: Samples, settings: VerdictSettings, camera: str) -> np.ndarray:
    """Rows whose image is that of the row before, bool (T,).

    In a video every key image is coded anew and differs a little. One such row between still ones is still.
    """
    if not s.lossy:
        return s.images[camera][:, _CHANGE] <= 0.0
    change = s.images[camera][:, _CHANGE]
    still = change <= settings.lossy_change
    for row in np.flatnonzero(~still & (change <= _KEY_IMAGE_CHANGE)):
        around = still[max(row - _STILL_AROUND, 0) : row], still[row + 1 : row + 1 + _STILL_AROUND]
        if all(len(side) == _STILL_AROUND and side.all() for side in around):
            still[row] = True
    return still


def idle_rows(values: np.ndarray, settings: VerdictSettings) -> int:
    """Number of rows at the start of (T, D) during which nothing leaves the first row."""
    if len(values) < 2:
        return 0
    allowed = np.maximum(settings.idle_range, _IDLE_SHARE * np.ptp(values, axis=0))
    moved = (np.abs(values - values[0]) > allowed).any(axis=1)
    return int(np.argmax(moved)) - 1 if moved.any() else len(values) - 1
