"""docs/how-to/cameras.md says what the code does with every encoding and format."""

from __future__ import annotations

from pathlib import Path

from camera_page import ENCODINGS, tables

from vla_adapter_ros.contract.encodings import LAYOUTS

PAGE = Path(__file__).parents[3] / "docs/how-to/cameras.md"


def test_the_page_shows_what_becomes_of_every_encoding() -> None:
    assert set(LAYOUTS) <= set(ENCODINGS)
    assert tables() in PAGE.read_text(encoding="utf-8"), "python test/unit/camera_page.py"
