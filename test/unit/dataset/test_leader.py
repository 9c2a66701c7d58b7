"""Who led the arm when, what an episode is refused for, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from recording_samples import CONTRACT

from vla_adapter_ros.dataset.layout import SOURCE_NUMBERS
from vla_adapter_ros.dataset.leader import Leader, Report

NOBODY, HUMAN, POLICY = (SOURCE_NUMBERS[name] for name in ("none", "human", "policy"))
TOPIC = CONTRACT.teleop.topic
UNARMED = "not armed yet: call ~/arm"


class Steady:
    """Steady time that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


def make(contract=CONTRACT, humans=1, steady=None, **options):
    return Leader(contract, lambda: humans, steady or Steady(), **options)


def told(leader, *reports):
    for stamp, source in reports:
        leader.hear(Report(stamp, "running", source))
    return leader


def sources(leader, *stamps):
    return [leader.source_at(stamp) for stamp in stamps]


def test_the_source_is_that_of_the_time_asked_for_and_not_the_newest():
    leader = told(make(), (10.0, "none"), (10.05, "none"), (10.1, "human"), (10.15, "policy"))
    assert leader.begin(10.16) == ""
    told(leader, (10.2, "human"), (10.25, "none"), (10.3, "none"))
    assert sources(leader, 10.17, 10.2, 10.22, 10.25, 10.3) == [POLICY, HUMAN, HUMAN, NOBODY, NOBODY]
    told(leader, (10.4, "policy"), (10.35, "human"))  # overtaken on its way
    assert sources(leader, 10.3, 10.38, 10.42) == [NOBODY, NOBODY, POLICY]


def test_without_a_controller_whoever_commands_is_a_human():
    leader = make()
    assert "no controller is heard" in leader.begin(5.0)
    assert sources(leader, 5.0, 100.0) == [HUMAN, HUMAN] and leader.state == "none"
    assert leader.remarks(100.0) == [] and leader.news(100.0) == []


def test_a_controller_that_appears_says_who_leads_from_then_on():
    leader = make()
    leader.begin(5.0)
    told(leader, (8.0, "none"), (8.05, "policy"))
    assert sources(leader, 5.0, 7.99, 8.0, 8.1) == [HUMAN, HUMAN, NOBODY, POLICY]
    assert leader.news(8.1) == ["a controller is heard: from here on it says who leads"]
    (remark,) = leader.remarks(8.1)
    assert "from 3.0 s on" in remark


def test_of_a_controller_that_falls_silent_nobody_is_known_to_lead():
    steady = Steady()
    leader = told(make(steady=steady), (10.0, "human"))
    leader.begin(10.0)
    steady.now += 3.0
    assert leader.state == "none"
    assert sources(leader, 10.9, 11.1, 13.0) == [HUMAN, NOBODY, NOBODY]
    assert leader.news(13.0) == ["the controller is silent: nobody is known to lead"] and not leader.news(
        13.1
    )
    assert "silent from 0.0 s on" in leader.remarks(13.0)[0]
    told(leader, (14.0, "human"))  # it is back
    assert sources(leader, 10.9, 13.0, 14.1) == [HUMAN, NOBODY, HUMAN] and leader.state == "running"
    assert "silent from 0.0 s to 4.0 s" in leader.remarks(14.1)[0]
    steady.now += 3.0
    leader.begin(17.5)  # a new episode, and still nothing: there is none any more
    assert sources(leader, 17.5, 30.0) == [HUMAN, HUMAN]


def test_a_controller_that_waits_for_the_tick_of_a_simulation_is_not_gone():
    steady = Steady()
    leader = make(steady=steady)
    leader.hear(Report(10.0, "disarmed", "none", UNARMED))
    steady.now += 5.0  # of a person's time, in which the simulation stood still
    assert leader.refusal(10.01) and leader.state == "none"
    assert not leader.refusal(12.0)


