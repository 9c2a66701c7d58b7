"""Trials: what policies did in the recorded runs, and whether one checkpoint is better than another."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from vla_adapter_ros.console.tables import Table
from vla_adapter_ros.console.views import RobotView
from vla_adapter_ros.trials.compare import compare
from vla_adapter_ros.trials.rates import success_rates
from vla_adapter_ros.trials.table import rate_lines
from vla_adapter_ros.trials.trial import Trial

if TYPE_CHECKING:
    from vla_adapter_ros.console.page import Page

MOST_ROWS = 100
COLUMNS = (
    "Episode",
    "Instruction",
    "Checkpoint",
    "Outcome",
    "Why",
    "Time",
    "Interventions",
    "Latency p50 / p99",
)


class TrialsSection:
    """A table of runs, success rates with their intervals, and a comparison of two checkpoints.

    Args:
        page: Whose section it is.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._trials: list[Trial] | None = None
        with ui.element("div").classes("record"):
            if page.console.episodes is None:
                ui.label("No data set is shown: start the console with --dataset FOLDER.")
                return
            ui.label("Success").classes("title").props('role="heading" aria-level="2"')
            self._rates = ui.element("ul").classes("report")
            with ui.element("div").classes("commands"):
                self._a = ui.select([], label="Checkpoint A", on_change=self._compare).props("outlined")
                self._b = ui.select([], label="Checkpoint B", on_change=self._compare).props("outlined")
                ui.link("Table as CSV", "/trials.csv", new_tab=True).classes("page-link")
            self._comparison = ui.label().classes("followed")
            ui.label("Runs, the newest first").classes("title").props('role="heading" aria-level="2"')
            with ui.element("div").classes("wide").props('tabindex=0 role=region aria-label="Runs"'):
                self._table = Table("Runs", COLUMNS)

    async def press(self, key: str) -> None:
        """No key means anything here."""

    async def refresh(self, view: RobotView) -> None:
        """Show the newest, if anything has changed."""
        store = self._page.console.episodes
        if store is None:
            return
        trials = await run_in_threadpool(store.trials)
        if trials == self._trials:
            return
        self._trials = trials
        self._table.fill([_row(trial) for trial in trials[::-1][:MOST_ROWS]])
        self._rates.clear()
        with self._rates:
            for line in rate_lines(success_rates(trials)) or ["No run of a policy is recorded yet."]:
                with ui.element("li"):
                    ui.label(line)
        names = list(dict.fromkeys(t.facts.checkpoint for t in trials if t.facts.checkpoint))
        for chooser in (self._a, self._b):
            chooser.set_options(names, value=chooser.value if chooser.value in names else None)
        await self._compare()

    async def _compare(self) -> None:
        a, b = self._a.value, self._b.value
        if not a or not b or a == b:
            self._comparison.set_text("Choose two checkpoints: is one of them better?")
            return
        one, other = ([t for t in self._trials or () if t.facts.checkpoint == name] for name in (a, b))
        found = await run_in_threadpool(partial(compare, one, other))
        self._comparison.set_text(found.sentence)


def _row(trial: Trial) -> tuple[str, ...]:
    facts = trial.facts
    known = math.isfinite(facts.latency_p99_s)
    return (
        str(trial.episode),
        trial.instruction,
        facts.checkpoint or "unknown",
        str(trial.outcome or "not labeled"),
        trial.reason,
        f"{facts.duration_s:.1f} s" if math.isfinite(facts.duration_s) else "",
        str(facts.interventions),
        f"{facts.latency_p50_s:.3f} / {facts.latency_p99_s:.3f} s" if known else "",
    )
