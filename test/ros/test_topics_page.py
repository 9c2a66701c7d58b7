"""docs/reference/topics.md has the topics and services that the nodes have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.mark.slow
def test_the_page_has_the_topics_and_services_of_a_running_graph():
    import reference

    page = (ROOT / "docs" / "reference" / "topics.md").read_text(encoding="utf-8")
    assert reference.with_topics(page) == page, "make reference REFERENCE_ARGS=--topics"
