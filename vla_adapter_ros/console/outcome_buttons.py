"""How the newest episode ended: success or failure, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from vla_adapter_ros.console.suggesting_input import SuggestingInput
from vla_adapter_ros.console.views import Recorder

if TYPE_CHECKING:
    from vla_adapter_ros.console.page import Page

OUTCOMES = {"success": ("It succeeded", "s"), "failure": ("It failed", "f")}
MOST_LETTERS = 200


class OutcomeButtons:
    """A button per outcome, and a reason: one of the laboratory's, or typed.

    Args:
        page: Whose part it is.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._reasons: tuple[str, ...] = ()
        self._newest = -1
        self._said = ui.label().classes("followed")
        with ui.element("div").classes("commands"):
            self._reason = SuggestingInput("Why (if you like)").props(f"outlined maxlength={MOST_LETTERS}")
            for outcome, (title, key) in OUTCOMES.items():
                ui.button(f"{title} ({key})", on_click=lambda outcome=outcome: self._label(outcome)).props(
                    "outline"
                ).classes("large")
            ui.button("Take back", on_click=lambda: self._label("")).props("outline").classes("large")

    def refresh(self, recorder: Recorder) -> None:
        """Show the newest."""
        if recorder.reasons != self._reasons:
            self._reasons = recorder.reasons
            self._reason.suggest(self._reasons)
        if recorder.newest != self._newest:
            self._newest = recorder.newest
            self._reason.set_value("")
        self._said.set_text(_said(recorder))

    async def press(self, key: str) -> None:
        """A key was pressed."""
        for outcome, (_, wanted) in OUTCOMES.items():
            if key == wanted:
                await self._label(outcome)

    async def _label(self, outcome: str) -> None:
        reason = str(self._reason.value or "").strip() if outcome else ""
        await self._page.command(lambda: self._page.console.robot.label(outcome, reason))


def _said(recorder: Recorder) -> str:
    if recorder.newest < 0:
        return "No episode yet whose end could be labeled."
    parts = [f"Episode {recorder.newest}: {recorder.outcome or 'nothing was said of its end'}"]
    if recorder.outcome_reason:
        parts.append(recorder.outcome_reason)
    if recorder.interventions:
        parts.append(f"{recorder.interventions} interventions")
    return "; ".join(parts)
