"""All checks of one episode: before it is saved, or from a data set on disk."""

from __future__ import annotations

from collections.abc import Callable

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.dataset.quality import clock, motion, pictures, rows
from vla_adapter_ros.dataset.quality.checks import Scope, checks_of
from vla_adapter_ros.dataset.quality.findings import Finding, QualityReport
from vla_adapter_ros.dataset.quality.samples import Samples
from vla_adapter_ros.dataset.quality.settings import QualitySettings

_Function = Callable[[Samples, QualitySettings, Contract | None], Finding]

FUNCTIONS: dict[str, _Function] = {
    "missing_values": rows.check_missing_values,
    "dropped_frames": clock.check_dropped_frames,
    "refused_images": pictures.check_refused_images,
    "repeated_frames": pictures.check_repeated_frames,
    "rate_error": clock.check_rate_error,
    "stream_age_p95": clock.check_stream_age,
    "stream_skew": clock.check_stream_skew,
    "camera_lag": clock.check_camera_lag,
    "frozen_camera": pictures.check_frozen_camera,
    "black_camera": pictures.check_black_camera,
    "dark_images": pictures.check_dark_images,
    "saturated_images": pictures.check_saturated_images,
    "constant_joints": rows.check_constant_joints,
    "action_is_next_state": rows.check_action_is_next_state,
    "idle_head": rows.check_idle_head,
    "idle_tail": rows.check_idle_tail,
    "state_limits": rows.check_state_limits,
    "action_limits": rows.check_action_limits,
    "gripper_motion": rows.check_gripper_motion,
    "unled_rows": rows.check_unled_rows,
    "unknown_ages": motion.check_unknown_ages,
    "action_jumps": motion.check_action_jumps,
    "stuck_state": motion.check_stuck_state,
    "gripper_chatter": motion.check_gripper_chatter,
    "short_episode": rows.check_short_episode,
}
"""Check of an episode -> the function that makes it."""


def validate_episode(
    samples: Samples, settings: QualitySettings, contract: Contract | None = None
) -> QualityReport:
    """Make all checks of an episode of at least one row; those that need a contract are skipped without one.

    Args:
        samples: What is known of the episode.
        settings: Thresholds.
        contract: One that describes these very columns, see `describing_contract`.
    """
    checks = checks_of(Scope.EPISODE)
    return QualityReport(tuple(FUNCTIONS[check.name](samples, settings, contract) for check in checks))
