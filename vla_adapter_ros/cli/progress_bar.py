"""A bar that shows how far a command has come, and how long it still takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Shows a bar until the end of the block.

    Args:
        title: What is counted.
        total: How many.

    Yields:
        To be called after each.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task(title, total=total)
        yield lambda: progress.advance(bar)
