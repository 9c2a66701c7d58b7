"""Worlds in processes of their own: asked over pipes, deterministic, and an error where they end."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from stand_in_world import START, STEP, goal_of, use_stand_in

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.simulation.worlds import metaworld_tasks as mt50
from vla_adapter_ros.simulation.worlds.demonstrations import ROWS_AFTER, demonstrate
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.process import WorldProcess

SIZES = {"third_view": (24, 16), "gripper": (8, 8)}


@pytest.fixture
def world(monkeypatch):
    with WorldProcess(use_stand_in(monkeypatch), "stand_in_world", SIZES, longest_answer_s=60.0) as world:
        yield world


def test_the_same_seed_begins_the_same_episode(world):
    first = world.reset("point", 3)
    moved = world.step([[0.3, -0.2, 0.0, 0.0]] * 3)
    assert moved.taken == 3 and not moved.over and moved.facts["distance"] > 0.0
    assert np.allclose(moved.state[:2], START + np.array([0.009, -0.006]))
    physics = world.physics()
    assert not np.array_equal(world.reset("point", 4).state, first.state)
    assert np.array_equal(world.reset("point", 3).state, first.state)
    world.step([[0.3, -0.2, 0.0, 0.0]] * 3)
    assert np.array_equal(world.physics(), physics)


def test_pictures_come_through_shared_memory_and_are_ours(world):
    world.reset("point", 3)
    before, hand = world.look(["third_view", "gripper"])
    assert before.shape == (16, 24, 3) and hand.shape == (8, 8, 3) and before.dtype == np.uint8
    assert before[8, 12, 0] == 255 and before[..., 1].sum() == 255
    kept = before.copy()
    world.step([[1.0, 0.0, 0.0, 0.0]] * 20)
    (after,) = world.look(["third_view"])
    assert np.array_equal(before, kept) and after[8, 16, 0] == 255


def test_steps_after_the_end_of_an_episode_are_not_made(world):
    way = goal_of(world.reset("point", 3).state) - START
    there = [[*np.sign(way) * np.clip(np.abs(way) / STEP - n, 0.0, 1.0), 0.0, 0.0] for n in range(40)]
    now = world.step(there)
    assert now.success and now.over and now.taken < 40


def test_many_steps_at_once_and_much_talk_do_not_block(world):
    world.reset("talks", 0)
    assert world.step([[0.0, 0.0, 0.0, 0.0]] * 20_000).taken == 20_000


def test_an_error_of_the_world_is_told_and_it_goes_on(world):
    with pytest.raises(SimulationError, match="stand_in_world, reset: KeyError: 'swim'"):
        world.reset("swim", 0)
    assert world.reset("point", 0).state.shape == (4,)


def test_a_world_that_ends_says_its_last_words(world):
    with pytest.raises(SimulationError, match="gave no answer to reset: no such library"):
        world.reset("dies", 0)


def test_a_world_that_is_silent_is_ended(world, monkeypatch):
    world._longest_s = 0.5
    with pytest.raises(SimulationError, match=r"silent for 0\.5 s: it was ended"):
        world.reset("slow", 0)


def test_the_child_ends_with_its_parent(world):
    world.reset("point", 3)
    world.close()
    assert world._child.returncode == 0


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_demonstrations_are_rows_that_end_a_little_after_the_goal(world, noise):
    def again():
        return demonstrate(world, list(SIZES), "point", 5, noise=noise, steps_per_row=4, longest_rows=30)

    rows, same = again(), again()
    assert len(rows) == len(same) and all(
        np.array_equal(a.action, b.action) for a, b in zip(rows, same, strict=True)
    )
    world.reset("point", 5)
    done = [world.step([row.action] * 4).success for row in rows] if not noise else [True]
    assert any(done) and len(rows) > ROWS_AFTER
    assert set(rows[0].images) == set(SIZES) and rows[0].state.shape == (4,)
    assert all(np.abs(row.action).max() <= 1.0 for row in rows), "the disturbance is not in the action"


def test_a_demonstration_that_takes_too_long_is_none(world):
    rows = demonstrate(world, [], "point", 5, noise=0.0, steps_per_row=1, longest_rows=1)
    assert rows is None


# Meta-World's tasks


def test_there_are_50_tasks_in_the_published_groups():
    assert {group: len(tasks) for group, tasks in mt50.GROUPS.items()} == {
        "easy": 28, "medium": 11, "hard": 6, "very hard": 5,
    }  # fmt: skip
    assert len(mt50.SENTENCES) == len(mt50.GROUP_OF) == 50
    twice = [task for task, text in mt50.SENTENCES.items() if list(mt50.SENTENCES.values()).count(text) > 1]
    assert twice == ["push", "push-back"]


def test_no_trial_is_ever_a_demonstration():
    shown = {
        mt50.demonstration_seed(seed, task, number, attempt)
        for seed in range(3) for task in mt50.SENTENCES for number in range(20) for attempt in range(2)
    }  # fmt: skip
    asked = {
        mt50.trial_seed(seed, task, n) for seed in range(3) for task in mt50.SENTENCES for n in range(20)
    }
    assert max(shown) < 2**31 <= min(asked) and max(asked) < 2**32
    assert len(shown) > 5990 and len(asked) > 2995, "nearly all differ"


def test_a_row_lasts_as_long_as_the_contract_says():
    contract = read_contract(mt50.NAME)
    assert contract.rate_hz * mt50.STEPS_PER_ROW * mt50.STEP_S == pytest.approx(1.0)
    assert len(contract.action_names) == 4 and len(contract.state_names) == 4


def test_without_its_environment_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLA_ADAPTER_NOWHERE_PYTHON", raising=False)
    with pytest.raises(SimulationError, match="nowhere is not installed: `make nowhere`"):
        world_python("nowhere")
    monkeypatch.setenv("VLA_ADAPTER_NOWHERE_PYTHON", str(tmp_path / "python"))
    with pytest.raises(SimulationError, match="VLA_ADAPTER_NOWHERE_PYTHON = "):
        world_python("nowhere")
    monkeypatch.setenv("VLA_ADAPTER_NOWHERE_PYTHON", sys.executable)
    assert world_python("nowhere") == Path(sys.executable)
    monkeypatch.delenv("VLA_ADAPTER_NOWHERE_PYTHON")
    own = tmp_path / ".venv-nowhere" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    assert world_python("nowhere") == own
