"""Says what keeps good frames from coming: which streams are silent, and whether clocks are to blame."""

from __future__ import annotations

import math
from collections.abc import Callable

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.observation.histories import Histories
from vla_adapter_ros.observation.lateness import ClockCheck, oldest_first


class StreamIssues:
    """Looks at what the streams of a builder said lately.

    Args:
        contract: Ages and names of the streams.
        histories: What the streams said.
        clocks: Knows what was refused.
        period_s: Time between frames [s].
    """

    def __init__(self, contract: Contract, histories: Histories, clocks: ClockCheck, period_s: float) -> None:
        self._contract, self._histories, self._clocks = contract, histories, clocks
        self._period = period_s

    def allowed_age(self, stream: str) -> float:
        """How old a stream's newest sample may become while all frames are good [s]."""
        allowed = self._contract.max_age_s(stream) + self._contract.settle_s
        if stream in self._histories.cameras:
            allowed += self._period  # images are looked at once per period
        return allowed

    def refused(self, stream: str, now: float) -> str:
        """What was refused of a stream lately since its stamps are wrong, in words; empty if nothing was."""
        values = self._histories.values
        keys = values[stream].keys if stream in values else ("",)
        return self._clocks.refused(stream, keys, now)

    def find(self, now: float, reference: float, why: Callable[[str, bool], str]) -> list[str]:
        """One sentence per stream, or per group of its values that fell silent together.

        The first cause comes first.

        Args:
            now: Time [s].
            reference: Stamp of the newest image of the reference camera [s].
            why: Given a stream and whether it was ever heard, the end of its sentences.
        """
        if other := self._clocks.two_clocks(now):
            return [other]
        found: list[tuple[float, str]] = []
        for stream, ages in self._histories.newest_ages(now, reference).items():
            late = self._histories.late(stream, ages, now, self.allowed_age(stream))
            refused = bool(self.refused(stream, now))
            found += [(age, text + why(stream, refused or math.isfinite(age))) for age, text in late]
        return oldest_first(found)
