"""Who may begin motion: the table of states and events, row by row, and the reasons that are given."""

from __future__ import annotations

import pytest

from vla_adapter_ros.control.supervisor import (
    NO_INSTRUCTION,
    STATES,
    TABLE,
    Decision,
    Effect,
    Event,
    Supervisor,
)

READY, STILL = ("idle", "gated", "running", "holding"), ("disarmed", "stopped")
# Ways from the start into every state.
WAYS = {
    "disarmed": (False, ()),
    "idle": (True, ()),
    "gated": (True, (Event.FAR,)),
    "running": (True, (Event.INSTRUCTION,)),
    "homing": (True, (Event.HOME,)),
    "holding": (True, (Event.INSTRUCTION, Event.HOLD)),
    "stopped": (True, (Event.STOP,)),
}


def supervisor_in(state: str) -> Supervisor:
    armed, events = WAYS[state]
    supervisor = Supervisor(armed)
    for event in events:
        supervisor.handle(event, f"because of {event.name}")
    assert supervisor.state == state
    return supervisor


def after(state: str, event: Event, why: str = "why") -> tuple[Supervisor, Decision]:
    supervisor = supervisor_in(state)
    return supervisor, supervisor.handle(event, why)


@pytest.mark.parametrize("event", [Event.INSTRUCTION, Event.COMMAND])
@pytest.mark.parametrize("state", STATES)
def test_only_a_person_begins_motion_and_only_where_it_may(state, event):
    supervisor, decision = after(state, event)
    if state in READY or (state, event) == ("homing", Event.COMMAND):
        assert supervisor.state == "running" and Effect.BEGIN in decision.effect
        assert supervisor.reason == ""
    else:
        assert supervisor.state == state and decision.refused and decision.reason


@pytest.mark.parametrize("state", STATES)
def test_home_begins_only_where_nobody_leads(state):
    supervisor, decision = after(state, Event.HOME)
    if state in ("idle", "gated", "holding"):
        assert supervisor.state == "homing" and Effect.BEGIN in decision.effect
        assert supervisor.reason == ""
    else:
        assert supervisor.state == state and decision.refused and decision.reason


def test_a_motion_home_ends_at_home_or_by_whoever_stops_it():
    ends = {event: TABLE["homing"][event].state for event in Event}
    stays = {Event.INSTRUCTION, Event.CHUNK, Event.HOME, Event.LET_GO, Event.STARVED, Event.ARM, Event.RESET}
    assert {event for event, state in ends.items() if state == "homing"} == stays
    assert ends[Event.ARRIVED] == ends[Event.END] == ends[Event.ACTIVATE] == "idle"
    assert ends[Event.COMMAND] == "running" and ends[Event.FAR] == "gated" and ends[Event.STOP] == "stopped"
    for event in (Event.HOLD, Event.FAULT, Event.GAP, Event.SILENCE):
        assert ends[event] == "holding"
    for state in set(STATES) - {"homing"}:
        assert TABLE[state][Event.ARRIVED].state == state
    supervisor, _ = after("homing", Event.ARRIVED, "home is reached")
    assert supervisor.reason == "home is reached" and supervisor.refusal == ""


def test_a_cause_stands_against_home_and_against_a_human_on_the_way():
    supervisor = supervisor_in("homing")
    assert "wait until it is there" in supervisor.refusal
    supervisor.observe("deadman switch is not held", False)
    assert supervisor.refusal_of(Event.COMMAND) == "deadman switch is not held"
    supervisor = supervisor_in("idle")
    assert supervisor.refusal_of(Event.HOME) == ""
    supervisor.observe("joint states are late", True)
    assert supervisor.handle(Event.HOME).reason == "joint states are late"


@pytest.mark.parametrize("event", [Event.ARM, Event.RESET, Event.ACTIVATE])
@pytest.mark.parametrize("state", STATES)
def test_arm_reset_and_activation_never_begin_motion(state, event):
    supervisor, decision = after(state, event)
    assert Effect.BEGIN not in decision.effect
    assert supervisor.state != "running" or state == "running"
    expected = {
        ("disarmed", Event.ARM): "idle",
        ("stopped", Event.RESET): "idle",
        ("holding", Event.ARM): "idle",
        ("holding", Event.RESET): "idle",
    }
    if state in STILL:
        assert supervisor.state == expected.get((state, event), state)
        assert decision.refused == ((state, event) == ("stopped", Event.ARM))


@pytest.mark.parametrize("event", [Event.STOP, Event.FAULT, Event.SILENCE, Event.HOLD, Event.END])
@pytest.mark.parametrize("state", STATES)
def test_what_ends_an_instruction_ends_it_in_every_state(state, event):
    supervisor, decision = after(state, event)
    assert Effect.END in decision.effect
    if event is Event.STOP:
        assert supervisor.state == "stopped"
    elif state in STILL:
        assert supervisor.state == state
    else:
        assert supervisor.state == ("idle" if event is Event.END else "holding")


@pytest.mark.parametrize("event", [Event.STARVED, Event.GAP, Event.LET_GO, Event.FAR])
@pytest.mark.parametrize("state", STATES)
def test_what_may_pass_ends_no_instruction(state, event):
    _, decision = after(state, event)
    assert Effect.END not in decision.effect


def test_stopped_is_left_by_reset_alone_and_unarmed_it_leads_to_disarmed():
    left = [event for event in Event if TABLE["stopped"][event].state != "stopped"]
    assert left == [Event.RESET]
    supervisor = Supervisor(armed=False)
    supervisor.handle(Event.STOP, "stop requested")
    supervisor.handle(Event.RESET)
    assert supervisor.state == "disarmed" and "call ~/arm" in supervisor.reason


def test_a_cause_refuses_with_its_own_words_until_it_is_gone():
    supervisor = Supervisor(armed=False)
    supervisor.observe("joint states are late", True)
    assert supervisor.handle(Event.ARM).reason == "joint states are late"
    assert supervisor.state == "disarmed"
    supervisor.observe("")
    assert not supervisor.handle(Event.ARM, NO_INSTRUCTION).refused
    supervisor.observe("deadman switch is not held", False)
    assert supervisor.refusal == supervisor.reason == "deadman switch is not held"
    assert supervisor.handle(Event.INSTRUCTION).refused
    assert not supervisor.handle(Event.ARM, NO_INSTRUCTION).refused
    supervisor.observe("")
    assert supervisor.refusal == "" and supervisor.reason == "waits for an instruction"


def test_the_first_cause_stays_and_its_echo_does_not_replace_it():
    supervisor = supervisor_in("running")
    supervisor.handle(Event.GAP, "joint states of j1 are older than 0.2 s")
    supervisor.handle(Event.FAULT, "j1 is 0.5 away from its command")
    first = supervisor.reason
    supervisor.handle(Event.SILENCE, "the policy is gone")
    supervisor.handle(Event.FAULT, "deadman switch is not held")
    assert supervisor.reason == first == "j1 is 0.5 away from its command"
    for state in STILL:
        supervisor = supervisor_in(state)
        reason = supervisor.reason
        for event in (Event.HOLD, Event.FAULT, Event.SILENCE, Event.END):
            supervisor.handle(event, "something later")
        assert supervisor.reason == reason


def test_every_state_knows_every_event():
    assert set(TABLE) == set(STATES) and all(set(row) == set(Event) for row in TABLE.values())
