"""What a controller will carry out in any case, as the rows of an action. No rclpy here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.gripper import resting_value
from vla_adapter_ros.control.look_ahead import MotionAhead


def committed_rows(
    contract: Contract,
    motion: MotionAhead,
    grippers: Sequence[float | None],
    ends: float,
    count: int,
    row_s: float | None = None,
) -> np.ndarray:
    """Rows whose commands bring the arm where the controller will bring it, float64 (count, A).

    Args:
        contract: Its action is absolute joint positions.
        motion: What the controller will do; what is later than its end is as at its end.
        grippers: Measured position of each gripper's joint, if it is told nothing; see `resting_rows`.
        ends: Time of the row behind the last, that of the chunk that they are told to [s].
        count: How many rows.
        row_s: Time between two rows [s]; None: as the contract has it. Where the controller is slower,
            rows are as far apart as the arm is from one to the next.
    """
    row_s = row_s or 1.0 / contract.rate_hz
    rows = resting_rows(contract, motion.positions[-1], grippers, count)
    reached = ends - np.arange(count, 0, -1) * row_s + contract.command.command_delay_s
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
