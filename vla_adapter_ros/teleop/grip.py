"""A gripper in a human's hand: it changes only when the human asks for it, and never by taking the clutch."""

from __future__ import annotations

from vla_adapter_ros.teleop.hand import HandState

STROKE_S = 0.7
"""Time from open to closed of a gripper that can stand between both [s]."""
_MOVED = 0.05  # of a trigger, as a fraction, since the clutch was taken: less does not count


class Grip:
    """How far one gripper shall be closed, 0 to 1.

    Args:
        binary: Whether it is open or closed and nothing between.
    """

    def __init__(self, binary: bool) -> None:
        self._binary = binary
        self.closed = 0.0
        """How far it is asked to be closed now, 0 to 1."""
        self._goal = 0.0
        self._presses = 0  # of the button, at the last look
        self._held: bool | None = None
        self._axis_at: float | None = None  # where the trigger was when the clutch was taken, if known
        self._follows_axis = False

    def begin(self, closed: float, hand: HandState) -> None:
        """The clutch was taken: stay as the gripper is, `closed` from 0 to 1."""
        self.closed = self._goal = closed
        self._presses, self._held = hand.gripper_presses, hand.gripper_held
        self._axis_at, self._follows_axis = hand.gripper_closed, False

    def advance(self, hand: HandState, dt: float) -> None:
        """Go on for `dt` [s]."""
        if (hand.gripper_presses - self._presses) % 2:
            self._goal = 0.0 if self._goal > 0.5 else 1.0
        if hand.gripper_held is not None and hand.gripper_held != self._held:
            self._goal = float(hand.gripper_held)
        self._presses, self._held = hand.gripper_presses, hand.gripper_held
        if hand.gripper_closed is not None:
            at = self._axis_at
            self._follows_axis = self._follows_axis or at is None or abs(hand.gripper_closed - at) > _MOVED
            if self._follows_axis:
                self._goal = hand.gripper_closed
        if self._binary:
            self.closed = float(self._goal > 0.5)
            return
        most = dt / STROKE_S
        self.closed += min(max(self._goal - self.closed, -most), most)
