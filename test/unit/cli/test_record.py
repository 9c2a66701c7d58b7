"""`vla-adapter record`: keys, parameters, the status line. No ROS."""

from __future__ import annotations

import queue
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from vla_adapter_ros.cli.keys import parse_keys, split_keys
from vla_adapter_ros.cli.main import _parser
from vla_adapter_ros.cli.record import COMMANDS, KEYS, Terminal, recorder_nodes
from vla_adapter_ros.cli.recorder_line import status_line
from vla_adapter_ros.errors import ParameterError

NAN, INF = float("nan"), float("inf")


def test_keys_are_split_as_terminals_and_pedals_send_them():
    assert split_keys(b"a \x1b[5~\x1bq\n") == ["a", "space", "pageup", "escape", "q", "enter"]
    assert split_keys("äb".encode()) == ["ä", "b"]
    assert split_keys(b"\x1b[15~\x1b[C") == ["f5", "right"]
    assert split_keys(b"\xff") == ["\ufffd"]


def test_further_keys_come_on_top_of_the_defaults():
    keys = parse_keys("toggle=b, discard=pageup", COMMANDS, KEYS)
    assert keys["b"] == "toggle" and keys["pageup"] == "discard" and keys["q"] == "quit"
    for bad in ("dance=b", "toggle=pedal", "toggle="):
        with pytest.raises(ParameterError, match="allowed"):
            parse_keys(bad, COMMANDS, KEYS)


def options(*words):
    return _parser().parse_args(["record", *words])


def test_what_is_started():
    nodes = recorder_nodes(options("--dataset", "d", "--robot", "--instruction", "wave", "--set", "crf=18"))
    assert [node.kind for node in nodes] == ["controller", "recorder"]
    assert nodes[1].parameters["crf"] == 18 and nodes[1].parameters["instruction"] == "wave"
    assert [n.kind for n in recorder_nodes(options("--dataset", "d", "--only"))] == ["recorder"]
    assert recorder_nodes(options("--dataset", "d"))[0].kind == "simulator"
    assert recorder_nodes(options("--attach")) == []
    driven = recorder_nodes(options("--dataset", "d", "--robot", "--teleop", "spacemouse"))
    assert driven[-1].kind == "teleop" and driven[-1].parameters["device"] == "spacemouse"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--dataset"),
        (("--set", "crf=99"), "99"),
        (("--set", "speed=3"), "speed"),
        (("--set", "crf"), "crf"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(words, named):
    with pytest.raises(ParameterError, match=named):
        recorder_nodes(options(*(("--dataset", "d") if words else ()), *words))


def test_the_status_line_names_what_matters():
    status = SimpleNamespace(
        state="recording", episode=3, frames=120, rate_hz=29.97, dropped=2, queue_depth=4, episodes=3,
        saving=1, controller="running", minutes_left=612.4, streams=["third_view", "/joint_states"],
        ages=[0.01, float("inf")], verdict=[], interventions=0, outcome="", outcome_reason="",
    )  # fmt: skip
    assert status_line(status) == (
        "recording | controller running | episode 3 | 120 frames, 29.97 Hz, 2 left out | queue 4 | "
        "3 on disk + 1 being saved | 612 min left | silent: /joint_states"
    )
    status.state, status.episode = "pending", -1
    status.verdict = ["pass rate_error: 10 Hz", "fail dropped_frames: 9", "fail idle_head: 12 s"]
    line = status_line(status)
    assert line.startswith(
        "pending | fail dropped_frames: 9 | fail idle_head: 12 s | save it (s) or discard it"
    )
    status.controller = "disarmed"
    assert "| controller disarmed (a arms it) |" in status_line(status)
    status.controller = "none"
    assert "| no controller |" in status_line(status)
    status.interventions, status.outcome, status.outcome_reason = 2, "failure", "dropped"
    assert "| 2 interventions | failure: dropped | 3 on disk" in status_line(status)


@pytest.mark.parametrize(
    ("minutes", "shown"),
    [(0.2, "0 min left"), (1440, "1440 min left"), (63990652, "> 24 h left"), (NAN, ""), (INF, "")],
)
def test_a_time_that_means_nothing_is_not_shown(minutes, shown):
    status = FakeClient().status
    status.minutes_left = minutes
    assert status_line(status).endswith(f"0 on disk | {shown}" if shown else "0 on disk")


def test_a_pending_episode_says_once_what_failed_and_keeps_its_reason(capsys, monkeypatch):
    client = FakeClient()
    keyboard = SimpleNamespace(read=lambda patience: [], ended=False)
    terminal = Terminal(client, keyboard, "wave")
    terminal._live = True
    monkeypatch.setenv("COLUMNS", "60")
    failed, warned = (
        "fail constant_joints: the controller was disarmed; 6 of 6 " + "j " * 40,
        "warn idle_head: 3 s",
    )
    sentence = f"30 frames wait, save or discard them: {failed}"
    client.status.state, client.status.verdict = "pending", ["pass rate_error: 10 Hz", failed, warned]
    client.status.reason = sentence
    client.events.put((False, sentence))
    for _ in range(5):
        assert terminal.update(KEYS)
    text = capsys.readouterr().out
    assert text.count(sentence) == 1 and text.count(f"  {warned}") == 1 and f"  {failed}" not in text
    assert text.index(warned) < text.index(sentence)  # what is to be decided comes last
    *_, live = text.split("\r\x1b[2K")
    assert (
        live.startswith("pending | fail constant_joints: the controller") and len(live) < 60
    )  # or it scrolls


class FakeClient:
    """Stands for the recorder and the controller; notes what is asked for."""

    ready = True

    def __init__(self):
        self.status = SimpleNamespace(
            state="idle", episode=-1, frames=0, rate_hz=0.0, dropped=0, queue_depth=0, episodes=0, saving=0,
            controller="disarmed", minutes_left=1.0, streams=[], ages=[], verdict=[], instruction="",
            reason="", interventions=0, outcome="", outcome_reason="", outcome_reasons=["dropped", "missed"],
        )  # fmt: skip
        self.events, self.asked = queue.Queue(), []

    def label(self, outcome, reason):
        self.asked.append((outcome, reason))

    def command(self, name):
        self.asked.append(name)
        self.events.put((True, "armed, state is idle"))


def test_a_key_arms_the_controller_and_the_answer_is_shown(capsys):
    client = FakeClient()
    keyboard = SimpleNamespace(read=lambda patience: ["a"], ended=False)
    assert Terminal(client, keyboard, "wave").update(parse_keys("", COMMANDS, KEYS))
    assert client.asked == ["arm"]
    output = capsys.readouterr().out
    assert "a: arm the controller" in output and "armed, state is idle" in output


@pytest.mark.parametrize(
    ("typed", "reason"), [("2", "missed"), (" too slow ", "too slow"), ("", ""), ("3", "3")]
)
def test_keys_say_how_an_episode_ended_and_why(monkeypatch, capsys, typed, reason):
    client, asked = FakeClient(), []
    keyboard = SimpleNamespace(read=lambda patience: ["y", "n"], ended=False, whole_lines=nullcontext)
    monkeypatch.setattr("builtins.input", lambda prompt: (asked.append(prompt), typed)[1])
    assert Terminal(client, keyboard, "wave").update(parse_keys("", COMMANDS, KEYS))
    assert client.asked == [("success", ""), ("failure", reason)]
    assert asked == ["why (1: dropped  2: missed; or in words): "]
