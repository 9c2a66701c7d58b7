"""Record: start, stop, save or discard episodes, and see what the recorder says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from vla_adapter_ros.console.episode_list import EpisodeList
from vla_adapter_ros.console.outcome_buttons import OutcomeButtons
from vla_adapter_ros.console.views import RobotView

if TYPE_CHECKING:
    from vla_adapter_ros.console.page import Page

LONG_MIN = 24 * 60  # more than this is no estimate that anybody needs [min]
BUTTONS = {  # command -> title, key, what it does
    "stop": ("Stop episode", " ", "End the episode; it is checked, and saved if it is good."),
    "save": ("Save", "1", "Save the episode that waits."),
    "discard": ("Discard", "2", "Throw the episode away."),
    "rerecord": ("Again", "3", "Throw the episode away and record it anew."),
}


class RecordSection:
    """Large buttons, their keys, and the newest episode's report.

    Args:
        page: Whose section it is.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._verdict: tuple[str, ...] = ()
        self._state = ""
        with ui.element("div").classes("record"):
            self._line = ui.label().classes("recorder").props('role="status"')
            self._reason = ui.label().classes("why")
            with ui.element("form").classes("instruct").on("submit.prevent", self._start):
                self._task = ui.input("Instruction of the next episode").props("outlined maxlength=500")
                ui.button("Start episode (space)").props("type=submit no-caps").classes("large")
            with ui.element("div").classes("commands"):
                for name, (title, key, text) in BUTTONS.items():
                    shown = f"{title} ({'space' if key == ' ' else key})"
                    ui.button(shown, on_click=lambda name=name: self._command(name)).tooltip(text).props(
                        "no-caps outline"
                    ).classes("large")
            self._outcome = OutcomeButtons(page)
            ui.label("Report of the newest episode").classes("title").props('role="heading" aria-level="2"')
            self._report = ui.element("ul").classes("report")
            store = page.console.episodes
            self._episodes = EpisodeList(page, store) if store is not None else None

    async def refresh(self, view: RobotView) -> None:
        """Show the newest."""
        recorder = view.recorder
        self._state = recorder.state
        self._line.set_text(_line(view))
        self._line.classes(replace=f"recorder is-{recorder.state or 'absent'}")
        self._reason.set_text(recorder.reason)
        self._outcome.refresh(recorder)
        if recorder.verdict != self._verdict:
            self._verdict = recorder.verdict
            self._report.clear()
            with self._report:
                for line in self._verdict:
                    level = line.split(":", 1)[0].split()[0].lower() if line.split() else ""
                    with ui.element("li").classes(f"level-{level}" if level.isalpha() else ""):
                        ui.label(line)
        if self._episodes is not None:
            await self._episodes.refresh()

    async def _start(self) -> None:
        text, robot = str(self._task.value or ""), self._page.console.robot
        answer = await self._page.command(lambda: robot.start_episode(text))
        if answer.done and text.strip():
            self._page.console.remember(" ".join(text.split()))

    async def _command(self, name: str) -> None:
        await self._page.command(lambda: self._page.console.robot.record(name))

    async def press(self, key: str) -> None:
        """A key was pressed while this section is open, and no field for text has the keyboard."""
        if key == " " and self._state != "recording":
            await self._start()
            return
        for name, (_, wanted, _) in BUTTONS.items():
            if key == wanted:
                await self._command(name)
        await self._outcome.press(key)


def _line(view: RobotView) -> str:
    recorder = view.recorder
    if not recorder.state:
        return "No recorder runs: start one with `vla-adapter bringup --record FOLDER`."
    parts = [
        {"recording": f"Records episode {recorder.episode}", "pending": "An episode waits to be saved"}.get(
            recorder.state, "Records nothing"
        ),
        f"{recorder.episodes} episodes saved",
    ]
    if recorder.state == "recording":
        parts += [f"{recorder.frames} frames", f"{recorder.rate_hz:.1f} Hz", f"{recorder.dropped} dropped"]
    if recorder.saving:
        parts.append(f"{recorder.saving} being saved")
    if recorder.minutes_left < LONG_MIN:
        parts.append(f"disk for {recorder.minutes_left:.0f} min")
    return "; ".join(parts) + "."
