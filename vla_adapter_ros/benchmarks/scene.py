"""Does the scene check warn before a policy fails? A camera of the simulated robot is moved and turned."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.benchmarks.scene_success import (
    SHIFTS_CM,
    TURNS_DEG,
    Displacement,
    displacements,
    measure_success,
    restore_cameras,
)
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.pick import UNSEEN_SEED
from vla_adapter_ros.evaluation.policy_loop import measured_state
from vla_adapter_ros.scene_check.scene import SceneComparison, SceneMemory
from vla_adapter_ros.scene_check.views import Verdict
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.system_info import describe_system
from vla_adapter_ros.trials.rates import rounded_interval

LOWER, UPPER = 0.1, 0.9  # quantiles of the score that are shown
LOOKS = 30  # scenes of a displacement at which success is not measured


def run_scene_benchmark(
    checkpoint: Path,
    *,
    cameras: Sequence[str] = (),
    shifts_cm: Sequence[float] = SHIFTS_CM,
    turns_deg: Sequence[float] = TURNS_DEG,
    scenes: int = 30,
    unchanged: int = 100,
    jobs: int = 1,
    known: Sequence[dict[str, Any]] = (),
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure score, warnings and success over how far a camera stands from its place.

    Args:
        checkpoint: Folder of a checkpoint with a contract of a simulated robot, and with reference views.
        cameras: Those to displace, one at a time; default: all.
        shifts_cm, turns_deg: How far they are moved [cm], or turned [degrees].
        scenes: Unseen scenes for each displacement, in which each cube is named; 0: success is not measured.
        unchanged: Unseen scenes in which nothing is displaced, for false alarms.
        jobs: Processes that measure success.
        known: Entries of `success` of an earlier result, which are not measured again.
        report: Called with a line for each displacement.

    Returns:
        `levels`, with an entry for each displacement, `false_alarms`, and `success`, with every trial.

    Raises:
        ParameterError: the checkpoint has no contract or no reference views, or lacks a camera.
        CheckpointError, SimulationError: the checkpoint or the simulator cannot be had.
    """
    contract_file = checkpoint / "contract.yaml"
    if not contract_file.is_file():
        raise ParameterError(f"checkpoint {checkpoint} carries no contract: allowed is one that does")
    contract = read_contract(contract_file)
    memory = SceneMemory.from_checkpoint(checkpoint, contract)
    if not memory.references:
        raise ParameterError(
            f"checkpoint {checkpoint} has no reference views: `vla-adapter scene --learn` adds them"
        )
    if unknown := sorted(set(cameras) - set(contract.camera_names)):
        raise ParameterError(f"cameras {unknown}: allowed are {', '.join(contract.camera_names)}")
    wanted = [
        d for camera in cameras or contract.camera_names for d in displacements(camera, shifts_cm, turns_deg)
    ]
    success = list(known)
    missing = [d for d in wanted if _find(success, d) is None] if scenes else []
    for displacement, trials in measure_success(str(checkpoint), missing, scenes, jobs) if missing else ():
        facts = [[trial.scene, trial.target, trial.success] for trial in trials]
        success.append({**asdict(displacement), "trials": facts})
        report(f"{_name(displacement)}: {sum(t.success for t in trials)} of {len(trials)} cubes lifted")
    robot = SimulatedRobot(contract, "raycast")
    found = [_look(robot, memory, None, UNSEEN_SEED + n) for n in range(unchanged)]
    levels = []
    for displacement in wanted:
        levels.append(_level(robot, memory, displacement, _find(success, displacement), scenes))
        report(_line(levels[-1]))
    return {
        "checkpoint": checkpoint.name,
        "limits": asdict(contract.safety.scene) | {"check": str(contract.safety.scene.check)},
        "image_width_px": {name: camera.width for name, camera in contract.cameras.items()},
        "unchanged_scenes": unchanged,
        "false_alarms": sum(comparison.verdict is Verdict.CHANGED for comparison in found),
        "largest_unchanged_score_px": round(
            max((view.score for comparison in found for view in comparison.views), default=0.0), 3
        ),
        "levels": levels,
        "success": success,
        "host": describe_system(),
    }


