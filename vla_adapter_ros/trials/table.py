"""Trials as lines for a terminal, as plain data for JSON, and as CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from vla_adapter_ros.trials.rates import Rate
from vla_adapter_ros.trials.trial import Trial

COLUMNS = (
    "started", "dataset", "episode", "instruction", "checkpoint", "outcome", "reason", "duration_s",
    "interventions", "intervention_share", "latency_p50_s", "latency_p99_s",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SHOWN = 40  # letters of a text in a line


def as_row(trial: Trial) -> dict[str, Any]:
    """A trial as plain values by the names of `COLUMNS`; None for numbers that are not known."""
    facts = trial.facts
    row: dict[str, Any] = {
        "started": facts.started,
        "dataset": trial.dataset,
        "episode": trial.episode,
        "instruction": trial.instruction,
        "checkpoint": facts.checkpoint,
        "outcome": str(trial.outcome or ""),
        "reason": trial.reason,
        "interventions": facts.interventions,
    }
    row |= {name: getattr(facts, name) for name in COLUMNS if name not in row}
    return {name: _known(row[name]) for name in COLUMNS}


def rate_as_row(rate: Rate) -> dict[str, Any]:
    """A rate as plain values."""
    return {**asdict(rate), "rate": _known(rate.rate)}


def to_csv(trials: Iterable[Trial]) -> str:
    """A table with a line per trial; no cell begins as a formula does in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for trial in trials:
        writer.writerow([_cell(value) for value in as_row(trial).values()])
    return text.getvalue()


def rate_lines(rates: Sequence[Rate]) -> list[str]:
    """A line per rate."""
    lines = []
    for rate in rates:
        told = f"{rate.successes} of {rate.trials}"
        share = f"{rate.rate:4.0%} ({rate.low:.0%} to {rate.high:.0%})" if rate.trials else "no outcome yet"
        more = [f"{rate.helped} with help"] * (rate.helped > 0)
        more += [f"{rate.unlabeled} without outcome"] * (rate.unlabeled > 0)
        who, said = _short(rate.checkpoint or "unknown checkpoint"), _short(rate.instruction)
        lines.append(", ".join((f"{who} | {said} | {told}", share, *more)))
    return lines


def trial_lines(trials: Sequence[Trial]) -> list[str]:
    """A line per trial."""
    lines = []
    for trial in trials:
        facts = trial.facts
        told = ": ".join(filter(None, (str(trial.outcome or "no outcome"), trial.reason)))
        seconds = "" if math.isnan(facts.duration_s) else f", {facts.duration_s:.1f} s"
        helped = f", {facts.interventions} interventions" if facts.interventions else ""
        who = f"{facts.started or 'unknown time'} | {trial.dataset} {trial.episode}"
        lines.append(f"{who} | {_short(trial.instruction)} | {told}{seconds}{helped}")
    return lines


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    """A value for CSV; a text that a spreadsheet would compute is marked as a text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
