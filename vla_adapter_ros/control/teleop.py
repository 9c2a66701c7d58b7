"""A human's commands as a reference with a velocity."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.errors import CommandError

SMOOTHING_S = 0.05  # of the velocity, which is a difference of two commands


class TeleopStream:
    """The newest teleoperation command, how fast it moves, and whether a human leads at all.

    Args:
        names: Action names (A,).
        timeout_s: Silence after which the human no longer leads [s].
    """

    def __init__(self, names: tuple[str, ...], timeout_s: float) -> None:
        self._names, self._timeout_s = names, timeout_s
        self._stamp: float | None = None
        self.command = np.zeros(len(names))
        """Newest command, float64 (A,), units as in the contract."""
        self.velocity = np.zeros(len(names))
        """Smoothed rate of the commands, float64 (A,), per second."""

    def accept(self, command: np.ndarray, stamp: float) -> None:
        """Take in a command, float64 (A,), stamped `stamp` [s].

        Raises:
            CommandError: wrong shape or not finite.
        """
        command = np.array(command, dtype=np.float64)
        if command.shape != self.command.shape or not np.isfinite(command).all():
            raise CommandError(
                f"teleoperation command {command.tolist()}: expected finite values for {self._names}"
            )
        step = stamp - self._stamp if self._stamp is not None else np.inf
        if 0 < step < self._timeout_s:
            weight = step / (step + SMOOTHING_S)
            self.velocity = self.velocity + weight * ((command - self.command) / step - self.velocity)
        else:
            self.velocity = np.zeros_like(command)
        self._stamp, self.command = stamp, command

    def leads(self, now: float) -> bool:
        """Whether a command came within the timeout."""
        return self._stamp is not None and now - self._stamp <= self._timeout_s

    def clear(self) -> None:
        """Forget every command."""
        self._stamp = None
