"""The door of the console: every request passes it, whatever application lies behind.

It refuses other hosts and origins, so that no page of somebody else can command the robot through the
operator's browser, and it asks for the token where one is needed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from vla_adapter_ros.console.access import Access
from vla_adapter_ros.console.login_page import login_page

COOKIE = "vla_adapter_console"
LOGIN = "/login"
MOST_BYTES = 100_000  # of a request: nothing is uploaded
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_SAFE = ("GET", "HEAD")
_KEEP_S = 30 * 24 * 3600  # how long a browser keeps the cookie
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# NiceGUI's pages compile their templates in the browser, which needs eval and scripts in the page itself.
# Everything else comes from the console: nothing is loaded from, or sent to, anybody else.
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src 'self'; "
        "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Wraps a web application (ASGI).

    Args:
        application: Lies behind the door.
        access: Who may come in.
        local: Whether only this computer is spoken to, under one of LOCAL_NAMES: a name of somebody else that
            leads here (DNS rebinding) is refused then.
        encrypted: Whether the console speaks TLS.
    """

    def __init__(
        self, application: Application, access: Access, *, local: bool, encrypted: bool = False
    ) -> None:
        self._application, self._access = application, access
        self._local, self._encrypted = local, encrypted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        request = Request(scope)
        if refusal := self._why_foreign(request):
            await _refuse(scope, send, 403, refusal)
        elif request.size > MOST_BYTES:
            await _refuse(scope, send, 413, f"a request of {request.size} bytes: allowed are {MOST_BYTES}")
        elif self._access.is_open or self._access.allows(request.cookie):
            await self._application(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await self._log_in(request, receive, send)
        else:
            await _refuse(scope, send, 401, "the console asks for its token")

    def _why_foreign(self, request: Request) -> str:
        """Why a request is not one of our own page; empty if it may be."""
        if self._local and _host_name(request.host) not in LOCAL_NAMES:
            return f"this console is for {', '.join(LOCAL_NAMES)} only"
        if request.origin:
            scheme = "https" if self._encrypted else "http"
            return "" if request.origin == f"{scheme}://{request.host}" else "this is another origin"
        if request.site in ("same-origin", "none", "") or request.is_navigation:
            return ""
        return "this is another site"

    async def _log_in(self, request: Request, receive: Receive, send: Send) -> None:
        """Take a token from the address or the form into a cookie; else ask for it."""
        given = request.query.get("token", "")
        if request.path == LOGIN and request.method == "POST":
            given = (await _form(receive)).get("token", "")
        now = time.monotonic()
        if given and self._access.attempt(given, request.address, now):
            await _answer(send, 303, b"", {"location": "/", "set-cookie": self._cookie(given)})
            return
        wait = self._access.wait_s(request.address, now)
        problem = ""
        if wait > 0.0:
            problem = f"Too many wrong tokens: wait {wait:.0f} s."
        elif given:
            problem = "This is not the console's token."
        status = 429 if wait > 0.0 else 401
        await _answer(send, status, login_page(problem), {"content-type": "text/html; charset=utf-8"})

    def _cookie(self, token: str) -> str:
        secure = "; Secure" * self._encrypted
        return f"{COOKIE}={token}; Path=/; Max-Age={_KEEP_S}; HttpOnly; SameSite=Strict{secure}"


class Request:
    """What the door looks at in a request.

    Args:
        scope: Of ASGI, http or websocket.
    """

    def __init__(self, scope: Scope) -> None:
        self._headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        self.method = str(scope.get("method", "GET"))
        self.path = str(scope["path"])
        self.is_page = scope["type"] == "http"
        self.query = {k: v[-1] for k, v in parse_qs(scope.get("query_string", b"").decode("latin-1")).items()}
        self.address = str((scope.get("client") or ("unknown",))[0])

    @property
    def host(self) -> str:
        """Host and port that the browser believes to speak to."""
        return self._headers.get("host", "").lower()

    @property
    def origin(self) -> str:
        """Where the page comes from that sends this; browsers say so for all that may change something."""
        return self._headers.get("origin", "").lower()

    @property
    def site(self) -> str:
        """What browsers say about who sends this; empty: no browser."""
        return self._headers.get("sec-fetch-site", "")

    @property
    def is_navigation(self) -> bool:
        """Whether somebody follows a link to the first page, which changes nothing."""
        follows = self._headers.get("sec-fetch-mode") == "navigate"
        return self.is_page and follows and self.method in _SAFE and self.path == "/"

    @property
    def size(self) -> int:
        """Announced size of the body [byte]."""
        text = self._headers.get("content-length", "0")
        return int(text) if text.isascii() and text.isdigit() else MOST_BYTES + 1

    @property
    def cookie(self) -> str:
        """The token in the cookie; empty without one."""
        try:
            found = SimpleCookie(self._headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return found.value if found is not None else ""


def _host_name(host: str) -> str:
    """`localhost:8080` is localhost."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
    return f"[{name}]" if ":" in name else name


async def _form(receive: Receive) -> dict[str, str]:
    """Fields of a small form."""
    body = b""
    while len(body) <= MOST_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return {k: v[-1] for k, v in parse_qs(body[:MOST_BYTES].decode("latin-1")).items()}


async def _refuse(scope: Scope, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4000 + status, "reason": text})
    else:
        await _answer(send, status, text.encode(), {"content-type": "text/plain; charset=utf-8"})


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    every = {**HEADERS, "cache-control": "no-store", "content-length": str(len(body)), **headers}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in every.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    """Adds HEADERS to what the application answers, where it says nothing stricter of its own."""

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            said = {name.decode("latin-1").lower() for name, _ in message["headers"]}
            ours = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name not in said]
            message = {**message, "headers": [*message["headers"], *ours]}
        await send(message)

    return send_with_headers
