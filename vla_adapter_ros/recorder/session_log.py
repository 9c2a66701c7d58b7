"""What a recording session says: to the log, in its status and as the answer to a command."""

from __future__ import annotations

from collections.abc import Callable

from vla_adapter_ros.recorder.session_types import Reply


class SessionLog:
    """Remembers what happened last, and how often something failed.

    Args:
        log: Told what happens, one line each.
        alarm: Told that an episode is lost; None: `log` is.
    """

    def __init__(self, log: Callable[[str], None], alarm: Callable[[str], None] | None) -> None:
        self.log = log
        self._alarm = alarm or log
        self.reason = ""
        """What happened last, in one sentence."""
        self.failures = 0
        """How often something was refused or lost."""

    def tell(self, text: str) -> None:
        """Log what happened."""
        self.reason = text
        self.log(text)

    def answer(self, ok: bool, message: str) -> Reply:
        """Log the answer to a command, and give it."""
        self.failures += not ok
        self.tell(message)
        return Reply(ok, message)

    def lose_episode(self, error: BaseException) -> Reply:
        """Sound the alarm: an episode is lost."""
        self.failures += 1
        self.reason = f"episode lost: {error}"
        self._alarm(self.reason)
        return Reply(False, self.reason)
