"""The instructions of a data set: its table of tasks, and what each row's number in it means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.dataset.tables import read_table, whole_numbers
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.untrusted import short

_MOST_TASKS = 1_000_000


def read_task_table(path: Path, total: int | None) -> tuple[str, ...] | None:
    """Instructions by their number, of a table as LeRobot v3.0 has it; None where there is no table.

    Args:
        path: The table.
        total: How many info.json says there are; None: it does not.

    Raises:
        DatasetError: it cannot be read, or has fewer.
    """
    if not path.exists():
        return None
    table = read_table(path)
    # The text column is called `task` or, written by pandas without a name, `__index_level_0__`.
    names = [name for name in table.column_names if name != "task_index"]
    if len(names) != 1 or "task_index" not in table.column_names:
        raise DatasetError(f"{path}: columns {table.column_names}: allowed are task_index and one of texts")
    numbers = whole_numbers(table, "task_index", path).tolist()
    tasks = in_their_places(numbers, table[names[0]].to_pylist(), path)
    total = len(tasks) if total is None else total
    if len(tasks) < total:
        raise DatasetError(f"{path}: {len(tasks)} tasks, info.json says {total}")
    return tasks[:total]


def in_their_places(numbers: Sequence[int], texts: Sequence[Any], path: Path) -> tuple[str, ...]:
    """Texts by their numbers; a number that is not used has an empty one.

    Raises:
        DatasetError: a number twice or out of range, or no text.
    """
    for number, text in zip(numbers, texts, strict=True):
        if not 0 <= number < _MOST_TASKS or not isinstance(text, str):
            raise DatasetError(
                f"{path}: task {short(number)} = {short(text)}: allowed are texts with numbers from 0 on"
            )
    if len(set(numbers)) != len(numbers):
        raise DatasetError(f"{path}: task_index {short(sorted(numbers))}: allowed is each number once")
    found = dict(zip(numbers, texts, strict=True))
    return tuple(found.get(number, "") for number in range(max(found, default=-1) + 1))


def row_texts(tasks: Sequence[str], numbers: np.ndarray, where: str) -> list[str]:
    """Instructions of rows by their numbers (T,).

    Raises:
        DatasetError: a number that no task has; `where` begins the message.
    """
    wrong = sorted({int(n) for n in np.unique(numbers)} - set(range(len(tasks))))
    if wrong:
        raise DatasetError(f"{where}: task_index {wrong[0]}: there are {len(tasks)} tasks")
    return [tasks[int(n)] for n in numbers]
