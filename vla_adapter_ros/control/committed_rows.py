"""What a controller will carry out in any case, as the rows of an action. No rclpy here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.gripper import resting_value
from vla_adapter_ros.control.look_ahead import MotionAhead


def committed_rows(
    contract: Contract, motion: MotionAhead, grippers: Sequence[float | None], begins: float, count: int
) -> np.ndarray:
    """Rows whose commands bring the arm where the controller will bring it, float64 (count, A).

    Args:
        contract: Its action is absolute joint positions.
        motion: What the controller will do; what is later than its end is as at its end.
        grippers: Measured position of each gripper's joint, if it is told nothing; see `resting_rows`.
        begins: Time of the first row [s].
        count: How many rows.
    """
    rows = resting_rows(contract, motion.positions[-1], grippers, count)
    reached = begins + np.arange(count) / contract.rate_hz + contract.command.command_delay_s
    for place, column in zip(contract.arm_places, motion.positions.T, strict=True):
        rows[:, place] = np.interp(reached, motion.times, column)
    newest = np.clip(
        np.searchsorted(motion.times, reached + 1e-9, side="right") - 1, 0, len(motion.times) - 1
    )
    for place, gripper, told in zip(
        contract.gripper_places, contract.grippers, motion.grippers.T, strict=False
    ):
        rows[:, place] = gripper.value(gripper.opening(told[newest]))
    return rows


def resting_rows(
    contract: Contract, joints: np.ndarray, grippers: Sequence[float | None], count: int
) -> np.ndarray:
    """Rows that leave a robot where it is, float64 (count, A).

    Args:
        contract: Its action is absolute joint positions.
        joints: Measured positions of the arm's joints (J,) [rad or m].
        grippers: Of each gripper's joint [rad or m]; None: it is not measured.
        count: How many rows.
    """
    row = np.zeros(len(contract.action_names))
    row[contract.arm_places] = joints
    row[contract.gripper_places] = [
        resting_value(gripper, measured)
        for gripper, measured in zip(contract.grippers, grippers, strict=True)
    ]
    return np.tile(row, (count, 1))
