"""Pages: a text stays a text, a missing value is an error, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from vla_adapter_ros.dataset.quality.findings import Finding, Level, QualityReport
from vla_adapter_ros.html import Picture, embedded, write_html

EVIL = '<script>alert(1)</script>" onload="x" \' </style> {{ 7 * 7 }} &amp;'
PNG = b"\x89PNG\r\n\x1a\n"


class Tree(HTMLParser):
    """Elements with their attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def __getitem__(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of_training(path: Path, text: str, **changed: object) -> Tree:
    values = {
        "level": Level.WARN, "summary": text, "about": {text: text},
        "checks": [Finding(text, Level.WARN, 1.0, text)], "pictures": [embedded(text, PNG)],
    }  # fmt: skip
    write_html(path, "training_data", **values | changed)
    return Tree(path.read_text(encoding="utf-8"))


def page_of_dataset(path: Path, text: str) -> Tree:
    report = QualityReport((Finding(text, Level.FAIL, 1.0, text),))
    episode = {"title": text, "seconds": 1.0, "pictures": [Picture(text, "a.png")], "report": report}
    write_html(path, "dataset", folder=text, about=text, count=1, episodes=[episode])
    return Tree(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("make", [page_of_training, page_of_dataset])
def test_a_text_never_becomes_markup(tmp_path, make):
    plain, evil = make(tmp_path / "plain.html", "text"), make(tmp_path / "evil.html", EVIL)
    assert [tag for tag, _ in evil.elements] == [tag for tag, _ in plain.elements]
    assert [set(attributes) for _, attributes in evil.elements] == [set(a) for _, a in plain.elements]
    assert evil.text.replace(EVIL, "text") == plain.text and EVIL in evil.text
    assert [image["alt"] for image in evil["img"]] == [EVIL]


def test_a_page_needs_nothing_else_and_fits_a_phone(tmp_path):
    page = page_of_training(tmp_path / "deep" / "page.html", "text")
    text = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=['\"](?!data:)|url\(|@import|<script|http", text)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page["meta"]
    assert page["html"] == [{"lang": "en"}] and text.startswith("<!doctype html>")


def test_a_value_that_is_missing_is_an_error_and_no_hole_in_the_page(tmp_path):
    with pytest.raises(UndefinedError, match="'count' is undefined"):
        write_html(tmp_path / "page.html", "dataset", folder="set", about="", episodes=[])
    assert not (tmp_path / "page.html").exists()
