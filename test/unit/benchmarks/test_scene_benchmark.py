"""The scene check on the simulator: no false alarms, and a warning before the shipped policy fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vla_adapter_ros.benchmarks import scene
from vla_adapter_ros.benchmarks.scene_plot import plot_result
from vla_adapter_ros.benchmarks.scene_success import Displacement, displacements
from vla_adapter_ros.contract import checkpoints_folder, read_contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.simulation.robot import SimulatedRobot

SHIPPED = checkpoints_folder() / "franka_sim_tiny"
MEASURED = Path(__file__).parents[3] / "benchmarks" / "scene.json"


def level(result, camera, **size):
    wanted = {"camera": camera, "shift_cm": 0.0, "turn_deg": 0.0} | size
    return next(entry for entry in result["levels"] if wanted.items() <= entry.items())


def test_what_was_measured_warns_before_a_tenth_is_lost():
    result = json.loads(MEASURED.read_text())
    assert result["unchanged_scenes"] >= 100 and result["false_alarms"] <= 1
    best = level(result, "third_view")
    tried = [entry for entry in result["levels"] if entry["camera"] == "third_view" and "trials" in entry]
    for size in ("shift_cm", "turn_deg"):
        rising = sorted((entry for entry in tried if entry[size] or entry is best), key=lambda e: e[size])
        rates = [entry["successes"] / entry["trials"] for entry in rising]
        assert rates[-1] < rates[0] - 0.1, "the displacements must be large enough to matter"
        for entry, rate in zip(rising, rates, strict=True):
            if rate <= rates[0] - 0.1:
                assert entry["warned"] > entry["scenes"] / 2
    kept = [e for e in tried if e["trials_without_warning"] >= 10]
    for entry in kept:
        assert entry["successes_without_warning"] / entry["trials_without_warning"] > 0.75


@pytest.mark.slow
def test_a_displaced_camera_is_scored_and_an_unchanged_scene_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(scene, "LOOKS", 4)
    result = scene.run_scene_benchmark(SHIPPED, cameras=["gripper"], scenes=0, unchanged=20, report=str)
    assert result["false_alarms"] <= 1
    middle = [entry["score_px"][1] for entry in result["levels"] if not entry["turn_deg"]]
    assert middle == sorted(middle) and middle[0] < 0.5 < middle[1]
    assert level(result, "gripper", shift_cm=1.0)["warned"] == 4
    plot_result(result, tmp_path / "scene.png")
    assert (tmp_path / "scene.png").stat().st_size > 5000
    assert "0 false alarms in 20 unchanged scenes" in scene.format_result(result)


@pytest.mark.slow
def test_a_hundred_unchanged_scenes_give_no_false_alarm(monkeypatch):
    monkeypatch.setattr(scene, "displacements", lambda camera, shifts, turns: [])
    result = scene.run_scene_benchmark(SHIPPED, scenes=0, unchanged=100, report=str)
    assert result["false_alarms"] <= 1


def test_a_checkpoint_without_views_and_a_camera_that_is_not_there_are_told(tmp_path):
    with pytest.raises(ParameterError, match="carries no contract"):
        scene.run_scene_benchmark(tmp_path)
    with pytest.raises(ParameterError, match=r"cameras \['wrist'\]: allowed are third_view, gripper"):
        scene.run_scene_benchmark(SHIPPED, cameras=["wrist"])
    (tmp_path / "contract.yaml").write_bytes((SHIPPED / "contract.yaml").read_bytes())
    with pytest.raises(ParameterError, match="has no reference views"):
        scene.run_scene_benchmark(tmp_path)


def test_successes_of_an_earlier_result_are_read(tmp_path):
    assert scene.read_success(tmp_path / "nothing.json") == []
    entry = {"camera": "gripper", "shift_cm": 1.0, "turn_deg": 0.0, "trials": [[900000, "red", True]]}
    path = tmp_path / "scene.json"
    path.write_text(json.dumps({"success": [entry]}))
    assert scene.read_success(path) == [entry]
    for damaged in ("[]", '{"success": [{}]}', "{", json.dumps({"success": [entry | {"trials": [[1]]}]})):
        path.write_text(damaged)
        with pytest.raises(ParameterError, match=r"scene\.json is no result of `benchmark scene`"):
            scene.read_success(path)


def test_one_camera_is_displaced_at_a_time():
    """A process measures many displacements with one robot: the camera before stands right again."""
    robot = SimulatedRobot(read_contract("franka_sim"), "raycast")
    places = robot.world.model.cam_pos.copy(), robot.world.model.cam_quat.copy()
    Displacement("third_view", turn_deg=5.0).apply(robot, 7)
    Displacement("gripper", shift_cm=2.0).apply(robot, 7)
    moved, turned = robot.world.model.cam_pos - places[0], robot.world.model.cam_quat - places[1]
    names = [robot.world.model.camera(n).name for n in range(robot.world.model.ncam)]
    assert [name for name, row in zip(names, moved, strict=True) if row.any()] == ["gripper"]
    assert np.linalg.norm(moved) == pytest.approx(0.02) and np.abs(turned).max() < 1e-12
    found = [(d.shift_cm, d.turn_deg) for d in displacements("gripper", (2.0,), ())]
    assert found == [(0.0, 0.0), (2.0, 0.0)]


def test_levels_without_success_are_drawn_and_told(tmp_path):
    sizes = [(0.0, 0.0), (1.0, 0.0), (0.0, 2.0)]
    levels = [
        {"camera": "gripper", "shift_cm": cm, "turn_deg": turn, "scenes": 3, "warned": 1,
         "score_px": [0.0, float(np.hypot(cm, turn)), 3.0]}
        for cm, turn in sizes
    ]  # fmt: skip
    result = {
        "levels": levels,
        "limits": {"displacement_max": 0.01},
        "image_width_px": {"gripper": 112},
        "false_alarms": 0,
        "unchanged_scenes": 5,
        "largest_unchanged_score_px": 0.0,
    }
    plot_result(result, tmp_path / "scene.png")
    assert (tmp_path / "scene.png").stat().st_size > 5000
    assert scene.format_result(result).startswith("gripper 0 cm 0 degrees: score 0.00 px (0.00 to 3.00)")
