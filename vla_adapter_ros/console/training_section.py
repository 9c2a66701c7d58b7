"""Training: how far fine-tunings are, and which checkpoint the robot follows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from vla_adapter_ros.console.runs import LOSS, VALIDATION, Run
from vla_adapter_ros.console.views import RobotView
from vla_adapter_ros.errors import DatasetError

if TYPE_CHECKING:
    from vla_adapter_ros.console.page import Page

EVERY = 20  # refreshes of the page between two looks at the folder
TITLES = {"report": "Report", "data": "Data"}


class TrainingSection:
    """A card per fine-tuning.

    Args:
        page: Whose section it is.
    """

    def __init__(self, page: Page) -> None:
        self._page, self._looks = page, 0
        self._known: list[Run] | None = None
        with ui.element("div").classes("record"):
            self._loaded = ui.label().classes("followed")
            self._cards = ui.element("div").classes("runs")
        if page.console.runs is None:
            with self._cards:
                ui.label("No folder of fine-tunings is shown: start the console with --runs FOLDER.")

    async def press(self, key: str) -> None:
        """No key means anything here."""

    async def refresh(self, view: RobotView) -> None:
        """Show the newest."""
        self._loaded.set_text(f"On the robot: {view.checkpoint or 'no checkpoint'}")
        store = self._page.console.runs
        self._looks += 1
        if store is None or (self._looks - 1) % EVERY:
            return
        runs = await run_in_threadpool(store.runs)
        if runs == self._known and not any(r.state == "running" for r in runs):
            return
        self._known = runs
        losses = [await run_in_threadpool(partial(_losses, self._page, r.name)) for r in runs]
        self._cards.clear()
        with self._cards:
            if not runs:
                ui.label(f"No fine-tuning lies in {store.root}.")
            for entry, curves in zip(runs, losses, strict=True):
                self._add(entry, curves)

    def _add(self, entry: Run, losses: dict[str, list[tuple[int, float]]]) -> None:
        with ui.element("article").classes("run-card"):
            ui.label(entry.name).classes("title").props('role="heading" aria-level="2"')
            ui.label(_progress(entry, losses))
            if any(losses.values()):
                ui.echart(_chart(losses)).classes("losses").props('role="img" aria-label="losses by step"')
            with ui.element("div").classes("commands"):
                for page in entry.pages:
                    ui.link(
                        TITLES.get(page, page), f"/runs/{quote(entry.name)}/{page}", new_tab=True
                    ).classes("page-link")
                for folder in entry.checkpoints:
                    ui.button(f"Put {folder.name} on the robot", on_click=partial(self._ask, folder)).props(
                        "outline no-caps"
                    )

    def _ask(self, folder: Path) -> None:
        with ui.dialog() as dialog, ui.card():
            ui.label(f"Put {folder} on the robot?").classes("title")
            ui.label(
                "The instruction that is followed ends. The new checkpoint is compared with the robot's "
                "contract and tried once; if it does not fit, the old one comes back. Nothing moves before "
                "an instruction."
            )
            with ui.element("div").classes("commands"):
                ui.button("Put it on", on_click=partial(self._put, dialog, folder)).props("no-caps")
                ui.button("Leave it", on_click=dialog.close).props("outline no-caps")
        dialog.open()

    async def _put(self, dialog: ui.dialog, folder: Path) -> None:
        dialog.close()
        await self._page.command(lambda: self._page.console.robot.put_checkpoint(str(folder)))


def _losses(page: Page, name: str) -> dict[str, list[tuple[int, float]]]:
    store = page.console.runs
    try:
        return store.losses(name) if store is not None else {}
    except DatasetError:
        return {}


def _progress(entry: Run, losses: dict[str, list[tuple[int, float]]]) -> str:
    parts = [entry.state]
    for tag, title in ((LOSS, "loss"), (VALIDATION, "validation loss")):
        if points := losses.get(tag):
            step, value = points[-1]
            parts.append(f"{title} {value:.4f} after {step} steps")
    return "; ".join(parts)


def _chart(losses: dict[str, list[tuple[int, float]]]) -> dict[str, object]:
    series = [
        {"name": name, "type": "line", "data": losses[tag], "showSymbol": len(losses[tag]) < 20}
        for tag, name in ((LOSS, "training"), (VALIDATION, "validation"))
        if losses.get(tag)
    ]
    return {
        "animation": False,
        "legend": {"top": 0},
        "grid": {"left": 60, "right": 20, "top": 30, "bottom": 40},
        "color": ["#0b5394", "#b35300"],
        "xAxis": {"type": "value", "name": "step", "nameLocation": "middle", "nameGap": 24},
        "yAxis": {"type": "log", "name": "L1 loss"},
        "series": series,
    }
