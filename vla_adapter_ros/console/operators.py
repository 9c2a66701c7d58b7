"""One operator at a time: who commands from the console, who watches, and how the place changes hands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

GONE_S = 3.0
"""A page that has not been heard for so long is gone, and with it its place."""
LOADS_S = 15.0
"""So long a page may take to load before it must be heard, on a slow phone or a busy computer."""
RELOAD_S = 2.0
"""A page that is loaded again is opened when the old one is heard last, within so long: it inherits."""
ANSWER_S = 10.0
"""An operator who does not answer for so long is taken to agree."""
NOT_OPERATOR = "you watch: another page operates the robot; ask to take over, or press Stop"


@dataclass
class Viewer:
    """One open page.

    Attributes:
        name: What the others see of it, such as its address.
        heard: When it was heard last [s]; of a page that still loads, by when it must be heard.
        entered: When it was opened [s].
        asked: When it asked for the operator's place [s]; infinite: it did not.
    """

    name: str
    heard: float
    entered: float
    asked: float = field(default=math.inf)


class Operators:
    """Knows all open pages, and which of them operates the robot. Times are by a steady clock [s].

    A page that is opened while nobody operates does so, as the first one, or one that is loaded again. A page
    that watches never comes to operate unless it asks. Stopping the arm is open to everybody, and is not
    decided here.
    """

    def __init__(self) -> None:
        self._viewers: dict[str, Viewer] = {}
        self._operator = ""
        self._left = -math.inf  # when the operator that left last was heard last [s]

    def enter(self, viewer: str, name: str, now: float) -> None:
        """A page was opened."""
        self._settle(now)
        self._viewers[viewer] = Viewer(name, now + LOADS_S, now)
        self._operator = self._operator or viewer

    def hear(self, viewer: str, now: float) -> None:
        """A page has shown that it is there."""
        if viewer in self._viewers:
            self._viewers[viewer].heard = now
        self._settle(now)

    def leave(self, viewer: str, now: float) -> None:
        """A page was closed."""
        self._forget(viewer, now)
        self._settle(now)

    def operates(self, viewer: str, now: float) -> bool:
        """Whether a page may command."""
        self._settle(now)
        return viewer != "" and viewer == self._operator

    def operator_heard(self, now: float) -> float:
        """How long ago the operator's page was heard [s]; infinite: nobody operates."""
        self._settle(now)
        holder = self._viewers.get(self._operator)
        return max(now - holder.heard, 0.0) if holder is not None else math.inf

    def ask(self, viewer: str, now: float) -> str:
        """A page asks for the operator's place; returns what to tell it."""
        self._settle(now)
        if viewer not in self._viewers:
            return "this page is not connected"
        if viewer == self._operator:
            return "you operate already"
        if not self._operator:
            self._operator = viewer
            return "you operate the robot now"
        self._viewers[viewer].asked = min(self._viewers[viewer].asked, now)
        return (
            f"{self._viewers[self._operator].name} is asked; without an answer it is yours in {ANSWER_S:g} s"
        )

    def answer(self, viewer: str, agreed: bool, now: float) -> str:
        """The operator gives its place to the page that asked first, or keeps it; returns what to tell it."""
        if not self.operates(viewer, now):
            return NOT_OPERATOR
        asking = self.asking(now)
        if not asking:
            return "nobody asks any more"
        name = self._viewers[asking].name
        self._viewers[asking].asked = math.inf
        if not agreed:
            return f"you keep on operating; {name} watches"
        self._operator = asking
        return f"{name} operates the robot now; you watch"

    def asking(self, now: float) -> str:
        """The page that asked first for the operator's place; empty: nobody asks."""
        self._settle(now)
        waiting = [(v.asked, key) for key, v in self._viewers.items() if math.isfinite(v.asked)]
        return min(waiting)[1] if waiting else ""

    def name_of(self, viewer: str) -> str:
        """What others see of a page; empty: it is not there."""
        return self._viewers[viewer].name if viewer in self._viewers else ""

    @property
    def operator(self) -> str:
        """The page that operates, as it was known last; empty: none."""
        return self._operator

    def _forget(self, viewer: str, now: float) -> None:
        gone = self._viewers.pop(viewer, None)
        if gone is not None and viewer == self._operator:
            self._left = min(gone.heard, now)

    def _settle(self, now: float) -> None:
        """Forget pages that are gone; a free place goes to the first that asks, or to a reload."""
        for key in [key for key, viewer in self._viewers.items() if now - viewer.heard > GONE_S]:
            self._forget(key, now)
        waiting = sorted((v.asked, key) for key, v in self._viewers.items() if math.isfinite(v.asked))
        if self._operator not in self._viewers:
            pages = ((viewer.entered, key) for key, viewer in self._viewers.items())
            near = [(time, key) for time, key in pages if abs(time - self._left) <= RELOAD_S]
            loaded_again = min(near)[1] if near else ""
            self._operator = waiting[0][1] if waiting else loaded_again
        elif waiting and now - waiting[0][0] >= ANSWER_S:
            self._operator = waiting[0][1]
        if self._operator:
            self._viewers[self._operator].asked = math.inf
