"""A text field whose suggestions may change while somebody types."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui


class SuggestingInput(ui.input):
    """New suggestions wait until the operator has left the field.

    With an update of its properties, NiceGUI sends a field's text as it knows it, which is older than what
    is being typed, and would undo that.

    Args:
        label: What is shown above the text.
        placeholder: An example.
        suggestions: That the page begins with.
    """

    def __init__(self, label: str, placeholder: str = "", suggestions: Sequence[str] = ()) -> None:
        super().__init__(label, placeholder=placeholder, autocomplete=list(suggestions))
        self._shown, self._wanted = tuple(suggestions), tuple(suggestions)
        self._typing = False
        self.on("focus", lambda: self._type(True))
        self.on("blur", lambda: self._type(False))

    def suggest(self, texts: Sequence[str]) -> None:
        """Suggest these texts from now on."""
        self._wanted = tuple(texts)
        self._show()

    def _type(self, begins: bool) -> None:
        self._typing = begins
        self._show()

    def _show(self) -> None:
        if not self._typing and self._wanted != self._shown:
            self._shown = self._wanted
            self.set_autocomplete(list(self._shown))
