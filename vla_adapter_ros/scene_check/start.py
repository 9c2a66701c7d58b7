"""Compare where the arm stands with where it stood when the demonstrations began."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import JointField
from vla_adapter_ros.contract.schema import StateDimension
from vla_adapter_ros.dataset.start_pose import StartPose
from vla_adapter_ros.scene_check.views import Verdict


@dataclass(frozen=True)
class StartComparison:
    """The start pose against the demonstrations.

    Attributes:
        verdict: Same, changed or unknown.
        text: What was found, a sentence without full stop.
        distance: Of the value that lies farthest outside of its range [rad or m]; NaN where unknown.
    """

    verdict: Verdict
    text: str
    distance: float = np.nan


def compare_start(pose: StartPose, contract: Contract, state: np.ndarray) -> StartComparison:
    """Compare joints and tool position with the start poses of the demonstrations.

    Args:
        pose: From the checkpoint; empty if it holds none.
        contract: The robot's.
        state: Proprioception as the contract orders it, float64 (S,).
    """
    known = [
        (dimension, float(value), pose[dimension.name])
        for dimension, value in zip(contract.state, state, strict=True)
        if dimension.name in pose and _is_place(dimension) and np.isfinite(value)
    ]
    if not known:
        return StartComparison(Verdict.UNKNOWN, "the checkpoint does not say where its demonstrations began")
    far = [max(value - limits.max, limits.min - value, 0.0) for _, value, limits in known]
    dimension, value, limits = known[int(np.argmax(far))]
    distance, unit = max(far), dimension.unit.si
    if distance <= contract.safety.scene.start_pose_max:
        return StartComparison(Verdict.SAME, "the arm stands where demonstrations began", distance)
    text = (
        f"{dimension.name} is at {value:.3f} {unit}; demonstrations began at {limits.min:.3f} to "
        f"{limits.max:.3f} {unit}, {distance:.3f} {unit} away"
    )
    return StartComparison(Verdict.CHANGED, text, distance)


def _is_place(dimension: StateDimension) -> bool:
    """Whether a state value is the position of a joint or of the tool."""
    return dimension.field == JointField.POSITION or dimension.field.startswith("position.")
