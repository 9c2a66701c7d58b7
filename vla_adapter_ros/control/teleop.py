"""A human's commands as a reference with a velocity."""

from __future__ import annotations

import math

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.chunk import FUTURE_TOLERANCE_S, HUGE, check_gripper
from vla_adapter_ros.errors import CommandError

SMOOTHING_S = 0.05  # of the velocity, which is a difference of two commands
AHEAD_S = 0.1  # a command says nothing about later than this
HORIZON_S = 0.06  # commands are met this far ahead: smooths what a hand and a network do to them


class TeleopStream:
    """The newest teleoperation command, and how fast it moves.

    The reference goes on at the smoothed velocity for a short while: commands
    come at a rate of their own.

    Args:
        contract: The robot's contract.
    """

    horizon_s = HORIZON_S

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._period_s = 1.0 / contract.rate_hz
        self._stamp = math.nan  # before the first command
        self.version = 0
        self.command = np.zeros(len(contract.action_names))
        """Newest command, float64 (A,), units as in the contract."""
        self.target = np.zeros(len(contract.arm_joints))
        """Joint positions that it asks for at its stamp, float64 (J,)."""
        self.velocity = np.zeros(len(contract.arm_joints))
        """Rate of the target, float64 (J,), per second."""
        self._lasts = AHEAD_S
        # What is farther than the arm could have gone is no motion, but a jump of the command.
        self._fastest = np.array([contract.limits[joint].velocity for joint in contract.arm_joints])

    @property
    def stamp(self) -> float | None:
        """When the newest command was given [s]; None before the first."""
        return None if math.isnan(self._stamp) else self._stamp

    def check(self, command: np.ndarray, stamp: float, now: float) -> np.ndarray:
        """The command as float64 (A,), received at `now` [s].

        Raises:
            CommandError: wrong shape, not finite, a gripper value that nobody means, or a stamp that is not
                finite, in the future, or older than the contract's timeout.
        """
        command = np.array(command, dtype=np.float64)
        if command.shape != self.command.shape or not np.isfinite(command).all():
            raise CommandError(
                f"teleoperation command {command.tolist()}: expected finite values for "
                f"{self._contract.action_names}"
            )
        if (np.abs(command) > HUGE).any():
            raise CommandError(f"teleoperation command {command.tolist()}: values beyond {HUGE:g}")
        for place, gripper in zip(self._contract.gripper_places, self._contract.grippers, strict=True):
            check_gripper(float(command[place]), gripper, "teleoperation command: ", CommandError)
        if not np.isfinite(stamp):
            raise CommandError(f"teleoperation stamp {stamp}: must be finite")
        oldest = now - self._contract.teleop.timeout_s
        if not oldest <= stamp <= now + FUTURE_TOLERANCE_S:
            age = f"{stamp - now:.2f} s in the future" if stamp > now else f"{now - stamp:.2f} s old"
            raise CommandError(
                f"teleoperation command is {age}: are the clocks in step? "
                "`teleop.time: receive` takes the time of receipt"
            )
        return command

    def accept_target(self, command: np.ndarray, target: np.ndarray, stamp: float) -> None:
        """Take in a checked command (A,) that asks for joint positions (J,) at `stamp` [s]."""
        step = stamp - self._stamp if not math.isnan(self._stamp) else np.inf
        jump = np.abs(target - self.target) > self._fastest * step
        if 0 < step < self._contract.teleop.timeout_s and not jump.any():
            weight = step / (step + SMOOTHING_S)
            self.velocity = self.velocity + weight * ((target - self.target) / step - self.velocity)
        else:
            self.velocity = np.zeros_like(target)
        self._note(command, target, stamp, AHEAD_S)

    def accept_way(self, command: np.ndarray, start: np.ndarray, end: np.ndarray, stamp: float) -> None:
        """Take in a checked command (A,): go from `start` to `end` (J,) in one row's time."""
        self.velocity = (end - start) / self._period_s
        self._note(command, start, stamp, self._period_s)

    def at(self, time: float) -> np.ndarray:
        """Reference state (3, J) at `time` [s]."""
        since = max(time - self._stamp, 0.0)
        moving = self.velocity if since < self._lasts else np.zeros_like(self.velocity)
        position = self.target + min(since, self._lasts) * self.velocity
        return np.stack([position, moving, np.zeros_like(position)])

    def clear(self) -> None:
        """Forget every command."""
        self._stamp = math.nan

    def _note(self, command: np.ndarray, target: np.ndarray, stamp: float, lasts: float) -> None:
        self._stamp, self.command, self.target, self._lasts = stamp, command, target, lasts
        self.version += 1
