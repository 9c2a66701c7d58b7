"""What a program asks for on the topics for jogging, such as a page with buttons: velocities in SI units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from vla_adapter_ros.errors import DeviceError
from vla_adapter_ros.teleop.hand import HandState


class JogInput:
    """Keeps the newest message of each topic for jogging.

    The clutch must be repeated like everything else, so that a page that is gone moves nothing.

    Args:
        linear_speed, angular_speed: What counts as full deflection [m/s], [rad/s].
        silence_s: What was said longer ago does not count any more [s].
    """

    def __init__(self, linear_speed: float, angular_speed: float, silence_s: float) -> None:
        self._full = np.repeat([linear_speed, angular_speed], 3)
        self._silence_s = silence_s
        self._held_at = self._twist_at = self._joints_at = -math.inf
        self._twist = np.zeros(6)
        self._joints: dict[str, float] = {}
        self._closed: float | None = None

    def accept_clutch(self, held: bool, now: float) -> None:
        """Take in the clutch, received at `now` [s]."""
        self._held_at = now if held else -math.inf

    def accept_twist(self, twist: Sequence[float], now: float) -> None:
        """Take in a twist, linear [m/s] before angular [rad/s], float64 (6,), received at `now` [s].

        Raises:
            DeviceError: values that are not finite.
        """
        self._twist_at = -math.inf
        values = np.array(twist, dtype=np.float64)
        if not np.isfinite(values).all():
            raise DeviceError(f"twist {values.tolist()}: allowed are finite velocities")
        self._twist, self._twist_at = np.clip(values / self._full, -1.0, 1.0), now

    def accept_joints(self, velocities: Mapping[str, float], known: Sequence[str], now: float) -> None:
        """Take in velocities of joints by name [rad/s or m/s], received at `now` [s].

        Raises:
            DeviceError: a joint that is not among `known`, or a value that is not finite.
        """
        self._joints_at = -math.inf
        for joint, value in velocities.items():
            if joint not in known:
                raise DeviceError(f"velocity of joint '{joint}': allowed are {', '.join(known)}")
            if not math.isfinite(value):
                raise DeviceError(f"velocity of joint '{joint}' = {value}: allowed is a finite number")
        self._joints, self._joints_at = dict(velocities), now

    def accept_gripper(self, opened: float) -> None:
        """Take in how far the gripper shall be open, 0 to 1; it counts until the clutch is released.

        Raises:
            DeviceError: another number.
        """
        if not 0.0 <= opened <= 1.0:
            raise DeviceError(f"gripper = {opened}: allowed is 0 (closed) to 1 (open)")
        self._closed = 1.0 - opened

    def state(self, now: float) -> HandState:
        """What is asked for at `now` [s]."""
        lately = [0 <= now - at <= self._silence_s for at in (self._held_at, self._twist_at, self._joints_at)]
        held, twist, joints = lately
        if not held:
            self._closed = None  # the next press changes no gripper by itself
            return HandState()
        return HandState(
            motion=self._twist if twist else np.zeros(6),
            clutch=True,
            gripper_closed=self._closed,
            joint_velocities=self._joints if joints else {},
        )
