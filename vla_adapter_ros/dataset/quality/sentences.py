"""Checks of the sentences of a training, with the tokenizer that is to read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.dataset.quality.findings import Finding, Level
from vla_adapter_ros.dataset.quality.settings import QualitySettings, grade
from vla_adapter_ros.texts import visible

_DEFAULTS = QualitySettings()
_WAY_OUT = (
    "what helps: other words for the tasks, a tiny model from scratch that learns these words "
    "(--preset tiny), or a published one that reads every script (--init prismatic)"
)


class _Sentences(Protocol):
    """Index into `tasks` of each row, int64 (N,)."""

    @property
    def task(self) -> np.ndarray: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...


class _Tokenizer(Protocol):
    def has_words(self, instruction: str) -> bool: ...
    def unknown_words(self, instruction: str) -> Any: ...
    def ids(self, instruction: str) -> Any: ...


def check_sentences(
    rows: _Sentences, tokenizer: _Tokenizer, settings: QualitySettings = _DEFAULTS
) -> Finding:
    """Whether every row has a sentence, and the model can tell the sentences apart."""
    used = [rows.tasks[n] for n in np.unique(rows.task)]
    empty = int(np.isin(rows.task, [n for n, task in enumerate(rows.tasks) if not visible(task)]).sum())
    if empty:
        share = empty / len(rows.task)
        return Finding("instructions", Level.FAIL, share, f"{share:.1%} of rows have none; allowed is none")
    mute = [task for task in used if not tokenizer.has_words(task)]
    if mute:
        text = f"{_quoted(mute)} has no word that the model can read; allowed are words; {_WAY_OUT}"
        return Finding("instructions", Level.FAIL, len(mute), text)
    unknown = sorted({word for task in used for word in tokenizer.unknown_words(task)})
    alike: dict[tuple[int, ...], list[str]] = {}
    for task in used:
        alike.setdefault(tuple(tokenizer.ids(task)), []).append(task)
    same = [tasks for tasks in alike.values() if len({" ".join(t.lower().split()) for t in tasks}) > 1]
    words = f"; the tokenizer does not know {_quoted(unknown)}" if unknown else ""
    if same:
        text = (
            f"{_quoted(same[0])} look the same to the model{words}; allowed are sentences it can tell apart"
            + f"; {_WAY_OUT}" * bool(unknown)
        )
        return Finding("instructions", Level.FAIL, len(same), text)
    what = f"{len(used)} sentence{'s' if len(used) > 1 else ''}"
    if len(used) == 1:
        what += ": the policy cannot learn to listen"
    what += words + f"; {_WAY_OUT}" * bool(unknown)
    least = Level.WARN if len(used) == 1 else Level.PASS
    return grade("instructions", len(unknown), settings, what, least=least)


def _quoted(words: Sequence[str]) -> str:
    shown = [repr(word) if " " not in word or len(word) > 60 else word for word in words[:6]]
    return ", ".join(shown) + (", ..." if len(words) > 6 else "")
