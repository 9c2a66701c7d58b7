"""What must be well for the arm to move. Each check returns why not, or nothing."""

from __future__ import annotations

import dataclasses
import sys

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


def untracked(contract: Contract) -> Contract:
    """The contract for motion that no arm carries out: the setpoint is not compared with what is measured."""
    safety = dataclasses.replace(contract.safety, tracking_error_max=sys.float_info.max)
    return dataclasses.replace(contract, safety=safety)


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


class OperatorWatch:
    """Whether the operator's page still speaks, if the contract asks for it."""

    def __init__(self, safety: Safety) -> None:
        self._timeout_s = safety.operator_timeout_s
        self._heard_at = -np.inf

    def hear(self, now: float) -> None:
        """Take note of a sign of life that came at `now` [s]."""
        self._heard_at = now

    def forget(self) -> None:
        """Forget what was heard: the clock was set, or nobody listened."""
        self._heard_at = -np.inf

    def refusal(self, now: float) -> str:
        """Why a policy's instruction may not begin at `now` [s]; empty if it may."""
        if not self._silent(now):
            return ""
        return f"no operator is heard on ~/operator_alive (safety.operator_timeout_s = {self._timeout_s:g})"

    def ending(self, now: float) -> str:
        """Why a policy's instruction ends at `now` [s]; empty if it goes on."""
        if not self._silent(now):
            return ""
        if not np.isfinite(self._heard_at):
            return self.refusal(now)
        silent_s = now - self._heard_at
        return (
            f"The operator's page has been silent for {silent_s:.1f} s "
            f"(safety.operator_timeout_s = {self._timeout_s:g})"
        )

    def _silent(self, now: float) -> bool:
        return 0 < self._timeout_s < now - self._heard_at
