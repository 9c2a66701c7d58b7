"""Where an episode begins: at the first frame in which somebody leads the arm.

Before that the action is only where the arm stands, and then it jumps to the first command. Who learns from
such rows learns to stand still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from vla_adapter_ros.dataset.leader import NOBODY
from vla_adapter_ros.observation.frame import Frame

HOLD_S = 0.5  # word of who leads may come so much later than the frames that it is about


class EpisodeHead:
    """Holds frames back until it is known whether the episode begins with them."""

    def __init__(self) -> None:
        self._held: deque[tuple[Frame, str]] = deque()
        self._led = self._passed = False

    @property
    def held(self) -> int:
        """Good frames that wait."""
        return sum(not frame.problem for frame, _ in self._held)

    def add_frame(
        self, frame: Frame, task: str, source_at: Callable[[float], int]
    ) -> tuple[list[tuple[Frame, str]], bool]:
        """Hold a frame; returns those that are to be recorded now.

        Args:
            frame: The newest frame, good or bad.
            task: What is to be done in it.
            source_at: Who led at a time [s], as far as is known by now: see `Leader.source_at`.

        Returns:
            Frames with their tasks, in order, and whether the episode begins with the first of them, so that
            whatever was recorded before, while nobody led, is to be dropped.
        """
        if self._led:
            return [(frame, task)], False
        self._held.append((frame, task))
        for place, (held, _) in enumerate(self._held):
            if not held.problem and source_at(held.stamp) != NOBODY:
                self._led = True
                return self.rest()[place:], self._passed or place > 0
        old = []
        while frame.stamp - self._held[0][0].stamp > HOLD_S:
            old.append(self._held.popleft())
        self._passed = self._passed or bool(old)
        return old, False

    def rest(self) -> list[tuple[Frame, str]]:
        """Frames that are still held, with their tasks: at the end of an episode in which nobody led."""
        held = list(self._held)
        self._held.clear()
        return held
