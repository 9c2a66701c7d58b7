"""How an episode ended, and which of its rows a human corrected: what is stored, in LeRobot's own columns.

LeRobot's rollout with corrections (DAgger) stores `intervention`, and its evaluation `next.success`; each is
one bool per row.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset.quality.samples import CONTROL_SOURCES
from vla_adapter_ros.errors import ParameterError, RecordingError
from vla_adapter_ros.texts import comma_list, visible
from vla_adapter_ros.untrusted import short

INTERVENTION, SUCCESS = "intervention", "next.success"
COLUMNS = (INTERVENTION, SUCCESS)
"""Columns of data sets that were begun with this version or a later one."""
OUTCOME, REASON = "outcome", "outcome_reason"
"""Keys of an episode in meta/recordings.json."""
LONGEST_REASON = 200
_MOST_REASONS = 30  # that are offered
_HUMAN, _POLICY = (
    next(n for n, name in CONTROL_SOURCES.items() if name == who) for who in ("human", "policy")
)


@dataclass(frozen=True)
class Label:
    """What the operator said of an episode.

    Attributes:
        outcome: How it ended; None: nothing was said.
        reason: Why, in a few words; empty: nothing was said.
    """

    outcome: Outcome | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.outcome is None:
            return "no outcome"
        return f"{self.outcome}: {self.reason}" if self.reason else str(self.outcome)

    def as_json(self) -> dict[str, Any]:
        """What meta/recordings.json keeps of it; nothing where nothing was said."""
        if self.outcome is None:
            return {}
        return {OUTCOME: self.outcome.value} | ({REASON: self.reason} if self.reason else {})


def read_label(outcome: str, reason: str) -> Label:
    """Check what somebody said of an episode.

    Raises:
        RecordingError: another word than those of `Outcome`, a reason without an outcome, one that is too
            long, or one with characters that no screen shows.
    """
    reason = visible(reason)
    if not outcome:
        if reason:
            raise RecordingError(f"reason = {short(reason)}: allowed with an outcome alone")
        return Label()
    word = Outcome.check("outcome", outcome, RecordingError)
    if len(reason) > LONGEST_REASON or any(unicodedata.category(c)[0] == "C" for c in reason):
        raise RecordingError(
            f"reason = {short(reason)}: allowed are {LONGEST_REASON} characters in one line, none of them a "
            "control character"
        )
    return Label(word, reason)


def offered_reasons(text: str) -> tuple[str, ...]:
    """Reasons of a list such as `dropped, missed`.

    Raises:
        ParameterError: more than 30 of them, or one that is no reason.
    """
    reasons = tuple(dict.fromkeys(filter(None, comma_list(text))))
    try:
        for reason in reasons:
            read_label(Outcome.FAILURE, reason)
    except RecordingError as error:
        raise ParameterError(f"parameter outcome_reasons: {error}") from None
    if len(reasons) > _MOST_REASONS:
        raise ParameterError(
            f"parameter outcome_reasons: {len(reasons)} reasons: allowed are {_MOST_REASONS}"
        )
    return reasons


def stored_label(entry: Mapping[str, Any]) -> Label:
    """What meta/recordings.json says of an episode; nothing where that is no label, whoever wrote it."""
    try:
        return read_label(str(entry.get(OUTCOME, "")), str(entry.get(REASON, "")))
    except RecordingError:
        return Label()


def without_label(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of meta/recordings.json without what was said of the outcome."""
    return {key: value for key, value in entry.items() if key not in (OUTCOME, REASON)}


def intervention_rows(sources: Sequence[int] | np.ndarray) -> np.ndarray:
    """Rows in which a human leads after the policy has led.

    Args:
        sources: int (T,), who led in each row: 0 nobody, 1 a human, 2 the policy.

    Returns:
        bool (T,).
    """
    led = np.asarray(sources)
    return (led == _HUMAN) & np.logical_or.accumulate(led == _POLICY)


def count_interventions(sources: Sequence[int] | np.ndarray) -> int:
    """How often a human took over from the policy; rows in which nobody led are passed over."""
    led = np.asarray(sources)
    led = led[np.isin(led, (_HUMAN, _POLICY))]
    return int(((led[:-1] == _POLICY) & (led[1:] == _HUMAN)).sum())


def success_rows(length: int, outcome: Outcome | None) -> np.ndarray:
    """Column `next.success` of an episode, bool (T,): true in the last row of a success."""
    rows = np.zeros(length, dtype=bool)
    rows[-1:] = outcome is Outcome.SUCCESS
    return rows
