"""The suite metaworld: its plans, what it tells, and a policy that is rolled in a world of its own."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from stand_in_world import STEP, goal_of, use_stand_in

from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.conditions import conditions
from vla_adapter_ros.evaluation.metaworld import MetaWorldSuite
from vla_adapter_ros.evaluation.suite import Ending, Result, result_of
from vla_adapter_ros.evaluation.suite_result import Shard, format_result, merge_results, suite_result
from vla_adapter_ros.evaluation.suites import make_suite, table_suite
from vla_adapter_ros.evaluation.world_loop import roll
from vla_adapter_ros.simulation.worlds import metaworld_tasks as mt50
from vla_adapter_ros.simulation.worlds.demonstrations import demonstrate
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.process import WorldProcess

SUITE = MetaWorldSuite()
CAMERAS = ("third_view", "gripper")
SIZES = dict.fromkeys(CAMERAS, (16, 16))


def test_the_episodes_are_dealt_evenly_and_further_ones_change_none():
    plans = SUITE.plans(500, 0)
    assert [plan.number for plan in plans] == list(range(500))
    assert set(Counter(plan.task for plan in plans).values()) == {10}
    assert all(plan.instruction == mt50.SENTENCES[plan.task] for plan in plans)
    few = {(plan.task, plan.scene) for plan in SUITE.plans(73, 0)}
    assert len(few) == 73 and few < {(plan.task, plan.scene) for plan in plans}
    other = {plan.scene for plan in SUITE.plans(500, 1)}
    assert not other & {plan.scene for plan in plans}


def test_what_makes_no_sense_there_is_refused():
    usual = conditions("metaworld", "x")
    assert (usual.episodes, usual.longest_s, usual.renderer) == (500, 6.25, "egl")
    for wrong in ({"speed": 0.5}, {"latency_s": 0.1}, {"renderer": "raycast"}):
        with pytest.raises(ParameterError, match="with metaworld: allowed"):
            conditions("metaworld", "x", **wrong)
    assert make_suite("metaworld").name == "metaworld"
    with pytest.raises(ParameterError, match="suite = metaworld: allowed here is one of"):
        table_suite("metaworld")


def a_result(plan, success: bool) -> Result:
    judge = SimpleNamespace(ending=lambda: (Ending.SUCCESS if success else Ending.TIMED_OUT, ""))
    return result_of(plan, judge, "", 2.0, 5)


def test_groups_count_alike_however_many_tasks_they_have():
    plans = SUITE.plans(100, 0)
    wanted = asdict(conditions("metaworld", "x", episodes=100))

    def done(shard: Shard) -> dict:
        own = [plans[n] for n in shard.numbers(100)]
        won = [a_result(p, p.task == "assembly" or mt50.GROUP_OF[p.task] == "easy") for p in own]
        return json.loads(json.dumps(suite_result(wanted, shard, SUITE, won)))

    whole = done(Shard())
    assert whole["tasks"] == 50 and whole["episodes"] == 100 and whole["successes"] == 58
    assert whole["groups"] == {"easy": 100.0, "medium": 0.0, "hard": 16.67, "very hard": 0.0}
    assert whole["group_mean"] == 29.17
    assert whole["per_task"]["assembly"]["success"] == 1.0 and whole["per_task"]["push"]["success"] == 0.0
    assert whole["per_task"]["push"]["episodes"] == 2
    assert "mean of the groups: 29.2 % (easy 100.0, medium 0.0, hard 16.7, very hard 0.0)" in format_result(
        whole
    )
    merged = merge_results([done(Shard(2, 2)), done(Shard(1, 2))])
    for key in ("tasks", "groups", "group_mean", "per_task", "runs"):
        assert merged[key] == whole[key]


# A policy in a world


@pytest.fixture
def world(monkeypatch):
    with WorldProcess(use_stand_in(monkeypatch), "stand_in_world", SIZES) as world:
        yield world


def toward_the_goal(images, text, state, committed):
    """Rows that come to the goal, which the stand-in's state tells; sent for four steps each."""
    assert [image.shape for image in images] == [(16, 16, 3)] * 2 and text
    place, rows = state[:2].copy(), []
    for _ in range(8):
        step = np.clip((goal_of(state) - place) / (4 * STEP), -1.0, 1.0)
        place += 4 * STEP * step
        rows.append([*step, 0.0, 0.0])
    return np.array(rows)


