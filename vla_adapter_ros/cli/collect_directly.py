"""Collect demonstrations without ROS nodes: several processes drive, this one writes the LeRobot data set."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from pathlib import Path

from vla_adapter_ros.cli.progress_bar import progress_bar
from vla_adapter_ros.cli.seen_scenes import RecordingResult, first_scene, note_scene
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset.layout import HUMAN
from vla_adapter_ros.dataset.quality.findings import Level
from vla_adapter_ros.dataset.quality.monitor import EpisodeMonitor
from vla_adapter_ros.dataset.trial_facts import TrialFacts, utc_text
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import RecordingError
from vla_adapter_ros.evaluation.demonstrations import Demonstration, DemonstrationLoop
from vla_adapter_ros.evaluation.scene_processes import run_scenes
from vla_adapter_ros.recorder.session_types import notes_of

MOST_FAILED = 10
"""So many tries more than demonstrations may fail."""
MOST_TRIES = 4
"""So many times as many tries as demonstrations, as a policy that leads first may do the task itself."""


def collect_directly(
    dataset: Path,
    episodes: int,
    *,
    suite: str = "pick",
    contract: str = "franka_sim",
    seed: int | None = None,
    renderer: str = "raycast",
    jobs: int = 1,
    checkpoint: Path | None = None,
) -> RecordingResult:
    """Record `episodes` successful demonstrations as `collect_demonstrations` does, in simulated time.

    Args:
        dataset: Directory of the data set; continued if it exists.
        episodes: Demonstrations to add.
        suite: Whose tasks are demonstrated.
        contract: Robot contract.
        seed: First scene, see `first_scene`.
        renderer: Of the simulator.
        jobs: Processes that drive; the data are the same with any number of them.
        checkpoint: Policy that leads first in each try, see `DemonstrationLoop`; None: none does.

    Raises:
        ParameterError: no such suite.
        DatasetError: the scenes would be, or may be, in the data set already.
        SimulationError: the robot cannot be simulated, or a process ended.
        RecordingError: too many tries failed, or something could not be written.
    """
    started, first, robot = time.monotonic(), first_scene(dataset, seed), read_contract(contract)
    make = partial(DemonstrationLoop, robot, suite, first, renderer, checkpoint)
    saved = discarded = 0
    tries = run_scenes(make, range(MOST_TRIES * episodes + MOST_FAILED), jobs)
    with closing(DatasetWriter(dataset, robot)) as writer, closing(tries):
        with progress_bar("demonstrations", episodes) as advance:
            for number, found in enumerate(tries):
                kept = [_save(writer, robot, one) for one in found]
                saved, discarded = saved + sum(kept), discarded + len(kept) - sum(kept)
                if any(kept):
                    note_scene(dataset, first + number)
                    advance()
                if saved == episodes or discarded > episodes + MOST_FAILED:
                    break
    if saved < episodes:
        raise RecordingError(f"{saved} of {episodes} demonstrations are saved, {discarded} failed: giving up")
    return RecordingResult(saved, discarded, time.monotonic() - started)


def _save(writer: DatasetWriter, contract: Contract, tried: Demonstration) -> bool:
    """Put a demonstration into the data set, if the task was done and its quality is good enough."""
    if not tried.done:
        return False
    monitor = EpisodeMonitor(contract)
    writer.start_episode(tried.plan.instruction)
    for frame in tried.frames:
        writer.add_frame(frame, HUMAN)
        monitor.add_frame(frame)
    report = monitor.validate([HUMAN] * len(tried.frames), "")
    if report.level is Level.FAIL:
        writer.discard_episode()
        return False
    length_s = tried.frames[-1].stamp - tried.frames[0].stamp
    facts = TrialFacts(started=utc_text(time.time()), duration_s=length_s, policy_share=0.0)
    writer.save_episode(notes_of(report, 0, "", facts))
    return True
