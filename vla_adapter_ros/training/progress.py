"""Progress bars for work in stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Display:
    """A progress bar with a line per stage; `display(stage, done, total, text)` moves it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._stages: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int, text: str) -> None:
        """Show that `done` of `total` of a stage are done, and `text` beside it."""
        if stage not in self._stages:
            self._stages[stage] = self._bar.add_task(stage, total=total, text=text)
        self._bar.update(self._stages[stage], completed=done, text=text)

    def print_line(self, line: str) -> None:
        """Print a line above the bars."""
        if not self._bar.disable:
            self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_bar(wanted: bool) -> Iterator[Display]:
    """Show progress while inside; gives out the `Display`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[text]}"), disable=not wanted) as bar:
        yield Display(bar)
