"""Pages of the console in a real Chromium without a window, for the benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from vla_adapter_ros.errors import ConsoleError

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--disable-dev-shm-usage",
    "--window-size=1440,900",
    "--no-first-run",
    *["--no-sandbox"] * (os.geteuid() == 0),
)
OPEN_WITHIN_S = 60.0


def chromium_path() -> str:
    """The browser of CHROMIUM=PATH, else the system's; empty without one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")


@contextlib.contextmanager
def browser_pages(port: int, count: int) -> Iterator[None]:
    """Keep so many pages of a console on this computer open, each in a browser of its own.

    The browsers get what the other processes leave of the processors, as those of an operator stand on
    another computer.

    Raises:
        ConsoleError: no Chromium, or a page does not connect.
    """
    with contextlib.ExitStack() as running:
        browsers = [running.enter_context(_browser(f"http://localhost:{port}/")) for _ in range(count)]
        deadline = time.monotonic() + OPEN_WITHIN_S
        while not all(_connected(browser, port) for browser in browsers):
            if time.monotonic() > deadline:
                raise ConsoleError(
                    f"a page in Chromium did not connect to port {port} in {OPEN_WITHIN_S:g} s"
                )
            time.sleep(0.2)
        yield


@contextlib.contextmanager
def _browser(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Chromium with one page."""
    if not (path := chromium_path()):
        raise ConsoleError("--browsers needs Chromium: apt-get install chromium, or CHROMIUM=PATH")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [path, "--headless=new", f"--user-data-dir={profile}", *ARGUMENTS, url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_take_what_is_left,
        )
        try:
            yield browser
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()


def _take_what_is_left() -> None:
    """Let this process and its children run only while no other wants the processor.

    A browser sets the niceness of its processes itself, if it may, but not their scheduling policy. Where
    Linux shares the processor among sessions first (`sched_autogroup_enabled`), the policy counts within a
    session only, and the session has a niceness of its own (sched(7)).
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def _connected(browser: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the page's stream is open: beside it there is the connection that the page came by."""
    count = 0
    for process in psutil.Process(browser.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            count += sum(
                bool(connection.raddr)
                and connection.raddr.port == port
                and connection.status == "ESTABLISHED"
                for connection in process.net_connections("tcp")
            )
    return count >= 2


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A running browser, as playwright has it.

    Raises:
        ConsoleError: no Chromium or no playwright.
    """
    path = chromium_path()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ConsoleError("a browser that is operated needs playwright: pip install playwright") from None
    if not path:
        raise ConsoleError("Chromium is not found: apt-get install chromium, or CHROMIUM=PATH")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
