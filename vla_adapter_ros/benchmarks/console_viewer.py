"""A page of the console without a browser: it acknowledges everything, as a browser does."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.request
from typing import Any

from vla_adapter_ros.errors import NoAnswerError

PATIENCE_S = 60.0


def free_port() -> int:
    """A TCP port of the loopback that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class ConsoleViewer:
    """An open page, and what came on its line.

    Args:
        port: Of a console on this computer; it may still start.

    Raises:
        NoAnswerError: it has no page within PATIENCE_S.
    """

    def __init__(self, port: int) -> None:
        from websockets.sync.client import connect

        self._address = f"localhost:{port}"
        origin: Any = f"http://{self._address}"
        self._line = connect(f"ws://{self._address}/live?viewer={self._open()}", origin=origin)
        self.pictures: dict[int, int] = {}
        """Camera's number -> pictures that came."""
        self.newest: dict[int, bytes] = {}
        """Camera's number -> its newest picture, JPEG."""
        self.texts: list[dict[str, Any]] = []
        """The newest curves, at most a hundred."""
        self.answers: list[tuple[float, dict[str, Any]]] = []
        """Answers to Stop, with the time when each came, by the steady clock [s]."""
        threading.Thread(target=self._read, name="viewer", daemon=True).start()

    def stop(self) -> float:
        """Press Stop; returns the time by the steady clock [s]."""
        now = time.monotonic()
        self._line.send("stop")
        return now

    def close(self) -> None:
        """Close the page."""
        self._line.close()

    def __enter__(self) -> ConsoleViewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            for message in self._line:
                if isinstance(message, bytes):
                    place = message[0]
                    self.pictures[place] = self.pictures.get(place, 0) + 1
                    self.newest[place] = message[1:]
                    self._line.send(f"a{place}")
                    continue
                content = json.loads(message)
                if "answer" in content:
                    self.answers.append((time.monotonic(), content["answer"]))
                else:
                    self.texts = [*self.texts[-99:], content]
                    self._line.send("b")
        except ConnectionClosed:
            pass

    def _open(self) -> str:
        """Load the page, as soon as the node is active; returns the page's secret name."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{self._address}/", timeout=PATIENCE_S) as answer:
                    html = answer.read().decode()
            except OSError:
                html = ""
            if found := re.search(r"/live\?viewer=([\w-]+)", html):
                return found[1]
            time.sleep(0.2)
        raise NoAnswerError(f"no page at {self._address} within {PATIENCE_S:g} s", sent=True)
