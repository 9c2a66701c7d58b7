"""How far a policy is from the human beside whom it runs in shadow mode."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.contract.enums import ActionSpace
from vla_adapter_ros.contract.schema import TOOL_COLUMNS
from vla_adapter_ros.control.rotation import rotation_matrix, rotation_vector
from vla_adapter_ros.errors import CommandError


class ShadowScore:
    """Differences between the policy's action and the human's command, per action dimension.

    Both are taken before limiting, in the contract's own space and units, at
    the same time. Orientations of `ee_pose` are compared as rotations: their
    three columns hold the rotation vector from the human's to the policy's,
    so that two ways to write one orientation do not count as different.

    Args:
        contract: The robot's contract.
    """

    def __init__(self, contract: Contract) -> None:
        self.names = contract.action_names
        """Action names (A,)."""
        self._turn = None
        if contract.action.space is ActionSpace.EE_POSE:
            self._turn = [self.names.index(name) for name in TOOL_COLUMNS[3:]]
            self._scale = np.array([contract.action.dimensions[i].scale for i in self._turn])
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.samples = 0
        """Pairs compared."""
        self._squares = np.zeros(len(self.names))
        self._largest = np.zeros(len(self.names))

    def note(self, policy: np.ndarray, human: np.ndarray) -> None:
        """Compare one pair of actions, float64 (A,) each.

        Raises:
            CommandError: another shape, or a value that is not finite; the score stays.
        """
        policy, human = np.asarray(policy, dtype=np.float64), np.asarray(human, dtype=np.float64)
        for action in (policy, human):
            if action.shape != (len(self.names),) or not np.isfinite(action).all():
                raise CommandError(f"action {action.tolist()}: expected finite values for {self.names}")
        away = policy - human
        if self._turn is not None:
            turns = [rotation_matrix(action[self._turn] * self._scale) for action in (policy, human)]
            away[self._turn] = rotation_vector(turns[0] @ turns[1].T) / self._scale
        self.samples += 1
        self._squares += away**2
        self._largest = np.maximum(self._largest, np.abs(away))

    @property
    def rms(self) -> np.ndarray:
        """Root mean square of the differences, float64 (A,); zeros before the first pair."""
        return np.sqrt(self._squares / max(self.samples, 1))

    @property
    def largest(self) -> np.ndarray:
        """Largest difference, float64 (A,); zeros before the first pair."""
        return self._largest.copy()
