"""Pages of the console in a real Chromium without a window, for the benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

from vla_adapter_ros.errors import ConsoleError

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """The browser of CHROMIUM=PATH, else the system's; empty without one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")


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
        raise ConsoleError("--browsers needs playwright: pip install playwright") from None
    if not path:
        raise ConsoleError("--browsers needs Chromium: apt-get install chromium, or CHROMIUM=PATH")
    arguments = ["--disable-dev-shm-usage"] + ["--no-sandbox"] * (os.geteuid() == 0)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def browser_pages(port: int, count: int) -> Iterator[None]:
    """Keep so many pages of a console on this computer open.

    Raises:
        ConsoleError: no Chromium or no playwright.
    """
    if count == 0:
        yield
        return
    with chromium() as browser:
        for _ in range(count):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"http://localhost:{port}/")
            page.locator(".stop-button").wait_for()
        yield
