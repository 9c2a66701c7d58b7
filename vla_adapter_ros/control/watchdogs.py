"""What must be well for the arm to move. Each check returns why not, or nothing."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.safety import Safety
from vla_adapter_ros.control.arm_state import ArmState


def joint_states_too_old(arm: ArmState, now: float, safety: Safety) -> str:
    """Why the joint states cannot be trusted at `now` [s]; empty if they can."""
    if now - arm.stamp <= safety.joint_state_timeout_s:
        return ""
    if not np.isfinite(arm.stamp):
        text = f"no joint state of {arm.oldest_joint} yet"
    else:
        text = f"joint states of {arm.oldest_joint} are older than {safety.joint_state_timeout_s:g} s"
    return f"{text}; the newest message was refused: {arm.refused}" if arm.refused else text


def tracking_error(wanted: dict[str, float], measured: dict[str, float], safety: Safety) -> tuple[float, str]:
    """Largest difference of set-points and measurements, by joint, and why it is too large."""
    error = {joint: abs(wanted[joint] - value) for joint, value in measured.items()}
    worst = max(error, key=lambda joint: error[joint])
    if error[worst] <= safety.tracking_error_max:
        return error[worst], ""
    return error[worst], (
        f"{worst} is {error[worst]:.2f} away from its command, allowed are {safety.tracking_error_max}"
    )


def too_far(target: np.ndarray, here: np.ndarray, joints: tuple[str, ...], safety: Safety, what: str) -> str:
    """Why a first target (J,) cannot be gone to from `here` (J,); empty if it can."""
    distance = np.abs(target - here)
    worst = int(distance.argmax())
    if distance[worst] <= safety.first_target_max_distance:
        return ""
    return (
        f"{what} is {distance[worst]:.2f} from {joints[worst]}, "
        f"allowed are {safety.first_target_max_distance}"
    )


def kinematics_missing(contract: Contract, known: bool) -> str:
    """Why nothing can move while the arm's kinematics are not known; empty if they are, or need not be."""
    if known or (contract.workspace is None and not contract.action.space.is_cartesian):
        return ""
    needed = "workspace box" if contract.workspace is not None else f"action space {contract.action.space}"
    return f"no kinematics yet: the {needed} needs the robot description"


class Deadman:
    """A switch that must be held for motion, if the contract names its topic."""

    def __init__(self, safety: Safety) -> None:
        self._safety = safety
        self._pressed_at = -np.inf

    def accept(self, pressed: bool, stamp: float) -> None:
        """Take in the switch's state at `stamp` [s]."""
        self._pressed_at = stamp if pressed and np.isfinite(stamp) else -np.inf

    def released(self, now: float) -> str:
        """Why the arm may not move at `now` [s]; empty if it may."""
        if not self._safety.deadman_topic or now - self._pressed_at <= self._safety.deadman_timeout_s:
            return ""
        return "deadman switch is not held"
