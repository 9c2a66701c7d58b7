"""The page: one head with Stop in it, and below it a section at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from nicegui import ui
from nicegui.events import KeyEventArguments
from starlette.concurrency import run_in_threadpool

from vla_adapter_ros.console.console import Console
from vla_adapter_ros.console.elements import LiveLink, StopButton
from vla_adapter_ros.console.record_section import RecordSection
from vla_adapter_ros.console.run_section import RunSection
from vla_adapter_ros.console.training_section import TrainingSection
from vla_adapter_ros.console.trials_section import TrialsSection
from vla_adapter_ros.console.views import Answer, RobotView

REFRESH_S = 0.25
STOP_HINT = "Software stop (Esc). It is no safety function: keep the emergency stop in reach."


class Section(Protocol):
    """A part of the page that is shown or not."""

    async def refresh(self, view: RobotView) -> None:
        """Show the newest."""

    async def press(self, key: str) -> None:
        """A key was pressed, such as `1`, while no field for text has the keyboard."""


SECTIONS: dict[str, Callable[[Page], Section]] = {
    "Run": RunSection,
    "Record": RecordSection,
    "Trials": TrialsSection,
    "Training": TrainingSection,
}


class Page:
    """What the sections of one open page share.

    Args:
        console: Shared by all pages.
        viewer: The page's secret name.
    """

    def __init__(self, console: Console, viewer: str) -> None:
        self.console, self.viewer = console, viewer
        self.operates = False

    async def command(self, act: Callable[[], Answer]) -> Answer:
        """Carry out a command of this page, and tell what became of it."""
        answer: Answer = await run_in_threadpool(self.console.command, self.viewer, act)
        self.tell(answer)
        return answer

    def tell(self, answer: Answer) -> None:
        """Show a sentence for some seconds."""
        ui.notify(answer.text, type="positive" if answer.done else "warning", position="top", multi_line=True)


def build_page(console: Console, viewer: str) -> None:
    """Make a page, for the browser that has just asked for one.

    Args:
        console: Shared by all pages.
        viewer: The page's secret name.
    """
    ui.add_head_html('<link rel="stylesheet" href="/static/console.css">')
    ui.colors(primary="#0b5394", positive="#1b6e2d", negative="#a61b1b", warning="#8a4b00")
    page = Page(console, viewer)
    head = _Head(page)
    sections: dict[str, tuple[ui.element, Section]] = {}
    with ui.element("main").classes("main"):
        for name, kind in SECTIONS.items():
            with ui.element("section").props(f'aria-label="{name}"') as frame:
                sections[name] = frame, kind(page)
    head.choose = lambda chosen: _show(sections, head, chosen)
    head.choose(next(iter(SECTIONS)))

    async def refresh() -> None:
        view = console.robot.view()
        page.operates = console.operators.operates(viewer, time.monotonic())
        head.refresh(view)
        for frame, section in sections.values():
            if frame.visible:
                await section.refresh(view)

    async def press(event: KeyEventArguments) -> None:
        if event.action.keydown:
            for frame, section in sections.values():
                if frame.visible:
                    await section.press(str(event.key))

    ui.keyboard(on_key=press, repeating=False)
    head.refresh(console.robot.view())
    ui.timer(REFRESH_S, refresh)


def _show(sections: dict[str, tuple[ui.element, Section]], head: _Head, chosen: str) -> None:
    for name, (frame, _) in sections.items():
        frame.set_visibility(name == chosen)
        head.mark(name, chosen=name == chosen)


class _Head:
    """Name and state of the robot, who operates, the way to the sections, and Stop."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.choose: Callable[[str], None] = lambda name: None
        with ui.element("header").classes("head"):
            with ui.element("div").classes("who"):
                self._name = ui.label().classes("robot").props('role="heading" aria-level="1"')
                self._place = ui.label().classes("place")
                LiveLink(f"/live?viewer={page.viewer}")
            with ui.element("div").classes("now"):
                self._state = ui.label().classes("state")
                self._leader = ui.label().classes("leader")
            with ui.element("nav").classes("sections").props('aria-label="Sections"'):
                self._links = {name: self._link(name) for name in SECTIONS}
            StopButton(STOP_HINT)
        with ui.element("div").classes("ask").props('role="alert"') as self._asked:
            self._asking = ui.label()
            ui.button("Let it operate", on_click=lambda: self._answer(True))
            ui.button("Keep operating", on_click=lambda: self._answer(False)).props("outline")
        with ui.element("div").classes("ask") as self._watching:
            self._operator = ui.label()
            ui.button("Take over", on_click=self._ask)

    def mark(self, name: str, *, chosen: bool) -> None:
        """Show which section is open."""
        self._links[name].props(f'aria-current="{"page" if chosen else "false"}"')

    def refresh(self, view: RobotView) -> None:
        """Show the newest."""
        operators, now = self._page.console.operators, time.monotonic()
        self._name.set_text(view.name)
        self._place.set_text("" if view.namespace == "/" else view.namespace)
        self._state.set_text(view.state or "no controller")
        self._state.classes(replace=f"state is-{view.state or 'absent'}")
        self._leader.set_text(view.leader)
        asking = operators.asking(now)
        self._asked.set_visibility(self._page.operates and asking != "")
        self._asking.set_text(f"{operators.name_of(asking)} asks to operate the robot.")
        self._watching.set_visibility(not self._page.operates)
        holder = operators.name_of(operators.operator)
        self._operator.set_text(
            f"You watch. {holder} operates the robot; Stop works for everybody."
            if holder
            else "Nobody operates the robot; Stop works for everybody."
        )

    def _link(self, name: str) -> ui.element:
        return (
            ui.button(name, on_click=lambda: self.choose(name)).props("flat no-caps").classes("section-link")
        )

    def _ask(self) -> None:
        operators = self._page.console.operators
        text = operators.ask(self._page.viewer, time.monotonic())
        self._page.tell(Answer(True, text[:1].upper() + text[1:]))

    def _answer(self, agreed: bool) -> None:
        operators = self._page.console.operators
        text = operators.answer(self._page.viewer, agreed, time.monotonic())
        self._page.tell(Answer(True, text[:1].upper() + text[1:]))
