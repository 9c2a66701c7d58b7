"""What is known of the run behind an episode, and what was said of it: both in meta/recordings.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from vla_adapter_ros.choices import Outcome
from vla_adapter_ros.dataset import layout
from vla_adapter_ros.dataset.opening import Dataset, stored_reader
from vla_adapter_ros.dataset.outcome import SUCCESS, Label, stored_label
from vla_adapter_ros.dataset.resume import read_recordings
from vla_adapter_ros.texts import visible

TRIAL = "trial"
"""Key of an episode in meta/recordings.json."""
_LONGEST = 300  # letters of a text that are read


@dataclass(frozen=True)
class TrialFacts:
    """The run behind an episode; what is not known is empty or NaN.

    Attributes:
        started: When it began, UTC, as 2026-11-30T12:34:56Z.
        checkpoint: Checkpoint that led, name@fingerprint; several joined by ` + `; empty: none, or unknown.
        duration_s: From the first to the last row [s].
        policy_share: Share of the rows that the policy led, 0 to 1.
        interventions: How often a human took over from the policy.
        intervention_share: Share of the rows that a human led in them, 0 to 1.
        latency_p50_s, latency_p99_s: From image to the first command of its chunk, at the end of the run [s].
    """

    started: str = ""
    checkpoint: str = ""
    duration_s: float = math.nan
    policy_share: float = math.nan
    interventions: int = 0
    intervention_share: float = 0.0
    latency_p50_s: float = math.nan
    latency_p99_s: float = math.nan

    def as_json(self) -> dict[str, Any]:
        """Plain values, without what is not known."""
        known = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {key: value for key, value in known.items() if value == value and value != ""}


def utc_text(seconds: float) -> str:
    """A time since 1970 [s] as 2026-11-30T12:34:56Z."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_facts_of(entry: Mapping[str, Any]) -> TrialFacts:
    """The facts in an entry of meta/recordings.json; what is not there, or no such value, is not known."""
    stored = entry.get(TRIAL)
    if not isinstance(stored, Mapping):
        return TrialFacts()
    count = stored.get("interventions")

    def text(name: str) -> str:
        return visible(str(stored.get(name, "")))[:_LONGEST]

    def number(name: str, unknown: float = math.nan) -> float:
        return float(stored[name]) if _is_number(stored.get(name)) else unknown

    return TrialFacts(
        started=text("started"),
        checkpoint=text("checkpoint"),
        duration_s=number("duration_s"),
        policy_share=number("policy_share"),
        interventions=count if type(count) is int and count >= 0 else 0,
        intervention_share=number("intervention_share", 0.0),
        latency_p50_s=number("latency_p50_s"),
        latency_p99_s=number("latency_p99_s"),
    )


def read_notes(dataset: Dataset) -> list[dict[str, Any]]:
    """What meta/recordings.json says of each episode that can be read; nothing where there is none."""
    episodes = dataset.episodes
    known = read_recordings(dataset.root, 1 + max((e.number for e in episodes), default=-1))
    return [known[episode.number] for episode in episodes]


def read_labels(dataset: Dataset) -> list[Label]:
    """What was said of each episode that can be read.

    A data set of others, which has no meta/recordings.json, says it by its column `next.success`: an episode
    with a true row is a success, one without is a failure.

    Raises:
        DatasetError: rows of such a data set cannot be read.
    """
    reader = stored_reader(dataset)
    if SUCCESS in reader.features and not (reader.root / layout.RECORDINGS).exists():
        rows = (reader.rows(episode.index)[SUCCESS] for episode in reader.episodes)
        return [Label(Outcome.SUCCESS if column.any() else Outcome.FAILURE) for column in rows]
    return [stored_label(entry) for entry in read_notes(dataset)]


def carried_notes(entry: Mapping[str, Any], label: Label) -> dict[str, Any]:
    """What a copy of an episode keeps of its notes: the run, and what was said of it."""
    facts = {TRIAL: entry[TRIAL]} if isinstance(entry.get(TRIAL), Mapping) else {}
    return facts | label.as_json()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
