"""Nobody else's page commands the robot: hosts, origins, tokens, sizes and what browsers are told."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="the console is not installed: pip install vla_adapter_ros[console]")
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from vla_adapter_ros.console.access import TRIES, Access, hash_token
from vla_adapter_ros.console.guard import COOKIE, MOST_BYTES, Guard

TOKEN = "a-token-of-the-test"
HOST = "localhost:8088"


async def answer(request):
    return PlainTextResponse("inside")


async def line(socket):
    await socket.accept()
    await socket.send_text("inside")
    await socket.close()


def inside() -> Starlette:
    methods = ["GET", "POST"]
    return Starlette(routes=[Route("/{path:path}", answer, methods=methods), WebSocketRoute("/live", line)])


def client(
    access: Access | None = None, *, local: bool = True, encrypted: bool = False, **options
) -> TestClient:
    guard = Guard(inside(), access or Access(), local=local, encrypted=encrypted)
    return TestClient(guard, base_url=f"http://{HOST}", follow_redirects=False, **options)


def test_our_own_page_is_let_in():
    browser = client()
    assert browser.get("/").text == "inside"
    headers = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
    assert browser.post("/stop", headers=headers).text == "inside"
    with browser.websocket_connect("/live", headers={"origin": f"http://{HOST}", "host": HOST}) as socket:
        assert socket.receive_text() == "inside"


ORIGINS = [
    "http://evil.example", "null", "http://localhost:9999", f"https://{HOST}", "http://localhost:8088.evil.example",
    "http://evil.example/localhost:8088",
]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_another_origin_is_refused(origin):
    browser = client()
    assert browser.post("/stop", headers={"origin": origin}).status_code == 403
    assert browser.get("/", headers={"origin": origin}).status_code == 403
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/live", headers={"origin": origin}):
        pass


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_fetches_is_refused(site):
    browser = client()
    fetches = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    assert browser.get("/episodes/0/thumbnail", headers=fetches).status_code == 403
    assert browser.post("/stop", headers=fetches).status_code == 403
    follows = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
    assert browser.get("/", headers=follows).status_code == 200, "a link to the first page may be followed"
    assert browser.get("/stop", headers=follows).status_code == 403
    assert browser.post("/", headers=follows).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8088", "10.0.0.5:8088", "", "[::1"])
def test_a_name_of_somebody_else_that_leads_here_is_refused(host):
    assert client().get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8088", "[::1]:8088", "LOCALHOST:8088"])
def test_names_of_this_computer_are_fine(host):
    assert client().get("/", headers={"host": host}).status_code == 200


def with_token(**options) -> TestClient:
    return client(Access(hash_token(TOKEN)), local=False, **options)


def test_without_the_token_nothing_is_shown():
    browser = with_token()
    for path in ("/", "/live", "/static/console.css", "/episodes/0/thumbnail", "/_nicegui/x"):
        refused = browser.get(path)
        assert refused.status_code == 401 and "inside" not in refused.text
    assert browser.post("/stop").status_code == 401
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/live"):
        pass


def test_the_token_of_the_address_becomes_a_cookie():
    browser = with_token()
    opened = browser.get("/", params={"token": TOKEN})
    assert opened.status_code == 303 and opened.headers["location"] == "/"
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Secure" not in cookie
    assert browser.get("/").text == "inside"
    with browser.websocket_connect("/live", headers={"cookie": f"{COOKIE}={TOKEN}"}) as socket:
        assert socket.receive_text() == "inside"


def test_the_token_of_the_form_becomes_a_cookie():
    browser = with_token()
    assert browser.post("/login", data={"token": TOKEN}).status_code == 303
    assert browser.get("/").text == "inside"


def test_over_tls_the_cookie_stays_there():
    browser = with_token(encrypted=True)
    assert "Secure" in browser.get("/", params={"token": TOKEN}).headers["set-cookie"]


def test_a_cookie_does_not_open_the_door_to_other_origins():
    browser = with_token(cookies={COOKIE: TOKEN})
    assert browser.get("/").text == "inside"
    assert browser.post("/stop", headers={"origin": "http://evil.example"}).status_code == 403
    headers = {"origin": "http://evil.example", "cookie": f"{COOKIE}={TOKEN}"}
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/live", headers=headers):
        pass


@pytest.mark.parametrize("cookie", ["", "wrong", f"{TOKEN}x", "\u20ac".encode().decode("latin-1")])
def test_a_wrong_cookie_opens_nothing(cookie):
    refused = with_token().get("/", headers={"cookie": f"{COOKIE}={cookie}".encode("latin-1")})
    assert refused.status_code == 401


def test_guessing_is_slowed_down():
    browser = with_token()
    answers = [browser.get("/", params={"token": f"guess{n}"}).status_code for n in range(TRIES + 2)]
    assert answers == [401] * (TRIES - 1) + [429] * 3
    late = browser.post("/login", data={"token": TOKEN})
    assert late.status_code == 429 and "set-cookie" not in late.headers and "wait" in late.text


def test_what_was_typed_does_not_become_markup():
    refused = with_token().get("/", params={"token": "<script>alert(1)</script>"})
    assert "<script>alert" not in refused.text


def test_large_requests_are_refused():
    browser = client()
    assert browser.post("/stop", content=b"x" * (MOST_BYTES + 1)).status_code == 413
    assert browser.post("/stop", headers={"content-length": "-1"}, content=b"").status_code == 413


def test_browsers_are_told_to_load_from_nobody_else():
    headers = client().get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
    assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"
