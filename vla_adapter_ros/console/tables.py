"""A table of texts that the page keeps up to date."""

from __future__ import annotations

from nicegui import ui


class Table:
    """A small table that changes only where its content does.

    Args:
        title: What it shows, for those who cannot see it.
        columns: Titles; all empty: no head.
    """

    def __init__(self, title: str, columns: tuple[str, ...]) -> None:
        with ui.element("table").classes("facts").props(f'aria-label="{title}"'):
            if any(columns):
                with ui.element("thead"), ui.element("tr"):
                    for column in columns:
                        with ui.element("th").props("scope=col"):
                            ui.label(column)
            self._body = ui.element("tbody")
        self._cells: list[list[ui.label]] = []

    def fill(self, rows: list[tuple[str, ...]]) -> None:
        """Show these rows."""
        if len(rows) != len(self._cells):
            self._body.clear()
            with self._body:
                self._cells = [self._row(row) for row in rows]
        for cells, row in zip(self._cells, rows, strict=True):
            for cell, text in zip(cells, row, strict=True):
                cell.set_text(text)

    def _row(self, row: tuple[str, ...]) -> list[ui.label]:
        cells = []
        with ui.element("tr"):
            for text in row:
                with ui.element("td"):
                    cells.append(ui.label(text))
        return cells
