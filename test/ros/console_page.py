"""A page of the console without a browser: its HTML, and its line."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.request
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class ConsolePage:
    """An open page: it acknowledges everything, as a browser does, and keeps what came."""

    def __init__(self, port: int) -> None:
        self._address = f"localhost:{port}"
        self.viewer = self._open()
        origin = f"http://{self._address}"
        self._line = connect(f"ws://{self._address}/live?viewer={self.viewer}", origin=origin)
        self.pictures: dict[int, list[bytes]] = {}
        self.texts: list[dict] = []
        self.answers: list[tuple[float, dict]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def stop(self) -> None:
        """Press Stop."""
        self._line.send("stop")

    def close(self) -> None:
        self._line.close()

    def _read(self) -> None:
        try:
            for message in self._line:
                if isinstance(message, bytes):
                    self.pictures.setdefault(message[0], []).append(message[1:])
                    self._line.send(f"a{message[0]}")
                    continue
                content = json.loads(message)
                if "answer" in content:
                    self.answers.append((time.monotonic(), content["answer"]))
                else:
                    self.texts.append(content)
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
        raise AssertionError(f"no page at {self._address}: {html[:500]}")


@contextmanager
def open_page(port: int):
    page = ConsolePage(port)
    try:
        yield page
    finally:
        page.close()
