"""The episodes of the data set with their thumbnails; one of them can be played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from vla_adapter_ros.console.elements import Replay
from vla_adapter_ros.console.episodes import EpisodeRow, EpisodeStore

if TYPE_CHECKING:
    from vla_adapter_ros.console.page import Page


class EpisodeList:
    """Shows a data set, and what was chosen of it.

    Args:
        page: Whose part it is.
        store: Reads the data set.
    """

    def __init__(self, page: Page, store: EpisodeStore) -> None:
        self._page, self._store = page, store
        self._shown: list[EpisodeRow] | None = None
        ui.label("Episodes").classes("title").props('role="heading" aria-level="2"')
        self._replay = ui.element("div")
        self._list = ui.element("div").classes("episodes")

    async def refresh(self) -> None:
        """Show the newest, if anything has changed."""
        rows = await run_in_threadpool(self._store.rows)
        if rows == self._shown:
            return
        self._shown = rows
        self._list.clear()
        with self._list:
            if not rows:
                ui.label("No episode is saved yet.")
            for row in rows:
                self._add(row)

    def _add(self, row: EpisodeRow) -> None:
        with ui.button(on_click=lambda: self._play(row.number)).props("flat no-caps").classes("episode"):
            with ui.element("span").classes("episode-inside"):
                ui.element("img").props(
                    f'src="/episodes/{row.number}/thumbnail" loading="lazy" alt=""'
                ).classes("thumbnail")
                ui.label(f"Episode {row.number}").classes("episode-name")
                ui.label(row.instruction).classes("episode-text")
                ui.label(f"{row.seconds:.1f} s").classes("rate")

    async def _play(self, number: int) -> None:
        cameras = await run_in_threadpool(lambda: self._store.cameras)
        self._replay.clear()
        with self._replay:
            with ui.element("div").classes("replay-head"):
                ui.label(f"Episode {number}").classes("title")
                ui.button("Close", on_click=self._replay.clear).props("outline no-caps")
            Replay(number, cameras)
