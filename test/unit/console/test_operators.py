"""One operator at a time; the place changes hands only when it is asked for, or its page is gone."""

from __future__ import annotations

import math

import pytest

from vla_adapter_ros.console.operators import ANSWER_S, GONE_S, LOADS_S, RELOAD_S, Operators


@pytest.fixture
def two():
    operators = Operators()
    operators.enter("a", "page 1", 0.0)
    operators.enter("b", "page 2", 1.0)
    return operators


def keep_alive(operators, until, *viewers, since=0.0):
    now = since
    while now < until:
        for viewer in viewers:
            operators.hear(viewer, now)
        now += 1.0


def test_the_first_page_operates_and_the_second_watches(two):
    assert two.operates("a", 1.0) and not two.operates("b", 1.0)
    assert not two.operates("", 1.0) and not two.operates("stranger", 1.0)


def test_a_watcher_that_asks_gets_the_place_when_the_operator_agrees(two):
    assert "page 1 is asked" in two.ask("b", 1.0)
    assert two.asking(1.5) == "b"
    assert "page 2 operates" in two.answer("a", True, 2.0)
    assert two.operates("b", 2.0) and not two.operates("a", 2.0)
    assert two.asking(2.0) == ""


def test_an_operator_that_refuses_keeps_the_place(two):
    two.ask("b", 1.0)
    assert "keep on" in two.answer("a", False, 2.0)
    keep_alive(two, 20.0, "a", "b", since=2.0)
    assert two.operates("a", 20.0)


def test_without_an_answer_the_place_goes_over(two):
    two.ask("b", 1.0)
    keep_alive(two, 1.0 + ANSWER_S - 0.5, "a", "b", since=1.0)
    assert two.operates("a", 1.0 + ANSWER_S - 0.5)
    assert two.operates("b", 1.0 + ANSWER_S)


def test_a_watcher_cannot_answer_for_the_operator(two):
    two.ask("b", 1.0)
    assert "you watch" in two.answer("b", True, 1.0)
    assert two.operates("a", 1.0)


def test_an_operator_that_is_gone_leaves_nobody_in_its_place(two):
    keep_alive(two, 10.0, "a", "b", since=1.0)
    keep_alive(two, 30.0, "b", since=10.0)
    assert not two.operates("a", 30.0) and not two.operates("b", 30.0)
    assert two.operator_heard(30.0) == math.inf
    assert two.ask("b", 30.0) == "you operate the robot now"
    assert two.operates("b", 30.0)


def test_a_page_that_is_loaded_again_operates_again():
    operators = Operators()
    operators.enter("before", "page 1", 0.0)
    operators.hear("before", 60.0)
    operators.enter("after", "page 2", 60.0)  # a browser opens the new one before it closes the old one
    operators.leave("before", 60.1)
    assert operators.operates("after", 60.1)


def test_a_watcher_does_not_inherit(two):
    keep_alive(two, RELOAD_S + 4.0, "a", "b", since=1.0)
    two.leave("a", RELOAD_S + 4.0)
    assert not two.operates("b", RELOAD_S + 4.0)


def test_how_long_ago_the_operator_was_heard(two):
    two.hear("a", 2.0)
    assert two.operator_heard(2.0 + GONE_S - 1.0) == pytest.approx(GONE_S - 1.0)


def test_a_page_that_loads_slowly_keeps_its_place_for_a_while():
    operators = Operators()
    operators.enter("slow", "page 1", 0.0)
    operators.enter("fast", "page 2", 1.0)
    assert operators.operates("slow", LOADS_S) and operators.operator_heard(LOADS_S) == 0.0
    operators.hear("fast", LOADS_S + GONE_S)
    assert not operators.operates("slow", LOADS_S + GONE_S + 0.1)


def test_a_stranger_cannot_ask():
    assert Operators().ask("stranger", 0.0) == "this page is not connected"
