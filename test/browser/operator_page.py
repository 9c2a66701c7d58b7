"""A page of the console in a real browser, in the words of who uses it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

PATIENCE_S = 90.0
SCENE = 100
SCRIPT = '<img src=x onerror="window.broken=1">'
"""Runs in a page that takes a text for markup."""
ROBOT = "franka_sim" if "CONSOLE_PICTURES" in os.environ else f"franka_sim {SCRIPT}"
"""Name of the robot; a plain one in pictures for the docs."""


class OperatorPage:
    """Opens the page and waits until it shows the robot; every error of its scripts fails the test.

    Args:
        browser: Of playwright.
        url: Of the console.
        size: Of the window [px].
    """

    def __init__(self, browser, url: str, size: tuple[int, int] = (1440, 900)) -> None:
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self._load(url)

    def close(self) -> None:
        self.page.close()
        assert not self.errors, self.errors

    def see(self, section: str) -> None:
        """Open a section."""
        self.page.get_by_role("button", name=section, exact=True).click()

    def press(self, name: str) -> None:
        """Press a button of the section that is open."""
        self.page.get_by_role("button", name=name, exact=True).locator("visible=true").click()

    def instruct_until_told(self, text: str, sentence: str) -> None:
        """Give an instruction until a sentence is shown, again where none has come for three seconds.

        A page that has just been opened empties its fields once more as it learns the known instructions.
        """
        pressed = -math.inf

        def told() -> bool:
            nonlocal pressed
            if time.monotonic() - pressed > 3.0:
                self.page.get_by_label("Instruction", exact=True).fill(text)
                self.press("Go")
                pressed = time.monotonic()
            return sentence in self.page.locator("body").inner_text()

        self.wait(told)

    def instruct(self, text: str) -> None:
        self.see("Run")
        self.page.get_by_label("Instruction", exact=True).fill(text)
        self.press("Go")
        self.wait(lambda: self.text(".run .followed") == f"Follows: {text}")

    def stop(self) -> None:
        self.page.locator(".stop-button").click()
        self.wait(lambda: self.state == "stopped")

    @property
    def state(self) -> str:
        return self.text(".state")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so on the page or elsewhere."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.page.locator("body").inner_text()
            self.page.wait_for_timeout(50)

    def _load(self, url: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.page.goto(url)
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        self.page.locator(".stop-button").wait_for(timeout=1000 * PATIENCE_S)
        self.wait(lambda: self.text(".link") == "connected")
        self.errors.clear()  # of the time before the console listened
