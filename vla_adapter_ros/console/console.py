"""What belongs to one console: the robot, what its pages see, and who operates."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from vla_adapter_ros.console.curves import Curves
from vla_adapter_ros.console.episodes import EpisodeStore
from vla_adapter_ros.console.live import LiveHub
from vla_adapter_ros.console.operators import NOT_OPERATOR, Operators
from vla_adapter_ros.console.robot import Robot
from vla_adapter_ros.console.runs import RunStore
from vla_adapter_ros.console.views import Answer

MOST_PAGES = 200  # whose names are remembered
HISTORY = 12  # instructions
MOST_SENTENCES = 60


@dataclass
class Console:
    """Shared by all pages.

    Attributes:
        robot: Carries out commands.
        hub: Sends pictures and curves.
        curves: What it sends.
        episodes: Of the data set that is recorded; None: none is known.
        runs: Fine-tunings; None: none are known.
        known: The instructions to choose from as they were last read.
    """

    robot: Robot
    hub: LiveHub
    curves: Curves
    episodes: EpisodeStore | None = None
    runs: RunStore | None = None
    operators: Operators = field(default_factory=Operators)
    history: deque[str] = field(default_factory=lambda: deque(maxlen=HISTORY))
    known: tuple[str, ...] = ()
    _issued: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_PAGES))
    _pages: int = 0

    def new_page(self, address: str) -> str:
        """A page was opened; returns its secret name, by which it is known from now on."""
        viewer = secrets.token_urlsafe(16)
        self._pages += 1
        self._issued.append(viewer)
        self.operators.enter(viewer, f"page {self._pages} ({address})", time.monotonic())
        return viewer

    def connect(self, viewer: str, address: str) -> bool:
        """A page's line has come, perhaps anew; False if no such page was opened."""
        if viewer not in self._issued:
            return False
        now = time.monotonic()
        self.operators.hear(viewer, now)
        if not self.operators.name_of(viewer):  # its line was away for too long
            self.operators.enter(viewer, f"page of {address}", now)
        return True

    def leave(self, viewer: str) -> None:
        """A page was closed."""
        self.operators.leave(viewer, time.monotonic())

    def hear(self, viewer: str) -> None:
        """A page has shown that it is alive."""
        now = time.monotonic()
        self.operators.hear(viewer, now)
        if self.operators.operates(viewer, now):
            self.robot.beat()

    def command(self, viewer: str, act: Callable[[], Answer]) -> Answer:
        """Carry out a command of a page, if it operates the robot; may take seconds."""
        if not self.operators.operates(viewer, time.monotonic()):
            return Answer(False, NOT_OPERATOR)
        return act()

    def sentences(self) -> list[str]:
        """Instructions to choose from: those given here, the newest first, then those of the data set."""
        known = self.episodes.instructions() if self.episodes is not None else []
        self.known = tuple(dict.fromkeys([*self.history, *known]))[:MOST_SENTENCES]
        return list(self.known)

    def remember(self, instruction: str) -> None:
        """An instruction was given: it stands first among those to choose from."""
        if instruction in self.history:
            self.history.remove(instruction)
        self.history.appendleft(instruction)
