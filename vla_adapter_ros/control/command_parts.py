"""One command of a human, put together from what several devices send."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract


class CommandParts:
    """Joins the parts of a command, one per group of `teleop_groups`, by the newest of each.

    A command is whole once every device has sent its part since the command before. So a device that
    is gone ends the human's lead, and no displacement is carried out twice.

    Args:
        contract: The robot's contract.
    """

    def __init__(self, contract: Contract) -> None:
        groups = contract.teleop_groups
        self._places = [[contract.action_names.index(n) for n in group.dimensions] for group in groups]
        self._parts: list[tuple[np.ndarray, float] | None] = [None] * len(groups)
        self._timeout_s = contract.teleop.timeout_s

    def add_part(self, group: int, values: np.ndarray, stamp: float) -> tuple[np.ndarray, float] | None:
        """Take in the part of a group.

        Args:
            group: Its number.
            values: Of its dimensions, float64 (N,).
            stamp: When it was given [s].

        Returns:
            The whole command, float64 (A,), and the stamp of its oldest part [s]; None while a part lacks,
            or is older than a human's lead lasts.
        """
        self._parts[group] = values, stamp
        parts = [part for part in self._parts if part is not None]
        if len(parts) < len(self._parts) or any(stamp - at > self._timeout_s for _, at in parts):
            return None
        command = np.empty(sum(map(len, self._places)))
        for (its, _), places in zip(parts, self._places, strict=True):
            command[places] = its
        self._parts = [None] * len(self._parts)
        return command, min(at for _, at in parts)
