"""Gripper values of actions to positions of the commanded joint, without flapping."""

from __future__ import annotations

from vla_adapter_ros.contract.enums import GripperMode
from vla_adapter_ros.contract.schema import Gripper


class GripperSwitch:
    """Turns the gripper's dimension of the action into a joint position.

    Binary: switches only when the value passes the middle between `closed` and
    `open` by half the hysteresis, and not sooner than `min_dwell_s` after the
    switch before; else keeps its state. Continuous: linear.
    """

    def __init__(self, gripper: Gripper) -> None:
        self._gripper = gripper
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next value decides alone."""
        self._is_open: bool | None = None
        self._switched = -float("inf")

    def position(self, value: float, now: float) -> float:
        """Joint position [m or rad] for an action value at `now` [s]."""
        g = self._gripper
        fraction = (value - g.closed) / (g.open - g.closed)  # 0 closed, 1 open
        if g.mode is GripperMode.CONTINUOUS:
            fraction = min(max(fraction, 0.0), 1.0)
            return g.closed_position + fraction * (g.open_position - g.closed_position)
        half = g.hysteresis / 2
        if self._is_open is None:
            self._is_open = fraction >= 0.5
        elif now - self._switched >= g.min_dwell_s - 1e-9 and abs(fraction - 0.5) > half:
            if self._is_open != (fraction > 0.5):
                self._is_open, self._switched = fraction > 0.5, now
        return g.open_position if self._is_open else g.closed_position


def resting_value(gripper: Gripper, measured: float | None) -> float:
    """Value of the dimension that leaves a gripper as it is: open or closed, whichever is nearer.

    Args:
        gripper: What opens and closes it.
        measured: Position of its joint [m or rad]; None: never measured, which counts as open.
    """
    middle = (gripper.open_position + gripper.closed_position) / 2
    there = gripper.open_position if measured is None else measured
    opened = (there > middle) == (gripper.open_position > gripper.closed_position)
    return gripper.open if opened else gripper.closed
