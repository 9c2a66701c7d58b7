"""CALVIN's protocol, with a stand-in for CALVIN: a point that subtasks move along a line."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.calvin import (
    LONGEST_STEPS,
    Sight,
    load_installation,
    run_chain,
    run_chains,
    summarize,
)

ROWS = 8


class StandIn:
    """Right and left are done 20 steps from where they began; `never` is not done."""

    def __init__(self):
        self.x, self.start, self.task, self.steps = 0.0, 0.0, "", 0

    def chains(self, count):
        kinds = (["right", "left"] * 3, ["right", "never", "left"] * 2)
        return [(float(k), kinds[k % 2][:5]) for k in range(count)]

    def instruction(self, subtask):
        return f"go {subtask}"

    def reset(self, initial_state):
        self.x = initial_state

    def begin(self, subtask):
        self.start, self.task, self.steps = self.x, subtask, 0

    def observe(self):
        robot_obs = np.arange(15.0)
        robot_obs[0] = self.x
        return Sight(np.zeros((200, 200, 3), np.uint8), np.zeros((84, 84, 3), np.uint8), robot_obs)

    def step(self, action):
        self.x += action[0]
        self.steps += 1

    def is_done(self):
        moved = self.x - self.start
        return self.task != "never" and moved * (1 if self.task == "right" else -1) > 19.5


class Walker:
    """Goes one step per row where it is told to."""

    config = SimpleNamespace(chunk=ROWS)

    def __init__(self):
        self.asked = []

    def predict(self, images, instruction, proprio, committed=None):
        self.asked.append((instruction, proprio.copy(), [image.shape for image in images]))
        rows = np.zeros((ROWS, 7))
        rows[:, 0] = -1.0 if instruction == "go left" else 1.0
        return rows


def test_a_chain_ends_at_the_first_subtask_that_is_not_done():
    calvin, policy = StandIn(), Walker()
    assert run_chain(calvin, policy, 3.0, ["right", "left", "never", "right", "left"], ROWS) == 2
    assert calvin.steps == LONGEST_STEPS


def test_what_the_policy_sees_and_when():
    calvin, policy = StandIn(), Walker()
    assert run_chain(calvin, policy, 3.0, ["right", "left"], ROWS) == 2
    # 20 steps are three chunks; a new subtask begins with a new chunk.
    assert [asked[0] for asked in policy.asked] == ["go right"] * 3 + ["go left"] * 3
    assert [asked[1][0] for asked in policy.asked] == [3.0, 11.0, 19.0, 23.0, 15.0, 7.0]
    _, state, shapes = policy.asked[0]
    assert state.tolist() == [3.0, 1, 2, 3, 4, 5, 6, 14] and shapes == [(200, 200, 3), (84, 84, 3)]


def test_the_average_length_is_over_all_chains():
    reported = []
    result = run_chains(StandIn(), Walker(), ROWS, 4, reported.append)
    assert reported == [5, 1, 5, 1] == result["lengths"]
    assert result["average_length"] == 3.0 and result["chains"] == 4
    assert [result["success"][str(k)]["rate"] for k in range(1, 6)] == [1.0, 0.5, 0.5, 0.5, 0.5]
    assert summarize([])["average_length"] is None


def test_an_installation_is_named_as_module_and_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_calvin", SimpleNamespace(make=StandIn))
    assert isinstance(load_installation("my_calvin:make"), StandIn)
    for name in ("my_calvin:other", "no_such_module:make", ":make"):
        with pytest.raises(ParameterError, match="MODULE:NAME"):
            load_installation(name)
