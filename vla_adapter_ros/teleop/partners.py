"""Several devices of a human, one per arm: where one rests, its arm stays while another arm is driven.

The controller follows a command only once every device has sent its part. A device that rests therefore
sends where its arm is held as long as another one is driven, and says so in `frame_id`, so that two of them
never keep each other going.
"""

from __future__ import annotations

import math
from collections.abc import Collection

_RESTS = "rests: "


def frame_id(node: str, *, rests: bool) -> str:
    """What a node writes into the header of its commands.

    Args:
        node: Its full name.
        rests: Whether nobody drives by it.
    """
    return _RESTS * rests + node


class Partners:
    """Who else sends parts of the command.

    Args:
        node: Full name of the node that asks.
        others: Topics of the devices for the other arms.
        silence_s: Who is silent for longer is gone [s].
    """

    def __init__(self, node: str, others: Collection[str], silence_s: float) -> None:
        self._ours = (frame_id(node, rests=False), frame_id(node, rests=True))
        self._silence_s = silence_s
        self._heard = dict.fromkeys(others, -math.inf)  # when somebody else sent this part
        self._driven = dict.fromkeys(others, -math.inf)  # when somebody else drove this arm

    def note(self, topic: str, sender: str, now: float) -> None:
        """Take note of a part, with `frame_id` `sender`, that came on another arm's topic at `now` [s]."""
        if sender in self._ours:
            return
        self._heard[topic] = now
        if not sender.startswith(_RESTS):
            self._driven[topic] = now

    def drive(self, now: float) -> bool:
        """Whether another arm is driven by somebody else."""
        return any(0 <= now - at <= self._silence_s for at in self._driven.values())

    def absent(self, now: float) -> list[str]:
        """Topics of other arms on which nobody else sends."""
        return [topic for topic, at in self._heard.items() if not 0 <= now - at <= self._silence_s]
