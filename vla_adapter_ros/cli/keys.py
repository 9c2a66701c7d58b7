"""Keys of a terminal, one at a time. A foot pedal or a presenter is a keyboard too."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from vla_adapter_ros.errors import ParameterError

_SEQUENCES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left",
    b"\x1b[5~": "pageup", b"\x1b[6~": "pagedown", b"\x1b[H": "home", b"\x1b[F": "end",
    b"\x1b[15~": "f5", b"\x1b[17~": "f6", b"\x1b[18~": "f7", b"\x1b[19~": "f8",
    b" ": "space", b"\r": "enter", b"\n": "enter", b"\t": "tab", b"\x1b": "escape",
}  # fmt: skip
NAMES = tuple(dict.fromkeys(_SEQUENCES.values()))


def parse_keys(text: str, commands: tuple[str, ...], defaults: Mapping[str, str]) -> dict[str, str]:
    """Key -> command, from pairs such as "toggle=b discard=pageup" on top of the defaults.

    Raises:
        ParameterError: an unknown command or key.
    """
    keys = dict(defaults)
    for pair in text.replace(",", " ").split():
        command, _, key = pair.partition("=")
        if command not in commands or (len(key) != 1 and key not in NAMES):
            raise ParameterError(
                f"keys {pair!r}: allowed is command=key, of the commands {', '.join(commands)}; "
                f"a key is one character or {', '.join(NAMES)}"
            )
        keys[key] = command
    return keys


def split_keys(data: bytes) -> list[str]:
    """Names of the keys in what a terminal sent."""
    names = []
    while data:
        found = next((s for s in sorted(_SEQUENCES, key=len, reverse=True) if data.startswith(s)), None)
        if found is not None:
            names.append(_SEQUENCES[found])
            data = data[len(found) :]
        else:
            length = next((n for n in (1, 2, 3, 4) if _decodes(data[:n])), 1)
            names.append(data[:length].decode("utf-8", errors="replace"))
            data = data[length:]
    return names


def _decodes(data: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        data.decode("utf-8")
        return True
    return False


class Keyboard:
    """A context in which the terminal gives out keys at once and does not show them."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self.is_terminal = os.isatty(self._descriptor)
        self._before: list[Any] = []  # the terminal's settings
        self.ended = False
        """Whether the input has ended."""

    def __enter__(self) -> Keyboard:
        if self.is_terminal:
            import termios
            import tty

            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor, termios.TCSADRAIN)  # keys pressed already are kept
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def read(self, patience_s: float) -> list[str]:
        """Keys that were pressed, after at most `patience_s` of waiting."""
        ready, _, _ = select.select([self._descriptor], [], [], patience_s)
        if not ready:
            return []
        data = os.read(self._descriptor, 256)
        self.ended = not data
        return split_keys(data)

    @contextlib.contextmanager
    def whole_lines(self) -> Iterator[None]:
        """The terminal's usual behavior, to ask for a line of text."""
        self._restore()
        try:
            yield
        finally:
            self.__enter__()

    def _restore(self) -> None:
        if self.is_terminal:
            import termios

            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
