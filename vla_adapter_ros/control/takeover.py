"""When a human leads: by sending commands, by moving a leader arm, or by holding a clutch."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import Route, TakeoverKind


class Takeover:
    """Decides from a human's commands whether the human wants to lead: see `contract.Teleop`.

    Letting go is measured by receipt, so that a wrong stamp never moves the arm later.

    Args:
        contract: The robot's contract.
    """

    def __init__(self, contract: Contract) -> None:
        self._teleop = contract.teleop
        self._scale = np.array([dimension.scale for dimension in contract.action.dimensions])
        self._received = -np.inf
        self._command: np.ndarray | None = None  # newest, times the scale (A,)
        self._still: np.ndarray | None = None  # where the leader was when somebody else got the arm
        self._rest: np.ndarray | None = None  # where a leader that leads stood last
        self._moved_at = -np.inf
        self._leads = self._clutch = self._blocked = False
        self._blocked_at = -np.inf
        self.sends = False
        """Whether commands come."""

    def accept(self, command: np.ndarray, received: float) -> None:
        """Take in a command (A,), received at `received` [s]."""
        self._command, self._received = command * self._scale, received
        if self._still is None:
            self._still = self._command
        if self._rest is None or self._far(self._rest):
            self._rest, self._moved_at = self._command, received

    def clutch(self, held: bool) -> None:
        """Take in the clutch; counts only with `takeover: topic`."""
        self._clutch = held

    def block(self, now: float) -> None:
        """The human must let go, or let the leader rest, before leading: nothing else may move the arm.

        On the route `direct` a human who commands moves the arm whatever is decided here, and leads.
        """
        self._blocked, self._blocked_at = self._teleop.route is not Route.DIRECT, now
        self.pass_on()

    @property
    def waits(self) -> str:
        """Why commands that come are not followed, in words; empty if they are, or none come.

        A leader that is to lead once it moves may stream all the time: nothing needs to be let go of.
        """
        if not (self.sends and self._blocked) or self._teleop.takeover is TakeoverKind.MOTION:
            return ""
        return "a human's commands came before the arm might move: let go first"

    def pass_on(self) -> None:
        """Somebody else has the arm now: a leader leads again once it moves from here."""
        self._leads = False
        self._still = self._command

    def clear(self) -> None:
        """Forget every command."""
        self._received, self._command, self._still, self._rest = -np.inf, None, None, None
        self._leads = False

    def leads(self, now: float) -> bool:
        """Whether the human wants to lead at `now` [s], and may."""
        self.sends = abs(now - self._received) <= self._teleop.timeout_s
        if not self.sends:
            self._leads = False
            self._blocked = self._blocked and abs(now - self._blocked_at) <= self._teleop.timeout_s
            self._still = None  # what comes next is a new beginning
            return False
        if self._teleop.takeover is TakeoverKind.COMMAND:
            self._leads = not self._blocked
        elif self._teleop.takeover is TakeoverKind.TOPIC:
            self._blocked = self._blocked and self._clutch
            self._leads = self._clutch and not self._blocked
        elif not self._leads:
            self._leads = self._still is not None and self._far(self._still)
        elif self._teleop.hands_back:
            self._leads = now - self._moved_at <= self._teleop.timeout_s
            if not self._leads:
                self._still = self._command
        return self._leads

    def _far(self, place: np.ndarray) -> bool:
        return bool(np.abs(self._command - place).max() > self._teleop.takeover_threshold)
