"""Paths that people and machines give: those that work, and those that name no place to write to."""

from __future__ import annotations

from pathlib import Path

import pytest

GOOD = {
    "home": "~/demos",
    "home alone below": "~/a/b/c/demos",
    "colon": "kitchen:table",
    "like a protocol": "file:demos",
    "like an address": "s3:bucket/demos",
    "a drive": "C:\\demos",
    "blank": "my demos",
    "blanks at the ends": " demos ",
    "unicode": "Würfel/示範/🟥",
    "quotes": """it's "mine" `now`""",
    "percent": "run%03d/100%",
    "newline": "two\nlines",
    "200 characters": "x" * 200,
    "link": "link/demos",
    "trailing slash": "demos/",
    "doubled slash": "a//demos",
    "dots": "there/../demos",
    "dots behind a link": "link/../demos",
    "a dot": "./demos",
    "dash": "-demos",
    "option": "--json",
    "variable": "$HOME/demos",
    "braces": "{demos}",
    "number": "1e5",
    "nothing": "nan",
    "glob": "*[1]?",
    "query": "a?b#c&d=e",
    "comma": "left,right",
    "tilde inside": "a/~/demos",
    "tilde as a name": "./~/demos",
    "dotted name": ".hidden.yaml/demos",
}
BAD = {
    "empty": "",
    "file in the way": "file/demos",
    "a file": "file",
    "proc": "/proc/demos",
    "nobody's home": "~nobody-lives-here/demos",
    "too long a name": "x" * 300,
    "too long in all": "x/" * 3000,
    "link to nowhere": "nowhere/demos",
    "link to itself": "loop/demos",
    "a device": "/dev/null/demos",
    "no text": "demos\udcff",
}


def move_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a folder the current one, with what the paths above speak of, and a home folder in it."""
    for name in ("home", "there", "elsewhere/inside"):
        (folder / name).mkdir(parents=True)
    (folder / "file").write_text("in the way")
    (folder / "link").symlink_to(folder / "elsewhere/inside")
    (folder / "nowhere").symlink_to(folder / "gone")
    (folder / "loop").symlink_to("loop")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder / "home"))


def listing(folder: Path) -> list[str]:
    """All that lies below a folder."""
    return sorted(str(path) for path in folder.rglob("*"))
