"""Checks of the instructions of a training, with the tokenizer that is to read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.dataset.quality.findings import Finding, Level
from vla_adapter_ros.dataset.quality.settings import DEFAULTS, QualitySettings, grade
from vla_adapter_ros.texts import visible

_CURE = (
    "what helps: other words for the tasks, a tiny model from scratch that learns these words "
    "(--preset tiny), or a published one that reads every script (--init prismatic)"
)


class _Instructions(Protocol):
    """Instructions of the rows: `task` is the place in `tasks` of each, int64 (N,)."""

    @property
    def task(self) -> np.ndarray: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...


class _Tokenizer(Protocol):
    def has_words(self, instruction: str) -> bool: ...
    def unknown_words(self, instruction: str) -> Any: ...
    def ids(self, instruction: str) -> Any: ...


def check_instructions(
    rows: _Instructions, tokenizer: _Tokenizer, settings: QualitySettings = DEFAULTS
) -> Finding:
    """Whether every row has an instruction, and the model can tell the instructions apart."""
    used = [rows.tasks[n] for n in np.unique(rows.task)]
    empty = int(np.isin(rows.task, [n for n, task in enumerate(rows.tasks) if not visible(task)]).sum())
    if empty:
        fraction = empty / len(rows.task)
        return Finding(
            "instructions", Level.FAIL, fraction, f"{fraction:.1%} of rows have none; allowed is none"
        )
    mute = [task for task in used if not tokenizer.has_words(task)]
    if mute:
        text = f"{_quoted(mute)} has no word that the model can read; allowed are words; {_CURE}"
        return Finding("instructions", Level.FAIL, len(mute), text)
    unknown = sorted({word for task in used for word in tokenizer.unknown_words(task)})
    alike: dict[tuple[int, ...], list[str]] = {}
    for task in used:
        alike.setdefault(tuple(tokenizer.ids(task)), []).append(task)
    same = [tasks for tasks in alike.values() if len({" ".join(t.lower().split()) for t in tasks}) > 1]
    words = f"; the tokenizer does not know {_quoted(unknown)}" if unknown else ""
    if same:
        text = (
            f"{_quoted(same[0])} look the same to the model{words}; "
            "allowed are instructions that it can tell apart" + f"; {_CURE}" * bool(unknown)
        )
        return Finding("instructions", Level.FAIL, len(same), text)
    what = f"{len(used)} instruction{'s' if len(used) > 1 else ''}"
    if len(used) == 1:
        what += ": the policy cannot learn to listen"
    what += words + f"; {_CURE}" * bool(unknown)
    at_least = Level.WARN if len(used) == 1 else Level.PASS
    return grade("instructions", len(unknown), settings, what, at_least=at_least)


def _quoted(words: Sequence[str]) -> str:
    shown = [repr(word) if " " not in word or len(word) > 60 else word for word in words[:6]]
    return ", ".join(shown) + (", ..." if len(words) > 6 else "")
