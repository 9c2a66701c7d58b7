"""Serves a console's pages: one web application per process, in a thread of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from nicegui import app as core
from nicegui import ui

from vla_adapter_ros.console.access import Access
from vla_adapter_ros.console.console import Console
from vla_adapter_ros.console.files import add_files
from vla_adapter_ros.console.guard import Guard
from vla_adapter_ros.console.live import MOST_VIEWERS
from vla_adapter_ros.console.page import build_page
from vla_adapter_ros.errors import ConsoleError

STATIC = Path(__file__).parent / "static"
CLOSED_BY_USER = 1001  # RFC 6455: the page was closed, or another one is loaded
_MOST_TEXT = 1_000_000  # bytes of a message from a page


@dataclass(frozen=True)
class Address:
    """Where the console listens.

    Attributes:
        host: Name or address; of this computer alone unless a token is asked for.
        port: TCP port; 0: any free one.
        certificate, key: Files for TLS; None: without.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None

    @property
    def local(self) -> bool:
        """Whether nobody but this computer can reach it."""
        return is_loopback(self.host)

    @property
    def encrypted(self) -> bool:
        """Whether it speaks TLS."""
        return self.certificate is not None


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this computer's own, and nobody else can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class WebServer:
    """Listens from its making until `close`.

    Args:
        current: The console of the moment; None while there is none, of which the pages then tell.
        address: Where to listen.
        access: Who may come in; whoever is not on this computer needs a token.

    Raises:
        ConsoleError: the address cannot be had, or is open to others without a token.
    """

    def __init__(self, current: Callable[[], Console | None], address: Address, access: Access) -> None:
        if access.is_open and not address.local:
            raise ConsoleError(f"host = {address.host}: others can reach it, so a token is needed")
        listener = _listen(address)
        self.port = int(listener.getsockname()[1])
        guard = Guard(make_application(current), access, local=address.local, encrypted=address.encrypted)
        config = uvicorn.Config(
            guard,
            log_level=logging.WARNING,
            lifespan="on",
            server_header=False,
            proxy_headers=False,
            ws_max_size=_MOST_TEXT,
            timeout_graceful_shutdown=1,
            ssl_certfile=address.certificate,
            ssl_keyfile=address.key,
        )
        try:
            config.load()
        except OSError as error:  # of TLS
            listener.close()
            raise ConsoleError(
                f"{address.certificate}, {address.key}: no certificate with its key: {error}"
            ) from None
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="console", daemon=True
        )
        self._thread.start()
        shown = "localhost" if address.local else address.host
        self.url = f"http{'s' * address.encrypted}://{shown}:{self.port}/"

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Let go of all pages."""
        self._server.should_exit = True
        self._thread.join(timeout=5.0)


def make_application(current: Callable[[], Console | None]) -> FastAPI:
    """The web application; once per process, as NiceGUI's is."""
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    application.mount("/static", StaticFiles(directory=STATIC, follow_symlink=True))
    add_files(application, current)

    @application.websocket("/live")
    async def live(line: WebSocket, viewer: str = "") -> None:
        console, address = current(), line.client.host if line.client else "unknown"
        if console is None or not console.connect(viewer, address):
            await line.close(code=4404, reason="load the page anew")
            return
        if len(console.hub) >= MOST_VIEWERS:
            await line.close(code=4429, reason=f"{MOST_VIEWERS} pages are open already")
            return
        await line.accept()
        stops: set[asyncio.Task[None]] = set()

        async def stop() -> None:
            answer = await console.robot.stop()
            await line.send_text(json.dumps({"answer": asdict(answer)}))

        def heard(word: str) -> None:
            if word == "b":
                console.hear(viewer)
            elif word == "stop":  # not waited for: pictures go on, and so do further stops
                task = asyncio.create_task(stop())
                stops.add(task)
                task.add_done_callback(stops.discard)

        await line.send_text(json.dumps(console.curves.content()))
        ended = await console.hub.serve(line, heard)
        if isinstance(ended, WebSocketDisconnect) and ended.code == CLOSED_BY_USER:
            console.leave(viewer)

    @application.post("/stop")
    async def stop(request: Request) -> JSONResponse:
        console = current()
        if console is None:
            return JSONResponse({"done": False, "text": INACTIVE}, 503)
        answer = await console.robot.stop()
        return JSONResponse(asdict(answer))

    @ui.page("/", title="Robot console")
    def page(request: Request) -> None:
        console, address = current(), request.client.host if request.client else "unknown"
        if console is None:
            ui.add_head_html('<meta http-equiv="refresh" content="2">')
            ui.label(INACTIVE)
            return
        build_page(console, console.new_page(address))

    core.config.quasar_config["loadingBar"] = {"skipHijack": True}  # it has no name for who cannot see it
    ui.run_with(
        application,
        title="Robot console",
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )
    return application


INACTIVE = "The console node is not active: activate it, and this page shows the robot."


def _listen(address: Address) -> socket.socket:
    """A listening socket, so that a port that is taken is told at once."""
    try:
        found = socket.getaddrinfo(address.host.strip("[]"), address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, place = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen()
    except OSError as error:
        raise ConsoleError(
            f"cannot listen on {address.host}:{address.port}: {error.strerror or error}: allowed is a free "
            "port of this computer"
        ) from None
    return listener
