"""When the controller refuses or stops, and when a scene counts as changed: `safety` of a contract."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from vla_adapter_ros.contract.enums import FirstTarget, SceneCheck
from vla_adapter_ros.settings import CHECKED, NotNegative, Number, Positive, Text


@dataclass(frozen=True, config=CHECKED)
class SceneLimits:
    """When the scene counts as changed since the demonstrations, and what an instruction then meets."""

    check: SceneCheck = SceneCheck.WARN
    """warn: the instruction is followed, and the answer says what has changed; refuse: it is refused; off:
    nobody looks."""
    displacement_max: Annotated[Number, Field(gt=0, le=1)] = 0.0075
    """How far the content of a camera's image may have moved, as a fraction of the image's width."""
    brightness_max: Positive = 0.25
    """How much brighter or darker than in all demonstrations an image may be, as a fraction."""
    color_max: Positive = 0.15
    """How much more red, green or blue than in all demonstrations an image may be, as a fraction."""
    start_pose_max: NotNegative = 0.1
    """How far a joint or the tool may be outside of where it was when the demonstrations began [rad or m]."""


@dataclass(frozen=True, config=CHECKED)
class Safety:
    """When the controller refuses or stops. Software measures, no safety functions."""

    joint_state_timeout_s: Positive = 0.2
    """Older joint states bring the arm to rest [s]."""
    resume_within_s: NotNegative = 0.5
    """A stream that is silent this much longer than its maximal age ends the instruction [s]."""
    first_target_max_distance: Positive = 0.3
    """Largest distance of a first target from the arm, in any joint [rad or m]."""
    first_target: FirstTarget = FirstTarget.REFUSE
    """What happens to a farther one: it is refused, or approached slowly within the limits."""
    tracking_error_max: Positive = 0.3
    """Largest distance between set-point and measurement, in any joint [rad or m]."""
    deadman_topic: Text = ""
    """`std_msgs/Bool` that must say true again and again for motion; none: no deadman switch."""
    deadman_timeout_s: Positive = 0.3
    """How old its last true may be [s]."""
    operator_timeout_s: Annotated[Number, Field(ge=0, le=60)] = 0.0
    """A policy's instruction ends when no operator was heard on `~/operator_alive` for so long [s]; 0: nobody
    watches."""
    uncertainty_max: NotNegative = 0.0
    """A chunk whose policy is more unsure than this is not followed: the arm comes to rest and holds. 1 is
    what `vla-adapter checkpoint calibrate` has found usual; 0: nobody asks."""
    scene: SceneLimits = field(default_factory=SceneLimits)
    """What is compared with the demonstrations of the checkpoint before an instruction is followed."""
