"""Errors of callbacks: each becomes one report, when it begins and when it has ended."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vla_adapter_ros.errors import VlaAdapterError
from vla_adapter_ros.nodes import said_once
from vla_adapter_ros.nodes.said_once import SaidOnce
from vla_adapter_ros.observation.lateness import kind_of

MOST_KINDS = 20
"""So many different errors of one topic or service are logged: anybody may publish anything."""
LONGEST = 500
"""Characters of an error, for the same reason."""


class Faults:
    """What goes wrong at present. Safe to use from several threads.

    Args:
        logger: Of the node.
    """

    def __init__(self, logger: Any) -> None:
        self._logger, self._lock = logger, threading.Lock()
        self._newest: dict[str, tuple[str, float]] = {}  # what -> newest error, and when
        self._said_once = SaidOnce()
        self._kinds: dict[str, set[str]] = {}  # what -> kinds of errors that were logged
        self.told_elsewhere: Callable[[str], bool] = lambda kind: False
        """Whether the node has said a sentence of a kind (see `kind_of`) otherwise, and it still holds."""

    def report(self, what: str, error: str, details: str = "") -> None:
        """Something failed; the first error, and the first one of another kind, is logged.

        Args:
            what: Topic, service or timer.
            error: What is wrong.
            details: A traceback, where nobody foresaw this.
        """
        if len(error) > LONGEST:
            error = f"{error[:LONGEST]}..."
        with self._lock:
            now = time.monotonic()
            self._newest[what] = error, now
            if self._said_once.begins(what, now):
                self._kinds[what] = set()
            said, kind = self._kinds[what], kind_of(error)
            if kind in said or len(said) >= MOST_KINDS:
                return
            said.add(kind)
        if self.told_elsewhere(kind):
            return
        if details:
            self._logger.error(f"{what}: {error}\n{details}")
        else:
            self._logger.warning(f"{what}: {error}")

    @contextmanager
    def boundary(self, what: str) -> Iterator[None]:
        """Whatever goes wrong inside becomes one report about `what`, said once and when it ends."""
        try:
            yield
        except VlaAdapterError as raised:
            self.report(what, str(raised))
        except Exception as raised:
            self.report(what, f"{type(raised).__name__}: {raised}", traceback.format_exc())

    def tells(self, kind: str) -> bool:
        """Whether an error of this kind goes on."""
        with self._lock:
            return any(kind in kinds for kinds in self._kinds.values())

    def current(self) -> list[str]:
        """The faults that go on, one line each; to be called now and then, since it also ends the others."""
        now = time.monotonic()
        with self._lock:
            self._newest = {
                w: (e, at) for w, (e, at) in self._newest.items() if now - at < said_once.ENDED_AFTER_S
            }
            lasting = [f"{what}: {error}" for what, (error, _) in self._newest.items()]
            over = self._said_once.ended(now)
            for what, _ in over:
                del self._kinds[what]
        for what, count in over:
            self._logger.info(f"{what}: no failure any more, after {count}")
        return lasting
