"""Says in words which streams, and which of their values, are late, and when clocks are to blame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FUTURE_TOLERANCE_S = 0.1  # a stamp this far after its receipt tells of clocks that disagree
RECENT_S = 2.0  # what was refused longer ago than this says nothing about now


@dataclass
class _Refusals:
    """Samples refused since the last good one; stamp minus receipt, and receipt, of the newest [s]."""

    count: int
    offset: float
    last: float


class ClockCheck:
    """Refuses samples whose stamps lie in the future, and knows how late the others came.

    Both are noted per value, since two drivers with clocks of their own may share a
    topic. Refusals are forgotten when a good sample of that value comes.
    """

    def __init__(self) -> None:
        self.rejected: dict[str, int] = {}
        """Stream -> samples refused so far, for a report about the past."""
        self.offset: dict[str, float] = {}
        """Stream -> stamp minus receive time of the newest refused sample [s]."""
        self._recent: dict[tuple[str, str], _Refusals] = {}
        self._delays: dict[tuple[str, str], float] = {}  # receipt minus stamp of the newest good sample [s]

    def accept(self, stream: str, keys: Iterable[str], stamp: float, received: float) -> bool:
        """Whether a sample may be used that was stamped at `stamp` and came at `received` [s].

        Args:
            stream: Camera or topic.
            keys: Values in the sample; for an image, "".
        """
        if stamp <= received + FUTURE_TOLERANCE_S:
            for key in keys:
                self._delays[stream, key] = received - stamp
                self._recent.pop((stream, key), None)
            return True
        self.rejected[stream] = self.rejected.get(stream, 0) + 1
        self.offset[stream] = stamp - received
        for key in keys:
            before = self._recent.get((stream, key))
            count = before.count if before and received - before.last <= RECENT_S else 0
            self._recent[stream, key] = _Refusals(count + 1, stamp - received, received)
        return False

    def hint(self, stream: str, keys: Iterable[str], now: float, allowed: float) -> str:
        """What is wrong with the stamps of these values, as the end of a sentence; empty if nothing is.

        Some were refused lately, or the newest one was already older than `allowed` [s] when it came.
        """
        found = [self._recent[stream, key] for key in keys if (stream, key) in self._recent]
        recent = [refusals for refusals in found if refusals.last >= now - RECENT_S]
        if not recent:
            delay = max((self._delays.get((stream, key), 0.0) for key in keys), default=0.0)
            late = f"; stamped {delay:.3f} s before its receipt: check the clocks, or what delays it"
            return late if delay > allowed else ""
        most = max(recent, key=lambda refusals: refusals.count)
        return f"; {most.count} refused, stamped {most.offset:.3f} s after their receipt: check the clocks"

    def clear(self) -> None:
        """Forget what was refused lately, and delays, as after a jump of the clock."""
        self._recent.clear()
        self._delays.clear()


def late_values(
    stream: str,
    what: str,
    ages: Mapping[str, float],
    t: float,
    *,
    threshold: float,
    allowed: float,
    clocks: ClockCheck,
) -> list[tuple[float, str]]:
    """One sentence for all values of a stream that fell silent together, with their age [s].

    Args:
        stream: Camera or topic.
        what: How sentences call it.
        ages: Value -> age of its newest sample [s], inf if none came.
        t: Time at which all this holds [s].
        threshold: Values older than this are late [s].
        allowed: Age that the contract allows, for the sentence [s].
        clocks: Knows what was refused.
    """
    sentences = []
    for age in sorted({age for age in ages.values() if not age <= threshold}):
        keys = [key for key, its in ages.items() if its == age]
        which = f" ({', '.join(keys)})" if len(keys) < len(ages) else ""
        state = f"newest sample is {age:.3f} s old, allowed are {allowed:.3f} s"
        text = state if math.isfinite(age) else "no sample"
        sentences.append((age, f"{what}{which}: {text}{clocks.hint(stream, keys, t, allowed)}"))
    return sentences


def oldest_first(sentences: Iterable[tuple[float, str]]) -> list[str]:
    """The sentences in the order in which the streams fell silent: the cause before its consequences."""
    return [text for _, text in sorted(sentences, key=lambda entry: -entry[0])]
