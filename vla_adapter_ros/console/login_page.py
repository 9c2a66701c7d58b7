"""The page that asks for the console's token. It stands before everything else and needs no script."""

from __future__ import annotations

from vla_adapter_ros.html import render


def login_page(problem: str) -> bytes:
    """The page as HTML.

    Args:
        problem: Why the token that was given does not do; empty: none was given.
    """
    return render("login", problem=problem).encode()
