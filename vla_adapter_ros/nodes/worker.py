"""A thread that does one thing whenever it is woken."""

from __future__ import annotations

import threading
from collections.abc import Callable

LONGEST_S = 0.05  # between two calls, woken or not


class Worker:
    """Calls an action in a thread of its own while it is started; it may be started again.

    Args:
        name: Of the thread.
        action: Called when the worker was woken, and at least every LONGEST_S; must not raise.
    """

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self._name, self._action = name, action
        self._woken, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work; not to be called while it works."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the action called now, or again after the call that is under way."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread; no call of the action goes on after this."""
        self._ended.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._ended.is_set():
            self._woken.wait(LONGEST_S)
            self._woken.clear()
            self._action()
