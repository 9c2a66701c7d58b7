"""What a log says of things that come and go. Times are made up here."""

from __future__ import annotations

import pytest

from vla_adapter_ros.nodes.said_once import AGAIN_AFTER_S, ENDED_AFTER_S, SaidOnce


def said(showings: list[float], until: float, period: float = 0.5) -> tuple[list[float], list[float]]:
    """When something is said to begin and to be over that shows itself at these times."""
    once, begins, ends, now = SaidOnce(), [], [], 0.0
    while now <= until:
        if now in showings and once.begins("it", now):
            begins.append(now)
        ends += [now for _ in once.ended(now)]
        now += period
    return begins, ends


def test_what_lasts_is_said_once_and_its_end_once():
    assert said([0.5 * n for n in range(100)], 100.0) == ([0.0], [49.5 + ENDED_AFTER_S])


def test_a_gap_shorter_than_the_patience_is_no_end():
    assert said([0.0, 2.5, 5.0], 20.0) == ([0.0], [5.0 + ENDED_AFTER_S])


@pytest.mark.parametrize("every", [4.0, 10.0, 30.0])
def test_what_comes_and_goes_for_an_hour_does_not_fill_the_log(every):
    showings = [every * n for n in range(int(3600 / every))]
    begins, ends = said(showings, 3600.0)
    assert begins == [0.0, every] and ends == [ENDED_AFTER_S]


def test_what_comes_back_much_later_is_news():
    later = ENDED_AFTER_S + AGAIN_AFTER_S + 1.0
    assert said([0.0, later], 200.0) == ([0.0, later], [ENDED_AFTER_S, later + ENDED_AFTER_S])


def test_ends_tell_how_often_it_was_and_a_persons_act_makes_all_new():
    once = SaidOnce()
    assert once.begins("a", 0.0) and not once.begins("a", 1.0) and once.begins("b", 1.0)
    assert once.ended(1.0 + ENDED_AFTER_S) == [("a", 2), ("b", 1)]
    assert once.begins("a", 5.0)
    once.forget()
    assert once.begins("a", 5.1)
