"""In which units a robot's messages give the positions of its joints: told by their size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vla_adapter_ros.commissioning.robot_joints import Joint
from vla_adapter_ros.commissioning.urdf import Urdf
from vla_adapter_ros.contract.enums import Unit
from vla_adapter_ros.dataset.joint_names import is_gripper

_BEYOND = 0.5  # rad; no driver in rad reports an arm so far outside of the URDF's limits
_TURN = 2 * math.pi


def counts_in_degrees(values: Mapping[str, float], joints: Sequence[Joint], urdf: Urdf | None) -> bool:
    """Whether positions are too large for rad: beyond the URDF's limits, or without one beyond a turn.

    One driver has one unit, so one joint is enough. An arm with all joints near 0 tells nothing.

    Args:
        values: Positions, by what the messages call the joints.
        joints: Those of the arm that the messages are about.
        urdf: Of the robot; None if it is not known.
    """
    for joint in joints:
        value = values.get(joint.said, 0.0)
        known = urdf.joints.get(joint.said) if urdf else None
        if is_gripper(joint.said) or (known is not None and known.unit != Unit.RAD):
            continue
        low, high = (known.low, known.high) if known is not None else (-_TURN, _TURN)
        if known is not None and not math.isfinite(high - low):
            low, high = -_TURN, _TURN
        if not low - _BEYOND <= value <= high + _BEYOND:
            return True
    return False


def message_unit(joint: Joint, urdf: Urdf | None, *, degrees: bool) -> tuple[Unit, bool]:
    """Unit of a joint's position in messages, and whether that is sure.

    Args:
        joint: The joint.
        urdf: Of the robot; None if it is not known.
        degrees: Whether its driver counts in degrees; grippers then are in percent, as LeRobot counts.
    """
    known = urdf.joints.get(joint.said) if urdf else None
    if known is not None and known.unit == Unit.M:
        return Unit.M, not degrees
    if degrees:
        return (Unit.PERCENT if is_gripper(joint.said) else Unit.DEGREE), False
    return Unit.RAD, known is not None or not is_gripper(joint.said)
