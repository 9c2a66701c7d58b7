"""What all open pages see at once: the newest picture of each camera, and the newest curves.

A picture is encoded once, for all pages. Nothing queues up: a page gets the newest picture once it has
acknowledged the one before, so that a slow page, or one that hangs, costs neither memory nor the others.

On the socket, a picture is a byte with the camera's number, then a JPEG; everything else is text. The page
answers `a` and the number for each picture, `b` for each text, and sends `stop` to stop the arm.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

SEND_WITHIN_S = 5.0
"""A page that takes nothing for so long is given up; it connects again once it lives."""
MOST_VIEWERS = 16
_BEAT = -1  # place of the text among what a page acknowledges


class Socket(Protocol):
    """A WebSocket as Starlette has it."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""

    async def send_text(self, data: str) -> None:
        """Send a text."""

    async def receive_text(self) -> str:
        """Wait for a text; raises once the other side is gone."""


class LiveHub:
    """Takes pictures and texts from any thread, and hands the newest to each page.

    Args:
        cameras: Their names, in order.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        self.cameras = tuple(cameras)
        self._lock = threading.Lock()
        self._pictures: list[tuple[int, bytes]] = [(0, b"")] * len(
            self.cameras
        )  # number, with its first byte
        self._text = (0, "")
        self._viewers: set[_Viewer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        """Open pages."""
        return len(self._viewers)

    @property
    def watched(self) -> bool:
        """Whether any page is open: without one, nothing needs to be decoded."""
        return bool(self._viewers)

    def put_picture(self, camera: str, jpeg: bytes) -> None:
        """The newest picture of a camera, as JPEG."""
        place = self.cameras.index(camera)
        with self._lock:
            self._pictures[place] = self._pictures[place][0] + 1, bytes([place]) + jpeg
        self._wake()

    def put_text(self, text: str) -> None:
        """The newest of everything else, for the pages' scripts."""
        with self._lock:
            self._text = self._text[0] + 1, text
        self._wake()

    async def serve(
        self, socket: Socket, heard: Callable[[str], Awaitable[Any] | None]
    ) -> BaseException | None:
        """Serve one page until it is gone.

        Args:
            socket: Accepted.
            heard: Called with each word of the page that is no acknowledgment of a picture; `b` shows that
                the page is alive.

        Returns:
            What the socket raised when the page had gone.
        """
        self._loop = asyncio.get_running_loop()
        viewer = _Viewer()
        self._viewers.add(viewer)
        sending = asyncio.create_task(self._send(viewer, socket))
        hearing = asyncio.create_task(self._hear(viewer, socket, heard))
        try:
            await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
            ended = hearing if hearing.done() else sending
            return ended.exception()
        finally:
            self._viewers.discard(viewer)
            for task in (sending, hearing):
                task.cancel()
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    await task

    async def _send(self, viewer: _Viewer, socket: Socket) -> None:
        """Send what is new, each time something is."""
        while True:
            await viewer.news.wait()
            viewer.news.clear()
            with self._lock:
                pictures, text = list(self._pictures), self._text
            if viewer.may_have(_BEAT, text[0]):
                await asyncio.wait_for(socket.send_text(text[1]), SEND_WITHIN_S)
            for place, (number, data) in enumerate(pictures):
                if viewer.may_have(place, number):
                    await asyncio.wait_for(socket.send_bytes(data), SEND_WITHIN_S)

    async def _hear(
        self, viewer: _Viewer, socket: Socket, heard: Callable[[str], Awaitable[Any] | None]
    ) -> None:
        while True:
            word = await socket.receive_text()
            if word[:1] == "a" and word[1:].isascii() and word[1:].isdigit() and len(word) < 4:
                viewer.acknowledge(int(word[1:]))
                continue
            if word == "b":
                viewer.acknowledge(_BEAT)
            if (waits := heard(word[:200])) is not None:
                await waits

    def _wake(self) -> None:
        """Have every page's sender look for what is new; from any thread."""
        loop = self._loop
        if loop is not None and self._viewers:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                loop.call_soon_threadsafe(self._tell_all)

    def _tell_all(self) -> None:
        for viewer in self._viewers:
            viewer.news.set()


class _Viewer:
    """What one page has got, and what it has not acknowledged yet."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.news.set()
        self._sent: dict[int, int] = {}  # place -> number of what was sent last
        self._awaited: set[int] = set()  # places whose acknowledgment has not come

    def may_have(self, place: int, number: int) -> bool:
        """Whether the newest of a place is to be sent now; if so, it counts as sent."""
        if number == self._sent.get(place, 0) or place in self._awaited:
            return False
        self._sent[place] = number
        self._awaited.add(place)
        return True

    def acknowledge(self, place: int) -> None:
        """The page has shown what was sent."""
        self._awaited.discard(place)
        self.news.set()
