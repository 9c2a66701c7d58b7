"""Run: see the cameras, give an instruction, and know why nothing moves."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui
from nicegui.events import GenericEventArguments, ValueChangeEventArguments
from starlette.concurrency import run_in_threadpool

from vla_adapter_ros.choices import FASTEST, SLOWEST
from vla_adapter_ros.console.elements import Cameras, Figure, Plots
from vla_adapter_ros.console.suggesting_input import SuggestingInput
from vla_adapter_ros.console.tables import Table
from vla_adapter_ros.console.views import Answer, RobotView

if TYPE_CHECKING:
    from vla_adapter_ros.console.page import Page

COMMANDS = {
    "arm": ("Arm", "Allow the controller to move the arm; nothing moves by that."),
    "hold": ("Hold", "End the instruction: the arm comes to rest and holds."),
    "reset": ("Reset", "End a stop; nothing moves by that."),
    "home": ("Home", "Bring the arm home, slowly and within its limits."),
}


class RunSection:
    """Cameras and curves at the left, instruction and state at the right.

    Args:
        page: Whose section it is.
    """

    def __init__(self, page: Page) -> None:
        self._page, console = page, page.console
        self._known = tuple(console.known)
        self._setting, self._speed_touched = False, -math.inf
        self._wanted_speed = self._known_speed = FASTEST
        with ui.element("div").classes("run"):
            Cameras(console.hub.cameras)
            with ui.element("div").classes("wants"):
                ui.label("What it wants").classes("title").props('role="heading" aria-level="2"')
                Figure()
                Plots(console.curves.names)
            with ui.element("div").classes("side"):
                self._build_instruction()
                self._why = ui.label().classes("why").props('role="status"')
                with ui.element("div").classes("commands"):
                    for name, (title, text) in COMMANDS.items():
                        ui.button(title, on_click=lambda name=name: self._command(name)).tooltip(text).props(
                            "no-caps outline"
                        )
                    ui.button("Keep the last 20 s", on_click=self._save_capsule).tooltip(
                        "Write a failure capsule: what policy and controller saw and did."
                    ).props("no-caps outline")
                self._build_speed()
                self._facts = Table("Facts", ("", ""))
                self._streams = Table("Streams", ("Stream", "Rate", "Age"))
                self._nodes = Table("Nodes", ("Node", "State"))

    async def press(self, key: str) -> None:
        """No key means anything here."""

    async def refresh(self, view: RobotView) -> None:
        """Show the newest."""
        self._why.set_text(_why(view))
        self._why.classes(replace=f"why {'moves' if not view.why else 'stands'}")
        self._followed.set_text(
            f"Follows: {view.instruction}" if view.instruction else "Follows no instruction."
        )
        self._facts.fill([(title, text) for title, text in view.facts.items()])
        self._streams.fill([(s.name, f"{s.rate_hz:.1f} Hz", _age(s.age_s)) for s in view.streams])
        self._nodes.fill(list(view.nodes.items()))
        self._speed_shown.set_text(f"Speed {view.speed:.0%}")
        if time.monotonic() - self._speed_touched > 3.0:  # not while the operator moves it
            self._known_speed = round(view.speed, 2)
            self._speed.set_value(self._known_speed)
        known = tuple(await run_in_threadpool(self._page.console.sentences))
        if known != self._known:
            self._known = known
            self._instruction.suggest(known)
            self._history.clear()
            self._list_known()

    def _build_instruction(self) -> None:
        with ui.element("form").classes("instruct").on("submit.prevent", self._instruct):
            self._instruction = SuggestingInput(
                "Instruction", "such as: pick up the red cube", self._known
            ).props("outlined maxlength=500")
            ui.button("Go").props("type=submit no-caps").classes("go")
        self._followed = ui.label().classes("followed")
        with ui.element("details").classes("sentences"):
            with ui.element("summary"):
                ui.label("Instructions to choose from")
            self._history = ui.element("div").classes("list")
            self._list_known()

    def _list_known(self) -> None:
        with self._history:
            for text in self._known:
                ui.button(text, on_click=lambda text=text: self._choose(text)).props(
                    "no-caps flat dense align=left"
                ).classes("sentence")

    def _build_speed(self) -> None:
        with ui.element("div").classes("speed"):
            self._speed_shown = ui.label("Speed")
            self._speed = (
                _Slider(min=SLOWEST, max=FASTEST, step=0.1, value=FASTEST)
                .on_value_change(self._touch_speed)
                .on("change", self._set_speed)
                .props('aria-label="Speed of the policy\'s motion"')
            )

    def _choose(self, text: str) -> None:
        self._instruction.set_value(text)

    async def _instruct(self) -> None:
        text, console = str(self._instruction.value or ""), self._page.console
        if not text.strip():
            self._page.tell(Answer(False, "Type an instruction first; Hold ends the one that is followed."))
            return
        answer = await self._page.command(lambda: console.robot.instruct(text))
        if answer.done:
            console.remember(" ".join(text.split()))

    async def _command(self, name: str) -> None:
        await self._page.command(lambda: self._page.console.robot.command(name))

    async def _save_capsule(self) -> None:
        await self._page.command(self._page.console.robot.save_capsule)

    def _touch_speed(self, moved: ValueChangeEventArguments[float | None]) -> None:
        if moved.value != self._known_speed:
            self._speed_touched = time.monotonic()

    async def _set_speed(self, moved: GenericEventArguments) -> None:
        # The slider's own value may be older: it is sent at most every 50 ms, and after this event.
        self._speed_touched = time.monotonic()
        self._wanted_speed = float(moved.args)
        if self._setting:  # the one that runs goes on until the newest is set
            return
        self._setting, done = True, math.nan
        try:
            while (speed := self._wanted_speed) != done:
                await self._page.command(partial(self._page.console.robot.set_speed, speed))
                done = speed
        finally:
            self._setting = False


class _Slider(ui.slider):
    """One that the page itself moves: values that come back from here later would undo newer steps."""

    LOOPBACK = False


def _why(view: RobotView) -> str:
    return view.why or ("It moves." if view.moves else "Nothing stands against motion.")


def _age(age_s: float) -> str:
    return f"{age_s:.2f} s" if math.isfinite(age_s) else "nothing yet"
