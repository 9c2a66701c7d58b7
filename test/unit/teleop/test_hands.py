"""A device and jogging beside each other: one of them has the arm, and a stuck clutch counts for neither."""

from __future__ import annotations

from vla_adapter_ros.teleop.hand import HandState
from vla_adapter_ros.teleop.hands import Hands

REST, HELD, JOG = HandState(), HandState(clutch=True), HandState(clutch=True, slow=True)


def test_who_took_the_clutch_first_keeps_it():
    hands = Hands()
    assert hands.choose(REST, REST, False) is REST
    assert hands.choose(HELD, REST, False) is HELD
    assert hands.choose(HELD, JOG, True) is HELD
    assert hands.choose(REST, JOG, True) is REST, "letting go is letting go, whoever else waits"
    assert hands.choose(REST, JOG, False) is JOG
    assert hands.choose(HELD, JOG, True) is JOG
    assert hands.choose(HELD, REST, True) is REST


def test_jogging_works_beside_a_device_that_is_silent():
    hands = Hands()
    assert hands.choose(None, REST, False) is REST
    assert hands.choose(None, JOG, False) is JOG
    assert hands.choose(None, JOG, True) is JOG


def test_a_clutch_that_is_held_when_the_device_begins_to_speak_does_not_count():
    hands = Hands()
    hands.choose(None, REST, False)
    assert hands.choose(HELD, REST, False) is None and hands.stuck
    assert hands.choose(REST, REST, False) is REST and not hands.stuck
    assert hands.choose(HELD, REST, False) is HELD and not hands.stuck
    assert hands.choose(None, REST, True) is None, "silence while it leads"
    assert hands.choose(HELD, REST, False) is None and hands.stuck
