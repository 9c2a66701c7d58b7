"""Suites: who knows the cubes wins, who does not is judged, and numbers add up whoever did which part."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

import av
from cube_oracle import CONTRACT, ROWS, Oracle, color_in

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import checkpoints_folder
from vla_adapter_ros.errors import CheckpointError, ContractMismatch, ParameterError
from vla_adapter_ros.evaluation.conditions import conditions
from vla_adapter_ros.evaluation.episode_journal import EpisodeJournal
from vla_adapter_ros.evaluation.harness import evaluate_suite, run_plan
from vla_adapter_ros.evaluation.pick import PickJudge, PickSuite
from vla_adapter_ros.evaluation.suite import Ending, Plan, Result, Sight, result_of
from vla_adapter_ros.evaluation.suite_result import (
    Shard,
    compare_results,
    format_comparison,
    format_result,
    merge_results,
    read_result,
    suite_result,
)
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.scene import sample_scene

SHIPPED = checkpoints_folder() / "franka_sim_tiny"
SUITE = PickSuite()


@pytest.fixture(scope="module")
def robot():
    robot = SimulatedRobot(CONTRACT, "raycast")
    yield robot
    robot.close()


def policy(predict):
    return SimpleNamespace(config=Oracle.config, predict=predict)


def still(images, text, state, committed):
    return np.tile(np.append(state[:7], 1.0), (ROWS, 1))


# Plans and judges


def test_each_cube_of_a_scene_is_named_once():
    plans = SUITE.plans(9, 900_000)
    assert [plan.number for plan in plans] == list(range(9))
    for scene in range(3):
        own = plans[3 * scene : 3 * scene + 3]
        assert {plan.scene for plan in own} == {900_000 + scene}
        assert tuple(plan.target for plan in own) == sample_scene(900_000 + scene).names
        assert [color_in(plan.instruction) for plan in own] == [plan.target for plan in own]
    assert SUITE.plans(4, 900_000) == plans[:4]


def sights(*steps: tuple[float, float, str]) -> list[Sight]:
    """Of the red cube's height [m], the gripper's opening, and what is lifted."""
    start = {"red": np.array([0.5, 0.0, 0.02]), "blue": np.array([0.5, 0.1, 0.02])}
    return [
        Sight(0.1 * n, lifted, start | {"red": np.array([0.5, 0.0, height])}, opening)
        for n, (height, opening, lifted) in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("steps", "over", "ending", "words"),
    [
        ([(0.02, 1.0, ""), (0.09, 0.5, "red")], True, Ending.SUCCESS, "red lifted"),
        ([(0.02, 1.0, ""), (0.02, 0.5, "blue")], True, Ending.WRONG_OBJECT, "blue lifted"),
        ([(0.02, 1.0, ""), (0.06, 0.5, ""), (0.02, 1.0, "")], False, Ending.DROPPED, "raised by 40 mm"),
        ([(0.02, 1.0, ""), (0.02, 0.1, "")], False, Ending.MISSED_GRASP, "held nothing"),
        ([(0.02, 1.0, ""), (0.02, 1.0, "")], False, Ending.TIMED_OUT, "never closed"),
    ],
)
def test_the_judge_says_how_a_pick_ended(steps, over, ending, words):
    judge = PickJudge("red")
    assert [judge.look(sight) for sight in sights(*steps)][-1] == over
    found, note = judge.ending()
    assert found is ending and words in note


# The simulator


@pytest.mark.slow
def test_who_knows_the_cubes_wins(robot):
    oracle = Oracle(robot)
    found = [run_plan(CONTRACT, robot, oracle, SUITE, plan)[0] for plan in SUITE.plans(3, 4)]
    assert all(result.success and result.duration_s < 10.0 for result in found)
    assert sum(result.chunks for result in found) == len(oracle.texts)


@pytest.mark.slow
def test_who_takes_another_cube_is_wrong_and_who_waits_lifts_nothing(robot):
    colors = robot.reset(5).names
    other = Oracle(robot, lambda text: colors[(colors.index(color_in(text)) + 1) % len(colors)])
    plan = SUITE.plans(1, 5)[0]
    assert run_plan(CONTRACT, robot, other, SUITE, plan)[0].ending == Ending.WRONG_OBJECT
    found = run_plan(CONTRACT, robot, policy(still), SUITE, plan, longest_s=1.0)[0]
    assert (found.ending, found.success, found.duration_s) == (Ending.TIMED_OUT, False, 1.0)
    assert found.chunks == 3  # at 0, 0.4 and 0.8 s


@pytest.mark.parametrize(("value", "why"), [(np.nan, "must be finite"), (2.5, "first target")])
def test_a_refused_chunk_ends_its_episode_with_its_reason_and_the_next_go_on(robot, value, why):
    def predict(images, text, state, committed):
        return still(images, text, state, committed) if "red" not in text else np.full((ROWS, 8), value)

    plans = SUITE.plans(3, 4)
    found = [run_plan(CONTRACT, robot, policy(predict), SUITE, plan, longest_s=0.5)[0] for plan in plans]
    refused = [result for result in found if result.target == "red"]
    assert len(refused) == 1 < len(found) and refused[0].ending == Ending.STOPPED
    assert why in refused[0].note and refused[0].chunks == 1 and refused[0].duration_s < 0.5
    assert all(r.ending == Ending.TIMED_OUT and r.duration_s == 0.5 for r in found if r not in refused)


# Results


def a_result(number: int, success: bool, task: str = "pick", duration_s: float = 2.0) -> Result:
    ending = Ending.SUCCESS if success else Ending.MISSED_GRASP
    return Result(number, task, 7 + number // 3, "pick up the red cube", "red", ending, "", duration_s, 5)


def a_whole(successes: list[bool], shard: Shard = Shard(), task: str = "pick", **changed) -> dict:  # noqa: B008
    wanted = asdict(conditions("pick", "x", episodes=len(successes))) | changed
    numbers = shard.numbers(len(successes))
    result = suite_result(wanted, shard, SUITE, [a_result(n, successes[n], task) for n in numbers])
    return json.loads(json.dumps(result))


def test_counts_rates_and_failures():
    whole = a_whole([True, True, False, True])
    assert (whole["episodes"], whole["successes"], whole["success_rate"]) == (4, 3, 0.75)
    assert whole["success_interval"] == pytest.approx([0.3006, 0.9544], abs=1e-3)
    assert whole["failures"] == {"missed grasp": 1} and whole["per_task"]["pick"]["episodes"] == 4
    assert "3 of 4" in format_result(whole) and "1 missed grasp" in format_result(whole)
    nothing = a_whole([False])
    assert nothing["median_success_s"] is None and "0 of 1" in format_result(nothing)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_together_are_the_whole(count):
    outcomes = [True, False, True, True, False, True, True]
    parts = [a_whole(outcomes, Shard(n, count)) for n in range(1, count + 1)]
    merged, whole = merge_results(parts[::-1]), a_whole(outcomes)
    for key in ("episodes", "successes", "success_interval", "per_task", "runs", "conditions"):
        assert merged[key] == whole[key]


def test_what_cannot_be_merged_says_why():
    first, second = (a_whole([True] * 6, Shard(n, 2)) for n in (1, 2))
    with pytest.raises(ParameterError, match="3 of 6 episodes are missing, the first is number 1"):
        merge_results([first])
    with pytest.raises(ParameterError, match="episode 0 is in two results"):
        merge_results([first, first, second])
    with pytest.raises(ParameterError, match="another latency_s"):
        merge_results([first, a_whole([True] * 6, Shard(2, 2), latency_s=0.2)])
    with pytest.raises(ParameterError, match="at least one"):
        merge_results([])


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/", "-1/2", "1/0"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ParameterError, match="allowed is I/N"):
        Shard.parse(text)


def test_two_results_are_compared_episode_by_episode():
    better, worse = a_whole([True] * 30), a_whole([n % 3 == 0 for n in range(30)])
    compared = compare_results(better, worse)
    assert (compared["first"], compared["second"], compared["only_first"]) == (30, 10, 20)
    assert compared["difference"] == pytest.approx(2 / 3, abs=1e-3) and compared["interval"][0] > 0.0
    assert "the first is better" in format_comparison(compared)
    assert "the second is better" in format_comparison(compare_results(worse, better))
    assert "no difference is shown" in format_comparison(compare_results(worse, worse))
    with pytest.raises(ParameterError, match="episode 0 is not the same in both"):
        compare_results(better, a_whole([True] * 30, task="push"))
    with pytest.raises(ParameterError, match="episode 29 is not the same in both"):
        compare_results(better, a_whole([True] * 29))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runs": []}', '{"runs": [{}], "conditions": {}}'])
def test_a_file_that_is_no_result_is_refused(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ParameterError, match=r"result\.json"):
        read_result(tmp_path / "result.json")


# Interrupted runs


def test_what_was_done_before_an_interruption_is_not_done_again(tmp_path):
    path, wanted = tmp_path / "new" / "part", {"suite": "pick", "seed": 1}
    kept = [a_result(0, True), a_result(1, False)]
    with pytest.raises(KeyboardInterrupt), EpisodeJournal(path, wanted) as journal:
        for result in kept:
            journal.add(result)
        raise KeyboardInterrupt
    path.write_text(path.read_text() + '{"number": 2, "ta')  # and the third was cut off
    with EpisodeJournal(path, wanted) as journal:
        assert journal.results == kept
        journal.add(a_result(2, True))
        assert len(path.read_text().splitlines()) == 4
    assert not path.exists()


@pytest.mark.parametrize(
    "text", ["{}\n", '{"suite": "pick", "seed": 2}\n', "none\n", '{"suite": "pick"}\nx\n']
)
def test_a_journal_of_something_else_is_refused_and_stays(tmp_path, text):
    path = tmp_path / "part"
    path.write_text(text)
    with pytest.raises(ParameterError, match="delete it"):
        EpisodeJournal(path, {"suite": "pick", "seed": 1})
    assert path.read_text() == text


def test_a_run_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    wanted = conditions("pick", SHIPPED, episodes=3, longest_s=0.5)
    whole = evaluate_suite(wanted)["runs"]
    seen, journal = [], tmp_path / "part"

    def interrupted(result: Result) -> None:
        seen.append(result)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_suite(wanted, journal=journal, report=interrupted)
    calls = []
    predict = VlaAdapterPolicy.predict
    monkeypatch.setattr(VlaAdapterPolicy, "predict", lambda *a: calls.append(1) or predict(*a))
    assert evaluate_suite(wanted, journal=journal)["runs"] == whole
    assert len(calls) == whole[2]["chunks"] and not journal.exists()


# The command


def run_command(path, *more: str) -> tuple[int, dict]:
    status = main(
        ["evaluate", "closed-loop", "--episodes", "3", "--longest", "3", "--json", str(path), *more]
    )
    return status, json.loads(path.read_text())


def test_the_command_writes_figures_a_page_and_videos_of_failures(tmp_path, capsys, monkeypatch):
    predict = VlaAdapterPolicy.predict

    def forgets_blue(self, images, text, state, committed=None):
        return still(images, text, state, None) if "blue" in text else predict(self, images, text, state)

    monkeypatch.setattr(VlaAdapterPolicy, "predict", forgets_blue)
    page, videos = tmp_path / "page.html", tmp_path / "videos"
    status, result = run_command(tmp_path / "r.json", "--html", str(page), "--videos", str(videos))
    assert status == 0 and [run["scene"] for run in result["runs"]] == [900_000] * 3
    assert {"success_rate", "episodes", "per_task", "success_interval"} <= set(result)
    assert result["successes"] == sum(run["success"] for run in result["runs"]) >= 1
    failures = [run for run in result["runs"] if not run["success"]]
    assert "blue" in [run["target"] for run in failures]
    told = capsys.readouterr().out
    assert f"{result['successes']} of 3" in " ".join(told.split())
    assert len(list(videos.glob("*.mp4"))) == len(failures)
    for run in failures:
        assert run["instruction"] in page.read_text()
        (video,) = videos.glob(f"episode_{run['number']:04d}_*.mp4")
        with av.open(str(video)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) in (30, 31) and frames[0].shape == (544, 640, 3) and frames[0].std() > 10


def test_a_policy_of_nonsense_is_judged_and_not_a_crash(tmp_path, monkeypatch, capsys):
    predict = VlaAdapterPolicy.predict
    monkeypatch.setattr(VlaAdapterPolicy, "predict", lambda *args: predict(*args) * np.nan)
    status, result = run_command(tmp_path / "result.json", "--require", "1")
    assert status == 1 and (result["successes"], result["failures"]) == (0, {"stopped": 3})
    assert all("must be finite" in run["note"] for run in result["runs"])
    assert "must be finite" in capsys.readouterr().out


@pytest.mark.slow
def test_the_episodes_are_the_same_with_two_processes_and_in_shards(tmp_path, capsys):
    _, one = run_command(tmp_path / "one.json")
    status, two = run_command(tmp_path / "two.json", "--jobs", "2", "--require", "4")
    assert status == 1 and one["runs"] == two["runs"]
    for shard in ("1/2", "2/2"):
        run_command(tmp_path / f"part{shard[0]}.json", "--shard", shard)
    parts = [str(tmp_path / f"part{n}.json") for n in (1, 2)]
    assert main(["evaluate", "merge", *parts, "--json", str(tmp_path / "merged.json")]) == 0
    assert json.loads((tmp_path / "merged.json").read_text())["runs"] == one["runs"]
    capsys.readouterr()
    assert main(["evaluate", "compare", str(tmp_path / "one.json"), str(tmp_path / "merged.json")]) == 0
    assert "no difference is shown" in capsys.readouterr().out
    assert main(["evaluate", "merge", parts[0]]) == 2
    assert "are missing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("control", "most"), [("none", 30), ("untrained", 2), ("no_language", 16), ("swapped_cameras", 4)]
)
def test_the_evaluation_can_fail(control, most):
    """Without words nobody lifts more than one cube of three, but by luck; without eyes or training none."""
    found = evaluate_suite(conditions("pick", SHIPPED, episodes=30, control=control), jobs=2)
    low = found["success_interval"][0]
    assert found["successes"] <= most
    assert (low > found["chance"]["pick"]) == (control == "none")


@pytest.mark.slow
def test_the_installed_command_starts_worker_processes():
    """They read its file again, which must then not run the command again."""
    command = shutil.which("vla-adapter", path=Path(sys.executable).parent) or shutil.which("vla-adapter")
    if command is None:
        pytest.skip("the package is not installed: no command vla-adapter")
    done = subprocess.run(
        [command, "evaluate", "closed-loop", "--episodes", "2", "--longest", "0.5", "--jobs", "2"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "of 2" in done.stdout


def test_refusals(tmp_path):
    for wrong in ({"episodes": 0}, {"control": "blind"}, {"speed": 3.0}):
        with pytest.raises(ParameterError, match="allowed is"):
            conditions("pick", SHIPPED, **wrong)
    with pytest.raises(ParameterError, match="suite = 'kitchen': allowed is one of"):
        conditions("kitchen", SHIPPED)
    wanted = conditions("pick", SHIPPED, episodes=1)
    with pytest.raises(ParameterError, match="jobs = 0"):
        evaluate_suite(wanted, jobs=0)
    with pytest.raises(ContractMismatch, match=r"action\.space"):
        evaluate_suite(dataclasses.replace(wanted, contract="franka_sim_ee"))
    with pytest.raises(CheckpointError):
        evaluate_suite(dataclasses.replace(wanted, checkpoint=str(tmp_path / "nothing")))


def test_a_result_of_a_refused_chunk_is_stopped():
    plan = Plan(3, "pick", 5, "pick up the red cube", "red")
    judge = PickJudge("red")
    judge.look(sights((0.02, 1.0, ""))[0])
    stopped = result_of(plan, judge, "too far", 0.5, 2)
    assert (stopped.ending, stopped.note, stopped.success) == (Ending.STOPPED, "too far", False)
