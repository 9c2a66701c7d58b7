"""The closed loop: who knows the cubes wins, wrong choices count as wrong, numbers add up."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulated arm needs mujoco: pip install mujoco")

from vla_adapter_ros.cli.main import main
from vla_adapter_ros.contract import checkpoints_folder, read_contract
from vla_adapter_ros.errors import CheckpointError, ContractMismatch, ParameterError
from vla_adapter_ros.evaluation.closed_loop import (
    Trial,
    evaluate_closed_loop,
    format_result,
    run_scene,
    summarize,
    wilson_interval,
)
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.policy_loop import run_policy
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.simulation.cube_colors import COLORS
from vla_adapter_ros.simulation.robot import SimulatedRobot

CONTRACT = read_contract("franka_sim")
SHIPPED = checkpoints_folder() / "franka_sim_tiny"
ROWS = 8


def color_in(instruction: str) -> str:
    """The one color that an instruction names."""
    (color,) = [color for color in COLORS if color in instruction.split()]
    return color


class Oracle:
    """Knows where the cubes lie: goes above the named one, down, closes, and up."""

    config = SimpleNamespace(chunk=ROWS, max_delay_rows=0)

    def __init__(self, robot: SimulatedRobot, choose=color_in) -> None:
        self.robot, self.choose = robot, choose
        self.texts, self.reset_at = [], None

    def predict(self, images, instruction, proprio, committed=None):
        assert [image.shape for image in images] == [(112, 112, 3)] * 2
        assert proprio.shape == (len(CONTRACT.state),)
        self.texts.append(instruction)
        cube = self.robot.object_positions()[self.choose(instruction)]
        tool, arm = proprio[8:11], proprio[:7]
        above = np.array([cube[0], cube[1], 0.15])
        held = self.robot.gripper_command() < 0.035
        if held:
            goal, gripper = above + np.array([0, 0, 0.1]), 0.0
        elif np.linalg.norm(tool[:2] - cube[:2]) > 0.012:
            goal, gripper = above, 1.0
        else:
            goal, gripper = np.array([cube[0], cube[1], 0.022]), float(tool[2] > 0.03)
        joints = self.robot.kinematics.inverse(goal)
        way = np.clip(joints - arm, -0.12, 0.12)
        steps = np.minimum(np.arange(1, ROWS + 1) / 4, 1.0)[:, None]
        return np.column_stack([arm + steps * way, np.full(ROWS, gripper)])


@pytest.fixture(scope="module")
def robot():
    robot = SimulatedRobot(CONTRACT, "raycast")
    yield robot
    robot.close()


@pytest.mark.slow
def test_each_cube_of_a_scene_is_named_once_and_the_right_one_counts(robot):
    oracle = Oracle(robot)
    found = run_scene(CONTRACT, robot, oracle, 4, "each", 10.0)
    assert [e.target for e in found] == list(robot.scene.colors)
    assert [e.lifted for e in found] == [e.target for e in found]
    assert all(e.success and not e.wrong and e.duration_s < 10.0 for e in found)
    assert {color_in(text) for text in oracle.texts} == set(robot.scene.colors)
    assert sum(e.chunks for e in found) == len(oracle.texts)


@pytest.mark.slow
def test_a_policy_that_takes_another_cube_is_wrong_and_one_that_waits_lifts_nothing(robot):
    colors = robot.reset(5).colors
    other = Oracle(robot, lambda text: colors[(colors.index(color_in(text)) + 1) % len(colors)])
    (found,) = run_scene(CONTRACT, robot, other, 5, "one", 10.0)
    assert found.target == colors[5 % 3]
    assert found.wrong and not found.success
    still = SimpleNamespace(
        config=Oracle.config,
        predict=lambda images, text, state, committed: np.tile(np.append(state[:7], 1.0), (ROWS, 1)),
    )
    (found,) = run_scene(CONTRACT, robot, still, 5, "one", 1.0)
    assert (found.lifted, found.wrong, found.success, found.duration_s) == ("", False, False, 1.0)
    assert found.chunks == 3  # at 0, 0.4 and 0.8 s


def test_every_frame_is_seen_when_asked_for_and_the_motion_is_the_same(robot):
    text = f"pick up the {robot.reset(6).colors[0]} cube"
    few = run_policy(CONTRACT, robot, Oracle(robot), text, longest_s=1.0)
    robot.reset(6)
    all_frames = run_policy(CONTRACT, robot, Oracle(robot), text, longest_s=1.0, every_frame=True)
    np.testing.assert_allclose(few.stamps, [0.0, 0.4, 0.8], atol=1e-9)
    np.testing.assert_allclose(all_frames.stamps, np.arange(10) / 10, atol=1e-9)
    np.testing.assert_allclose(all_frames.rows[[0, 4, 8]], few.rows, atol=1e-6)
    assert np.abs(few.rows[2] - few.rows[0]).max() > 0.05  # it has moved


def test_a_late_policy_that_decides_for_later_has_its_rows_carried_out_slower(robot):
    told = []

    def predict(images, text, state, committed):
        told.append(committed)
        steps = np.arange(1, ROWS + 1)[:, None] * np.array([0.0, 0.02, *[0.0] * 5])
        return np.column_stack([state[:7] + steps, np.ones(ROWS)])

    def late_policy(most_rows):
        return SimpleNamespace(config=SimpleNamespace(chunk=ROWS, max_delay_rows=most_rows), predict=predict)

    speeds = {}
    for most_rows, full_pace_rows in ((4, 2.0), (4, math.inf), (0, 2.0)):
        robot.reset(6)
        told.clear()
        run = run_policy(
            CONTRACT, robot, late_policy(most_rows), "go on", longest_s=2.4, latency=Latency(0.4),
            full_pace_rows=full_pace_rows,
        )  # fmt: skip
        assert run.refused == ""
        speeds[most_rows, full_pace_rows] = np.abs(np.diff(run.path[-60:, 1])).mean() / 0.01
        if most_rows and math.isfinite(full_pace_rows):
            assert run.late == (0.5, 0.4, 2)
            np.testing.assert_allclose(np.diff(run.stamps), 0.8, atol=1e-9)
            # Rows are as far apart as at full pace.
            np.testing.assert_allclose(np.diff(told[-1][:, 1]), 0.02, atol=2e-3)
    assert speeds[4, 2.0] == pytest.approx(speeds[4, math.inf] / 2, rel=0.1)


@pytest.mark.parametrize(("value", "why"), [(np.nan, "must be finite"), (2.5, "first target")])
def test_a_refused_chunk_is_a_failure_with_its_reason_and_the_next_episodes_go_on(robot, value, why):
    def predict(images, text, state, committed):
        return np.tile(np.append(state[:7], 1.0) if "red" not in text else np.full(8, value), (ROWS, 1))

    found = run_scene(CONTRACT, robot, SimpleNamespace(config=Oracle.config, predict=predict), 4, "each", 0.5)
    refused = [e for e in found if e.target == "red"]
    assert len(refused) == 1 < len(found) and not refused[0].success
    assert why in refused[0].refused and refused[0].chunks == 1 and refused[0].duration_s < 0.5
    assert all(e.refused == "" and e.duration_s == 0.5 for e in found if e not in refused)
    result = summarize(found)
    assert (result["episodes"], result["refused"], result["nothing_lifted"]) == (3, 1, 3)
    told = format_result(result | {"scenes": 1, "wall_s": 1.0, "jobs": 1})
    assert "none 3 times, 1 of these with a refused chunk" in told


def test_counts():
    def episode(scene: int, lifted: str, seconds: float = 2.0) -> Trial:
        return Trial(scene, ("red", "blue"), "pick up the red cube", "red", lifted, seconds, 5)

    found = [episode(1, "red"), episode(1, "red", 4.0), episode(2, "blue"), episode(2, "red"), episode(3, "")]
    result = summarize(found)
    assert (result["episodes"], result["successes"]) == (5, 3)
    assert (result["wrong_cube"], result["nothing_lifted"], result["scenes_all_right"]) == (1, 1, 1)
    assert result["median_success_s"] == 2.0
    assert wilson_interval(85, 90) == pytest.approx((0.8765, 0.9760), abs=1e-3)
    assert wilson_interval(0, 10)[0] == 0.0
    assert summarize([episode(1, "")])["median_success_s"] is None


def test_a_policy_of_nonsense_is_judged_and_not_a_crash(tmp_path, monkeypatch, capsys):
    predict = VlaAdapterPolicy.predict
    monkeypatch.setattr(VlaAdapterPolicy, "predict", lambda *args: predict(*args) * np.nan)
    status, result = run_command(tmp_path / "result.json", "--require", "1")
    assert status == 1 and (result["successes"], result["refused"]) == (0, 2)
    assert all("must be finite" in run["refused"] for run in result["runs"])
    assert "2 of these with a refused chunk" in capsys.readouterr().out


def run_command(path, *more: str) -> tuple[int, dict]:
    scenes = ["--scenes", "2", "--sentences", "one", "--seed", "900000", "--longest", "3"]
    status = main(["evaluate", "closed-loop", *scenes, "--json", str(path), *more])
    return status, json.loads(path.read_text())


def test_the_command(tmp_path, capsys):
    status, result = run_command(tmp_path / "result.json")
    assert status == 0
    assert "of 2 named cubes lifted" in capsys.readouterr().out
    assert [run["scene"] for run in result["runs"]] == [900_000, 900_001]
    assert result["successes"] == sum(run["lifted"] == run["target"] for run in result["runs"]) >= 1
    assert format_result(result).startswith(f"{result['successes']} of 2")


@pytest.mark.slow
def test_the_episodes_are_the_same_with_two_processes_and_too_few_successes_fail(tmp_path):
    _, one = run_command(tmp_path / "one.json")
    status, two = run_command(tmp_path / "two.json", "--jobs", "2", "--require", "3")
    assert status == 1
    assert one["runs"] == two["runs"]


@pytest.mark.slow
def test_the_installed_command_starts_worker_processes():
    """They read its file again, which must then not run the command again."""
    command = shutil.which("vla-adapter", path=Path(sys.executable).parent) or shutil.which("vla-adapter")
    if command is None:
        pytest.skip("the package is not installed: no command vla-adapter")
    scenes = ["--scenes", "2", "--sentences", "one", "--longest", "0.5", "--jobs", "2"]
    done = subprocess.run(
        [command, "evaluate", "closed-loop", *scenes, "--renderer", "raycast"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "of 2 named cubes lifted" in done.stdout


def test_refusals(tmp_path):
    for wrong in ({"scenes": 0}, {"jobs": 0}, {"named": "all"}):
        with pytest.raises(ParameterError, match="allowed is"):
            evaluate_closed_loop(SHIPPED, **wrong)
    with pytest.raises(ContractMismatch, match=r"action\.space"):
        evaluate_closed_loop(SHIPPED, contract="franka_sim_ee")
    with pytest.raises(CheckpointError):
        evaluate_closed_loop(tmp_path / "nothing")
