"""Errors of callbacks: each becomes one report, when it begins and when it has ended."""

from __future__ import annotations

import threading
import time
from typing import Any

from vla_adapter_ros.observation.lateness import kind_of

ENDED_AFTER_S = 3.0
"""A fault that has not shown itself for so long is over."""
MOST_KINDS = 20
"""So many ways of one thing to fail are logged; a stranger may write anything into a message."""
LONGEST = 500
"""Characters of a sentence, for the same reason."""


class Faults:
    """What goes wrong at present. Safe to use from several threads.

    Args:
        logger: Of the node.
    """

    def __init__(self, logger: Any) -> None:
        self._logger, self._lock = logger, threading.Lock()
        self._faults: dict[str, tuple[str, int, float]] = {}  # newest sentence, how often, when last
        self._said: dict[str, set[str]] = {}  # what -> kinds of sentences that were logged

    def report(self, what: str, sentence: str, details: str = "") -> None:
        """Something failed; the first time, and the first time in another way, it is logged.

        Args:
            what: Topic, service or timer.
            sentence: What is wrong.
            details: A traceback, where nobody foresaw this.
        """
        if len(sentence) > LONGEST:
            sentence = f"{sentence[:LONGEST]}..."
        with self._lock:
            _, count, _ = self._faults.get(what, ("", 0, 0.0))
            self._faults[what] = (sentence, count + 1, time.monotonic())
            said, kind = self._said.setdefault(what, set()), kind_of(sentence)
            if kind in said or len(said) >= MOST_KINDS:
                return
            said.add(kind)
        if details:
            self._logger.error(f"{what}: {sentence}\n{details}")
        else:
            self._logger.warning(f"{what}: {sentence}")

    def current(self) -> list[str]:
        """Those that go on, one sentence each; to be asked for now and then, which also ends the others."""
        now = time.monotonic()
        with self._lock:
            over = {w: f for w, f in self._faults.items() if now - f[2] >= ENDED_AFTER_S}
            for what in over:
                del self._faults[what], self._said[what]
            lasting = [f"{what}: {sentence}" for what, (sentence, _, _) in self._faults.items()]
        for what, (_, count, _) in over.items():
            self._logger.info(f"{what}: no failure any more, after {count}")
        return lasting