def rolled(world, predict, longest_steps=500):
    plan = SUITE.plans(1, 0)[0]
    found = roll(world, SUITE, plan, SimpleNamespace(predict=predict), CAMERAS, longest_steps=longest_steps)
    return found, result_of(plan, found.judge, found.refused, found.steps * SUITE.step_s, found.chunks)


def test_who_knows_the_goal_wins_and_the_same_rows_again_end_in_the_same_state(world):
    found, result = rolled(world, toward_the_goal)
    assert result.success and found.steps <= 24 and result.chunks <= 2
    assert result.duration_s == round(found.steps * 0.0125, 2)
    ended = world.physics()
    plan = SUITE.plans(1, 0)[0]
    world.reset(SUITE.world_task(plan), plan.scene)
    world.step(np.repeat(found.rows, SUITE.steps_per_row, axis=0)[: found.steps])
    assert np.array_equal(world.physics(), ended)


def test_who_waits_has_not_reached_it_when_the_time_is_over(world):
    found, result = rolled(world, lambda *a: np.zeros((8, 4)), longest_steps=42)
    assert (result.ending, found.steps, result.chunks) == (Ending.NOT_REACHED, 42, 3)
    assert "m from the goal at first" in result.note


def test_rows_that_are_not_finite_end_the_episode_with_the_reason(world):
    found, result = rolled(world, lambda *a: np.full((8, 4), np.nan))
    assert (result.ending, result.note, found.steps) == (Ending.STOPPED, "rows must be finite", 0)


# The real one


@pytest.fixture(scope="module")
def metaworld():
    from vla_adapter_ros.errors import SimulationError

    try:
        python = world_python("metaworld")
    except SimulationError as error:
        pytest.skip(str(error))
    with WorldProcess(python, mt50.CHILD, SIZES | {mt50.VIDEO_CAMERA: (64, 48)}) as world:
        yield world


@pytest.mark.parametrize("task", ["push", "drawer-open", "window-close"])
def test_the_scripted_policy_succeeds_and_its_rows_do_so_again(metaworld, task):
    name, seed = mt50.environment_name(task), mt50.demonstration_seed(0, task, 0, 0)
    rows = demonstrate(
        metaworld, CAMERAS, name, seed, noise=0.0, steps_per_row=mt50.STEPS_PER_ROW, longest_rows=50
    )
    assert rows is not None and 5 < len(rows) < 50
    assert rows[0].images["gripper"].std() > 10 and rows[0].images["third_view"].std() > 10

    def again() -> tuple[bool, np.ndarray]:
        metaworld.reset(name, seed)
        now = metaworld.step(np.repeat([row.action for row in rows], mt50.STEPS_PER_ROW, axis=0))
        return now.success, metaworld.physics()

    (first, ended), (second, same) = again(), again()
    assert first and second and np.array_equal(ended, same)


def test_an_episode_looks_the_same_whatever_went_before(metaworld):
    task = mt50.environment_name("push")
    metaworld.reset(task, 1)
    first, large = metaworld.look([CAMERAS[0], mt50.VIDEO_CAMERA])
    metaworld.step([[1.0, 1.0, -1.0, 1.0]] * 60)
    metaworld.reset(task, 2)
    (other,) = metaworld.look(CAMERAS[:1])
    metaworld.reset(task, 1)
    (again,) = metaworld.look(CAMERAS[:1])
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert large.shape == (48, 64, 3)


def test_it_ends_after_its_own_number_of_steps(metaworld):
    state = metaworld.reset(mt50.environment_name("push"), 1)
    assert state.facts["longest"] == mt50.LONGEST_STEPS
    now = metaworld.step([[0.0, 0.0, 1.0, -1.0]] * 600)
    assert now.over and not now.success and now.taken == mt50.LONGEST_STEPS


def test_an_unknown_task_is_an_error_and_the_next_one_works(metaworld):
    from vla_adapter_ros.errors import SimulationError

    with pytest.raises(SimulationError, match="swim"):
        metaworld.reset("swim-v3", 0)
    assert metaworld.reset(mt50.environment_name("push"), 0).state.shape == (4,)
