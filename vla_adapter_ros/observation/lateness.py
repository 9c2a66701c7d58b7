"""Says in words which streams, and which of their values, are late, and when clocks are to blame."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vla_adapter_ros.contract import Contract

FUTURE_TOLERANCE_S = 0.1  # a stamp this far after its receipt tells of clocks that disagree
PAST_TOLERANCE_S = 2.0  # and one this much older at its receipt than a frame may use: it is of no use
AHEAD_S = 0.03  # a stamp this far after its receipt is more than a step of a simulated clock: worth a word
BEHIND_S = 0.5  # and so is one this much older at its receipt than a frame may use
RECENT_S = 2.0  # what was refused longer ago than this says nothing about now
UNSTAMPED = "without a stamp"
RECEIVE = "say `time: receive` for it in the contract"
_NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?")


def stamp_fault(stamp: float, received: float, max_age_s: float) -> str:
    """What is wrong with a stamp, as a part of a sentence; empty if it may be used.

    Args:
        stamp, received: When a sample was stamped, and when it came [s].
        max_age_s: How old a sample may be when a frame uses it [s].
    """
    lead = stamp - received
    if -(max_age_s + PAST_TOLERANCE_S) <= lead <= FUTURE_TOLERANCE_S:
        return ""
    if stamp == 0.0:
        return UNSTAMPED
    return _lead(lead, "their")


def _lead(lead: float, whose: str) -> str:
    return f"stamped {abs(lead):.3f} s {'after' if lead > 0 else 'before'} {whose} receipt"


def cure(fault: str) -> str:
    """What helps against a fault of stamps."""
    return RECEIVE if fault == UNSTAMPED else f"check the clocks, or {RECEIVE}"


def kind_of(sentence: str) -> str:
    """A sentence without its numbers: what differs in a number only is of one kind."""
    return _NUMBER.sub("", sentence)


def losses_since(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """What was lost between two looks at `ObservationBuilder.losses`, one sentence each."""
    return [
        f"{count - before.get(what, 0)} x {what}"
        for what, count in now.items()
        if count > before.get(what, 0)
    ]


@dataclass
class _Refusals:
    """Samples refused since the last good one; of the newest: fault, lead over the receipt, receipt [s]."""

    count: int
    fault: str
    lead: float
    last: float


class ClockCheck:
    """Refuses samples whose stamps are of another clock: in the future, long ago, or none at all.

    Refusals are noted per value, since two drivers with clocks of their own
    may share a topic. They are forgotten when a good sample of that value comes.

    Args:
        contract: Ages and names of the streams, and `settle_s`.
        losses: Counts what was refused.
    """

    def __init__(self, contract: Contract, losses: Counter[str]) -> None:
        self._contract, self._losses = contract, losses
        self._recent: dict[tuple[str, str], _Refusals] = {}
        self._said: dict[tuple[str, str], str] = {}  # stream and kind of fault -> sentence about the first
        self._delays: dict[tuple[str, str], float] = {}

    def check_stamp(self, stream: str, keys: Iterable[str], stamp: float, received: float) -> bool:
        """Whether a sample may be used that was stamped at `stamp` and came at `received` [s].

        One that may not is counted.

        Args:
            stream: Camera or topic.
            keys: Values in the sample; for an image, "".
        """
        fault = stamp_fault(stamp, received, self._contract.max_age_s(stream))
        if not fault:
            for key in keys:
                self._recent.pop((stream, key), None)
                self._delays[stream, key] = received - stamp
            if stamp > received + AHEAD_S or stamp < received - self._contract.max_age_s(stream) - BEHIND_S:
                self._note(stream, f"{_lead(stamp - received, 'its')}: check the clocks")
            return True
        self._note(stream, f"refused, {fault}: {cure(fault)}")
        for key in keys:
            before = self._recent.get((stream, key))
            count = before.count if before and received - before.last <= RECENT_S else 0
            self._recent[stream, key] = _Refusals(count + 1, fault, stamp - received, received)
        return False

    def hint(self, stream: str, keys: Iterable[str], now: float, age: float, allowed: float) -> str:
        """Why values are late, as the end of a sentence; empty if the clocks do not tell.

        Args:
            stream, keys: The values.
            now, age, allowed: Time, age of the newest sample (inf without one) and age that is allowed [s].
        """
        keys = tuple(keys)
        if refused := self.refused(stream, keys, now):
            return f" ({refused})"
        delay = max((self._delays.get((stream, key), 0.0) for key in keys), default=0.0)
        settle = self._contract.settle_s
        if delay > settle and age <= allowed + delay:
            return (
                f" (stamped {delay:.3f} s before its receipt: check the clocks, or what delays it, or raise "
                f"settle_s, {settle:g})"
            )
        return ""

    def refused(self, stream: str, keys: Iterable[str], now: float) -> str:
        """What was refused of values lately, why, and the cure; empty if nothing was."""
        found = [self._recent[stream, key] for key in keys if (stream, key) in self._recent]
        recent = [refusals for refusals in found if refusals.last >= now - RECENT_S]
        if not recent:
            return ""
        most = max(recent, key=lambda refusals: refusals.count)
        return f"{most.count} refused, {most.fault}: {cure(most.fault)}"

    def two_clocks(self, now: float) -> str:
        """That all streams that come are stamped by one clock that is not this node's; empty if not."""
        recent = {s: r for (s, _), r in self._recent.items() if r.last >= now - RECENT_S}
        leads = [refusals.lead for refusals in recent.values()]
        if len(recent) < 2 or self._delays or max(leads) - min(leads) > PAST_TOLERANCE_S:
            return ""  # one stream alone is at fault, or one is all right
        if any(refusals.fault == UNSTAMPED for refusals in recent.values()):
            return ""
        return (
            f"all streams are {_lead(leads[0], 'their')}: give this node the clock of the stamps "
            "(use_sim_time in a simulation or with a played bag), or set the clocks"
        )

    def clear(self) -> None:
        """Forget what was refused lately, as after a jump of the clock."""
        self._recent.clear()
        self._delays.clear()

    def _note(self, stream: str, what: str) -> None:
        """Count something; all of one kind in the words of the first."""
        sentence = f"sample of {self._contract.stream_title(stream)} {what}"
        self._losses[self._said.setdefault((stream, kind_of(what)), sentence)] += 1


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
        clocks: Knows what was refused, and what comes late.
    """
    sentences = []
    for age in sorted({age for age in ages.values() if not age <= threshold}):
        keys = [key for key, its in ages.items() if its == age]
        which = f" ({', '.join(keys)})" if len(keys) < len(ages) else ""
        state = f"newest sample is {age:.3f} s old, allowed are {allowed:.3f} s"
        text = state if math.isfinite(age) else "no sample"
        sentences.append((age, f"{what}{which}: {text}{clocks.hint(stream, keys, t, age, allowed)}"))
    return sentences


def oldest_first(sentences: Iterable[tuple[float, str]]) -> list[str]:
    """The sentences in the order in which the streams fell silent: the cause before its consequences."""
    return [text for _, text in sorted(sentences, key=lambda entry: -entry[0])]
