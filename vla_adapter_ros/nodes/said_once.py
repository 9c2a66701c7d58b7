"""What a log says of things that come and go: each once when it begins and when it is over. No rclpy."""

from __future__ import annotations

import math
from dataclasses import dataclass

ENDED_AFTER_S = 3.0
"""What has not shown itself for so long is over."""
AGAIN_AFTER_S = 60.0
"""What comes back within so long after its end comes and goes: its next end takes so long, too."""


@dataclass
class _Lasting:
    """How often it has shown itself, when last [s], and for how long it must stay away to be over [s]."""

    count: int
    last: float
    patience: float


class SaidOnce:
    """Decides what is said, so that nothing fills the log that only comes and goes.

    Times are by any one clock [s].
    """

    def __init__(self) -> None:
        self._lasting: dict[str, _Lasting] = {}
        self._over: dict[str, float] = {}  # what has ended -> when

    def begins(self, what: str, now: float) -> bool:
        """Note that `what` shows itself; returns whether that is new, and so to be said."""
        lasting = self._lasting.get(what)
        if lasting is not None:
            lasting.count, lasting.last = lasting.count + 1, now
            return False
        back = now - self._over.pop(what, -math.inf) < AGAIN_AFTER_S
        self._lasting[what] = _Lasting(1, now, AGAIN_AFTER_S if back else ENDED_AFTER_S)
        return True

    def ended(self, now: float) -> list[tuple[str, int]]:
        """What is over, and how often it had shown itself; to be called now and then, each is told once."""
        over = [w for w, lasting in self._lasting.items() if now - lasting.last >= lasting.patience]
        told = [(what, self._lasting.pop(what).count) for what in over]
        self._over = {w: at for w, at in self._over.items() if now - at < AGAIN_AFTER_S}
        self._over.update(dict.fromkeys(over, now))
        return told

    def forget(self) -> None:
        """Take everything for new, as after a person's act."""
        self._lasting.clear()
        self._over.clear()
