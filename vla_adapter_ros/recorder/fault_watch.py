"""Faults that end an episode by themselves: a clock that jumps, streams that stay silent, a full disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vla_adapter_ros.recorder.disk import DiskGauge
from vla_adapter_ros.recorder.running_episode import RunningEpisode

CLOCK_JUMP_BACK_S = 0.5
CLOCK_JUMP_AHEAD_S = 1.0  # beyond what a steady clock says has passed
_DISK_PERIOD_S = 1.0  # between two looks at the disk


class FaultWatch:
    """Looks for faults, from call to call.

    Args:
        disk: Of the data set.
        silence_s: An episode ends when no good frame has come for so long [s].
    """

    def __init__(self, disk: DiskGauge, silence_s: float) -> None:
        self._disk, self._silence_s = disk, silence_s
        self._clocks: tuple[float, float] | None = None  # ROS time and steady time of the call before
        self._disk_looked = -1e9

    def find_fault(
        self, now: float, steady: float, episode: RunningEpisode | None, issues: Callable[[], Sequence[str]]
    ) -> str:
        """Why the episode must end, in words; empty if it need not.

        Args:
            now: ROS time [s].
            steady: Time of a steady clock [s].
            episode: The episode that is being recorded; None if none is.
            issues: Asked which streams are silent when no frame has come for too long.
        """
        jump = self._find_jump(now, steady)
        if episode is None:
            return ""
        if jump:
            return f"the clock jumped by {jump:+.2f} s"
        silent = now - episode.last_good
        if silent > self._silence_s:
            why = episode.problem or "; ".join(issues()) or "the reference camera is silent"
            return f"no good frame for {silent:.1f} s: {why}"
        if steady - self._disk_looked > _DISK_PERIOD_S:
            self._disk_looked = steady
            return self._disk.shortage()
        return ""

    def _find_jump(self, now: float, steady: float) -> float:
        """By how much the ROS clock jumped since the call before [s]; 0 if it did not."""
        before, self._clocks = self._clocks, (now, steady)
        if before is None:
            return 0.0
        step, passed = now - before[0], steady - before[1]
        jumped = step < -CLOCK_JUMP_BACK_S or step - passed > CLOCK_JUMP_AHEAD_S
        return step - passed if jumped else 0.0
