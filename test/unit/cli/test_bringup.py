"""What bring-up does when a process dies: time and processes are made up here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vla_adapter_ros.cli.bringup import LONGEST_PAUSE_S, WORKED_S, Restarter
from vla_adapter_ros.cli.main import _parser, main
from vla_adapter_ros.errors import ProcessError
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import how_it_ended

KILLED = -9


class MadeUpGraph:
    """Processes that live until a test ends them."""

    def __init__(self, nodes):
        self.nodes, self.started = nodes, []
        self.processes = {}
        for node in nodes:
            self.start(node)

    def start(self, node):
        self.started.append(node.kind)
        self.end(node.kind, None)

    def end(self, kind, status):
        self.processes[f"{kind}_node"] = SimpleNamespace(poll=lambda: status)


@pytest.fixture
def graph():
    graph = MadeUpGraph(node_list(record="somewhere", teleop="gamepad"))
    graph.started.clear()
    return graph


@pytest.mark.parametrize("kind", ["policy", "recorder", "teleop"])
def test_what_neither_is_nor_moves_the_robot_is_started_again_when_it_dies(graph, kind):
    restarter = Restarter(graph)
    assert restarter.restart_ended(0.0) == []
    graph.end(kind, KILLED)
    (sentence,) = restarter.restart_ended(1.0)
    assert sentence.startswith(f"{kind}_node was killed by SIGKILL: it starts again in 1 s; ")
    assert restarter.restart_ended(1.9) == [] and graph.started == []
    assert restarter.restart_ended(2.0) == [] and graph.started == [kind]
    assert restarter.restart_ended(2.1) == [] and graph.started == [kind]


@pytest.mark.parametrize("status", [KILLED, 1, 0])
@pytest.mark.parametrize("kind", ["simulator", "controller"])
def test_everything_ends_with_robot_and_controller(graph, kind, status):
    graph.end(kind, status)
    with pytest.raises(ProcessError, match=f"{kind}_node .*nothing runs without it"):
        Restarter(graph).restart_ended(0.0)


def test_what_fails_at_its_first_start_ends_everything_and_later_is_tried_again(graph):
    graph.end("policy", 1)
    with pytest.raises(ProcessError, match="policy_node ended with status 1: nothing runs without it"):
        Restarter(graph).restart_ended(0.0)
    restarter = Restarter(graph)
    graph.end("policy", KILLED)
    restarter.restart_ended(0.0)
    restarter.restart_ended(1.0)
    graph.end("policy", 1)
    assert restarter.restart_ended(1.1) != [] and graph.started == ["policy"]


def test_pauses_grow_and_the_last_words_are_said_once(graph):
    restarter, now, pauses, said = Restarter(graph), 0.0, [], []
    for _ in range(9):
        graph.end("policy", KILLED)
        said += restarter.restart_ended(now)
        ended, lives = now, len(graph.started)
        while len(graph.started) == lives:
            now += 0.25
            said += restarter.restart_ended(now)
        pauses.append(now - ended)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, *[LONGEST_PAUSE_S] * 4]
    assert len(said) == 6 and "again and again" in said[-1]

    restarter.restart_ended(now)
    restarter.restart_ended(now + WORKED_S)  # it works: what comes next is a new trouble
    graph.end("policy", KILLED)
    assert "starts again in 1 s" in restarter.restart_ended(now + WORKED_S + 1.0)[0]


def test_the_end_of_a_process_in_words():
    assert how_it_ended("x", 3) == "x ended with status 3"
    assert how_it_ended("x", -15) == "x was killed by SIGTERM"
    assert how_it_ended("x", -40) == "x was killed by signal 40"


def test_nothing_to_start_is_refused(capsys):
    assert main(["bringup", "--robot", "--no-controller", "--no-policy"]) == 1
    assert "no node is left to start" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "simulate"),
    [
        ("demo", True),
        ("collect-demos", True),
        ("bringup", True),
        ("bringup --robot", False),
        ("record --dataset x", True),
        ("record --dataset x --robot", False),
        ("instruct wave", False),
    ],
)
def test_commands_know_whether_they_are_for_this_computer_alone(words, simulate):
    assert _parser().parse_args(words.split()).simulate is simulate
