"""Progress bars for work in stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(wanted: bool) -> Iterator[Callable[[str, int, int, str], None]]:
    """A progress bar with a line per stage; gives out `show(stage, done, total, text)`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[text]}"), disable=not wanted) as bar:
        stages: dict[str, Any] = {}

        def show(stage: str, done: int, total: int, text: str) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(stage, total=total, text=text)
            bar.update(stages[stage], completed=done, text=text)

        yield show
