"""How unsure a policy is of each chunk. No rclpy here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control.chunk import Chunk
from vla_adapter_ros.control.disagreement import disagreement, full_speed_rows
from vla_adapter_ros.model.familiarity import Familiarity


class Doubt:
    """Compares each chunk with the one before, and its features with familiar ones.

    Args:
        familiarity: Of the checkpoint; None: nothing is known, and every chunk has 0.
        contract: The robot's.
    """

    def __init__(self, familiarity: Familiarity | None, contract: Contract) -> None:
        self._familiarity, self._scale = familiarity, full_speed_rows(contract)
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def reset(self) -> None:
        """Another instruction begins: what was wanted before says nothing."""
        self._before = None

    def of(self, chunk: Chunk, features: Callable[[], np.ndarray]) -> float:
        """How unsure the policy is of a chunk: above 1, a successful episode would be unusual.

        Args:
            chunk: The newest.
            features: Gives those of its prediction (F,).
        """
        if self._familiarity is None:
            return 0.0
        times = chunk.stamp + np.arange(len(chunk.rows)) / chunk.rate_hz
        before, self._before = self._before, (times, chunk.rows)
        apart = np.nan if before is None else disagreement(*before, times, chunk.rows, self._scale)
        return self._familiarity.uncertainty(self._familiarity.distance(features()), apart)
