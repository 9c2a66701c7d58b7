"""LIBERO's suites under the published protocol; the simulator itself where `make libero` was called."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="policies need torch")

from vla_adapter_ros.choices import SuiteName
from vla_adapter_ros.errors import ParameterError, SimulationError
from vla_adapter_ros.evaluation.conditions import conditions
from vla_adapter_ros.evaluation.harness import evaluate_suite
from vla_adapter_ros.evaluation.libero import CAMERAS, load_policy, open_world, run_episode
from vla_adapter_ros.evaluation.libero_suite import LiberoSuite
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.libero_suites import LONGEST, PERTURBED, SUITES, base_suite

OFFICIAL = next((Path(__file__).resolve().parents[2] / "data/golden/pro").glob("*_chkpt"))
"""In the official layout, small and with random weights."""
REFERENCE = Path(__file__).with_name("libero_reference.py")


@pytest.fixture(scope="module")
def python():
    try:
        return world_python("libero")
    except SimulationError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def world(python):
    with open_world() as world:
        yield world


def actions(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(-1, 1, (count, 6)), rng.choice([-1.0, 1.0], count)])


def test_suites_are_those_of_the_paper_and_their_perturbations():
    assert SUITES == tuple(suite.value for suite in SuiteName if suite.is_libero)
    assert list(LONGEST.values()) == [220, 280, 300, 520, 400]
    assert len(PERTURBED) == 16 and base_suite("libero_object_object") == "libero_object"
    with pytest.raises(ValueError, match="allowed is one of"):
        base_suite("libero_90_lan")


def test_episodes_go_task_by_task_through_the_initial_states():
    suite = LiberoSuite(SuiteName.LIBERO_SPATIAL)
    assert (suite.episodes, suite.longest_s) == (500, 11.0)
    plans = suite.plans(500, 0)
    assert [plan.number for plan in plans] == list(range(500))
    assert [plan.scene for plan in plans[:51]] == [*range(50), 0]
    few = suite.plans(12, 3)
    assert [plan.task[-1] for plan in few] == list("001123456789")
    assert [plan.scene for plan in few[:3]] == [3, 4, 3]
    assert LiberoSuite(SuiteName.LIBERO_90).episodes == 4500
    with pytest.raises(ParameterError, match="allowed are 50 per task"):
        suite.plans(500, 1)


def test_conditions_that_libero_has_not_are_refused():
    for changed in ({"speed": 0.5}, {"latency_s": 0.1}, {"renderer": "raycast"}):
        with pytest.raises(ParameterError, match="allowed are"):
            conditions("libero_goal", OFFICIAL, **changed)
    wanted = conditions("libero_goal", OFFICIAL, episodes=1, contract="franka_sim")
    with pytest.raises(ParameterError, match="allowed is none"):
        evaluate_suite(wanted, device="cpu")


def test_a_policy_of_another_robot_is_refused():
    with pytest.raises(ParameterError, match="8 columns, a state of 11, 2 images; LIBERO has 7, 8 and 2"):
        load_policy("franka_sim_tiny", "libero_goal")


def test_an_official_policy_answers_as_in_the_published_evaluation():
    policy = load_policy(str(OFFICIAL), "libero_goal")
    images = [np.full((256, 256, 3), value, np.uint8) for value in (80, 160)]
    rows = policy.predict(images, "open the drawer", np.zeros(8))
    assert rows.shape == (8, 7) and set(rows[:, 6]) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize(("task", "trial"), [("libero_goal_1", 1), ("libero_spatial_swap_0", 0)])
def test_the_child_is_the_official_environment(world, python, tmp_path, task, trial):
    """States and pictures bit by bit, though pictures are drawn later here."""
    suite, number = task.rsplit("_", 1)
    sent = actions(6)
    np.save(tmp_path / "actions.npy", sent)
    command = [
        python,
        "-I",
        REFERENCE,
        suite,
        number,
        str(trial),
        tmp_path / "actions.npy",
        tmp_path / "o.npz",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    expected = np.load(tmp_path / "o.npz")
    known = world.reset(task, trial)
    for k in range(len(sent) + 1):
        if k:
            known = world.step(sent[k - 1 : k])
        physics = expected["physics"][k]
        np.testing.assert_array_equal(world.physics()[: len(physics)], physics)
        np.testing.assert_array_equal(known.state[:3], expected["hand"][k])
        np.testing.assert_array_equal(known.state[6:], expected["fingers"][k])
        for name, picture in zip(CAMERAS, world.look(CAMERAS), strict=True):
            np.testing.assert_array_equal(picture, expected[name][k])


def test_an_episode_is_the_same_whatever_went_before(world):
    ends = []
    for before in (None, ("libero_goal_1", 2), ("libero_object_0", 0)):
        if before is not None:
            world.reset(*before)
        world.reset("libero_goal_1", 1)
        world.step(actions(5))
        ends.append(world.physics())
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[0], ends[2])


def test_words_of_libero_pro_are_in_its_files(world):
    assert world.reset("libero_goal_1", 0).facts["instruction"] == "put the bowl on the stove"
    assert world.reset("libero_goal_lan_1", 0).facts["instruction"] == "place the bowl on the stove"


def test_random_weights_run_from_end_to_end(python, tmp_path):
    wanted = conditions("libero_object", OFFICIAL, episodes=1, longest_s=1.0)
    result = evaluate_suite(wanted, device="cpu")
    (run,) = result["runs"]
    assert run["note"] == "after 20 steps" and run["chunks"] == 3 and not run["success"]
    assert run["instruction"] == "pick up the alphabet soup and place it in the basket"


class Script:
    """LIBERO's scripted expert as a policy: one row per chunk."""

    def __init__(self, world):
        self.world = world

    def predict(self, images, instruction, proprio, committed=None):
        return self.world.expert()[None]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["libero_object_0", "libero_object_4", "libero_spatial_0", "libero_goal_1"])
def test_a_script_succeeds_in_official_actions(world, task):
    suite = task.rsplit("_", 1)[0]
    plan = next(p for p in LiberoSuite(SuiteName(suite)).plans(10, 0) if p.task == task)
    result = run_episode(world, Script(world), plan, 1, LONGEST[suite])
    assert result.success, result


def test_a_task_or_state_that_is_not_there_is_refused(world):
    for task, trial in (("libero_goal_10", 0), ("libero_goal_0", 50), ("libero_gaol_0", 0)):
        with pytest.raises(SimulationError, match="allowed is"):
            world.reset(task, trial)
