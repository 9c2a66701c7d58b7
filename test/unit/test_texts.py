"""What a person can see of a text, and lists with commas."""

from __future__ import annotations

import pytest

from vla_adapter_ros.texts import comma_list, visible

UNSEEN = ["", " ", "\t\n", "\u200b", "\u200b \u2060", "\ufeff", "\u00a0", "\u3164", "\u2800", "\u00ad"]
UNSEEN += ["\u0301", "\ufe0f", "\U000e0041", "\u202e", "\x00", "\ue000"]


@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
def test_what_nobody_can_see_is_empty(text):
    assert visible(text) == ""


@pytest.mark.parametrize("text", ["pick it up", "拿起", "हिन्दी", "🟥", "1", "...", "e\u0301"])
def test_what_can_be_seen_stays_as_it_is(text):
    assert visible(text) == visible(f" \u200b{text}\ufeff\n") == text


def test_blanks_beside_commas_mean_nothing():
    assert comma_list("a,b") == comma_list(" a , b\n") == ["a", "b"]
    assert comma_list(" ") == [] and comma_list("a,,b") == ["a", "", "b"]
