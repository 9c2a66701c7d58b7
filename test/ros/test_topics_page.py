"""docs/reference/topics.md has the topics and services that the nodes have."""

from __future__ import annotations

import pytest
import reference


@pytest.mark.slow
def test_the_page_has_the_topics_and_services_of_a_running_graph():
    page = (reference.REPOSITORY / "docs" / "reference" / "topics.md").read_text(encoding="utf-8")
    assert reference.with_topics(page) == page, "make reference REFERENCE_ARGS=--topics"