def test_a_clock_that_is_set_back_begins_anew():
    leader = told(make(alone=False), (10.0, "human"), (3.0, "policy"), (3.05, "none"))
    assert sources(leader, 2.9, 3.0, 3.1, 5.0) == [NOBODY, POLICY, NOBODY, NOBODY]


DIRECT = replace(CONTRACT, teleop=replace(CONTRACT.teleop, route="direct"))
DEADMAN = replace(CONTRACT, safety=replace(CONTRACT.safety, deadman_topic="/deadman"))


@pytest.mark.parametrize(
    ("report", "contract", "refused"),
    [
        (Report(1.0, "disarmed", "none", UNARMED), CONTRACT, UNARMED),
        (Report(1.0, "stopped", "none", "stopped (x): call ~/reset first"), CONTRACT, "call ~/reset first"),
        (Report(1.0, "idle", "none", "node /x drives the arm"), CONTRACT, "node /x drives the arm"),
        (Report(1.0, "idle", "none"), CONTRACT, ""),
        (Report(1.0, "disarmed", "none", UNARMED), DIRECT, ""),
        (Report(1.0, "disarmed", "none", UNARMED, "shadow"), CONTRACT, ""),
        (Report(1.0, "idle", "none", "", "dry_run"), CONTRACT, "dry_run"),
        (Report(1.0, "idle", "none", "", "dry_run"), DIRECT, ""),
        (Report(1.0, "idle", "none", "deadman switch is not held"), DEADMAN, ""),
        (Report(1.0, "disarmed", "none", UNARMED), DEADMAN, UNARMED),
        (Report(1.0, "idle", "none", "/x publishes: stop it first", foreign="/x"), DEADMAN, "stop it first"),
    ],
)
def test_what_an_episode_is_refused_for(report, contract, refused):
    leader = make(contract)
    leader.hear(report)
    found = leader.refusal(1.1)
    assert refused in found and bool(found) == bool(refused)


@pytest.mark.parametrize(
    ("report", "contract", "humans", "said"),
    [
        (Report(1.0, "idle", "none"), CONTRACT, 1, ""),
        (Report(1.0, "idle", "none"), CONTRACT, 0, f"nobody leads and nobody publishes on {TOPIC}"),
        (Report(1.0, "running", "policy"), CONTRACT, 0, f"the policy leads and nobody publishes on {TOPIC}"),
        (Report(1.0, "running", "human"), CONTRACT, 0, ""),
        (Report(1.0, "idle", "none", "x", "shadow"), CONTRACT, 1, ""),
        (Report(1.0, "disarmed", "none", UNARMED), DIRECT, 1, f"lets nothing move: {UNARMED}"),
    ],
)
def test_a_start_says_where_there_may_be_nothing_to_learn_from(report, contract, humans, said):
    leader = make(contract, humans)
    leader.hear(report)
    found = leader.begin(1.1)
    assert said in found and bool(found) == bool(said)


def test_a_block_during_an_episode_is_told_at_once_and_at_the_end():
    leader = make()
    leader.hear(Report(10.0, "running", "human"))
    leader.begin(10.0)
    for n in range(1, 41):
        blocked = "stopped (by hand): call ~/reset first" if 10 <= n < 30 else ""
        leader.hear(Report(10.0 + 0.05 * n, "stopped" if blocked else "idle", "none", blocked))
    assert leader.news(12.0) == ["the controller lets nothing move: stopped (by hand): call ~/reset first"]
    assert leader.remarks(12.0) == [
        "nothing could move from 0.5 s to 1.5 s: stopped (by hand): call ~/reset first"
    ]
    leader.hear(Report(12.1, "disarmed", "none", UNARMED))
    assert leader.remarks(12.1)[-1] == f"nothing could move from 2.1 s on: {UNARMED}"
    for n in range(5):
        told(leader, (13.0 + n, "human"))
        leader.hear(Report(13.5 + n, "stopped", "none", "again"))
    assert len(leader.remarks(18.0)) == 4 and "more times" in leader.remarks(18.0)[-1]
    told(leader, (18.1, "human"))
    leader.begin(18.2)
    assert leader.remarks(18.3) == []