def read_success(path: Path) -> list[dict[str, Any]]:
    """Entries of `success` of an earlier result; none if there is no file.

    Raises:
        ParameterError: it is no result of this benchmark.
    """
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["success"]
        for entry in entries:
            _find([entry], Displacement("", 0.0, 0.0))
            [(int(scene), bool(success)) for scene, _, success in entry["trials"]]
        return list(entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{path} is no result of `benchmark scene`: {error!r}") from None


def format_result(result: dict[str, Any]) -> str:
    """The result in words, a line for each displacement."""
    lines = [_line(level) for level in result["levels"]]
    lines.append(
        f"{result['false_alarms']} false alarms in {result['unchanged_scenes']} unchanged scenes, "
        f"largest score {result['largest_unchanged_score_px']:.2f} px"
    )
    return "\n".join(lines)


def _look(
    robot: SimulatedRobot, memory: SceneMemory, displacement: Displacement | None, seed: int
) -> SceneComparison:
    """What the check says of a scene when its demonstration would begin."""
    restore_cameras(robot)
    if displacement is not None:
        displacement.apply(robot, seed)
    robot.reset(seed)
    images = {name: robot.render(name) for name in robot.contract.camera_names}
    return memory.compare(images, measured_state(robot.contract, robot))


def _level(
    robot: SimulatedRobot,
    memory: SceneMemory,
    displacement: Displacement,
    success: dict[str, Any] | None,
    scenes: int,
) -> dict[str, Any]:
    """Scores and warnings at a displacement, and success where it was measured."""
    trials = success["trials"] if success else []
    seeds = sorted({scene for scene, _, _ in trials}) or range(UNSEEN_SEED, UNSEEN_SEED + (scenes or LOOKS))
    found = {seed: _look(robot, memory, displacement, seed) for seed in seeds}
    warned = {seed for seed, comparison in found.items() if comparison.verdict is Verdict.CHANGED}
    views = [view for comparison in found.values() for view in comparison.views]
    scores = [view.score for view in views if view.camera == displacement.camera and np.isfinite(view.score)]
    quantiles = np.quantile(scores, (LOWER, 0.5, UPPER)) if scores else (np.nan,) * 3
    level: dict[str, Any] = {
        **asdict(displacement),
        "scenes": len(found),
        "score_px": [round(float(score), 3) for score in quantiles],
        "warned": len(warned),
    }
    if trials:
        right = [scene for scene, _, lifted in trials if lifted]
        level |= {
            "trials": len(trials),
            "successes": len(right),
            "success_interval": rounded_interval(len(right), len(trials)),
            "trials_without_warning": sum(scene not in warned for scene, _, _ in trials),
            "successes_without_warning": sum(scene not in warned for scene in right),
        }
    return level


def _find(success: Sequence[dict[str, Any]], displacement: Displacement) -> dict[str, Any] | None:
    """The trials of a displacement; those without any are the same for every camera."""
    for entry in success:
        size = entry["shift_cm"], entry["turn_deg"]
        same = entry["camera"] == displacement.camera or size == (0.0, 0.0)
        if same and size == (displacement.shift_cm, displacement.turn_deg):
            return entry
    return None


def _name(displacement: Displacement) -> str:
    return f"{displacement.camera} {displacement.shift_cm:g} cm {displacement.turn_deg:g} degrees"


def _line(level: dict[str, Any]) -> str:
    low, middle, high = level["score_px"]
    text = (
        f"{level['camera']} {level['shift_cm']:g} cm {level['turn_deg']:g} degrees: score {middle:.2f} px "
        f"({low:.2f} to {high:.2f}), warned in {level['warned']} of {level['scenes']} scenes"
    )
    if "trials" in level:
        text += (
            f"; {level['successes']} of {level['trials']} cubes lifted, without a warning "
            f"{level['successes_without_warning']} of {level['trials_without_warning']}"
        )
    return text
