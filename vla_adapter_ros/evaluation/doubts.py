"""How unsure a policy is in a suite's episodes: what is usual, and which failures that announces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vla_adapter_ros.control.disagreement import disagreement, full_speed_rows
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.evaluation.conditions import Conditions
from vla_adapter_ros.evaluation.harness import SuiteLoop
from vla_adapter_ros.evaluation.policy_loop import Run
from vla_adapter_ros.evaluation.scene_processes import run_scenes
from vla_adapter_ros.evaluation.suite import Result
from vla_adapter_ros.model.familiarity import Familiarity, Signs, choose_limits, learn_features
from vla_adapter_ros.system_info import describe_system

ALARMS = 0.05
"""Share of successful episodes that may raise an alarm."""
AHEAD_S = 1.0
"""So long before its end, an alarm announces a failure."""


class Watched(NamedTuple):
    """An episode with what was seen of the policy."""

    result: Result
    times: np.ndarray
    """Of its chunks since the episode began, when they begin to count (N,) [s]."""
    features: np.ndarray
    """(N, F)."""
    disagreements: np.ndarray
    """(N,); NaN for the first chunk."""


class _Records:
    """Keeps the features of each prediction."""

    def __init__(self, policy: Any) -> None:
        self.config, self._policy = policy.config, policy
        self.features: list[np.ndarray] = []

    def predict(self, *observation: Any) -> np.ndarray:
        rows = self._policy.predict(*observation)
        self.features.append(self._policy.query_features())
        return rows


class _WatchedLoop(SuiteLoop):
    """Runs episodes and keeps what is seen of the policy."""

    def run(self, number: int) -> list[Watched]:  # type: ignore[override]
        """The episode of this number."""
        records = _Records(self.policy)
        result, run = self.run_once(number, records)
        return [Watched(result, _begins(run), np.array(records.features), self._apart(run))]

    def _apart(self, run: Run) -> np.ndarray:
        scale, rate_hz = full_speed_rows(self.contract), self.contract.rate_hz * run.late.pace
        found, times = [np.nan], _begins(run)
        for n in range(1, len(run.rows)):
            steps = np.arange(run.rows.shape[1]) / rate_hz
            before, now = times[n - 1] + steps, times[n] + steps
            found.append(disagreement(before, run.rows[n - 1], now, run.rows[n], scale))
        return np.array(found[: len(run.rows)])


def _begins(run: Run) -> np.ndarray:
    return run.stamps + run.late.delay_s


def watch_episodes(
    wanted: Conditions,
    *,
    jobs: int = 1,
    device: str = "cpu",
    report: Callable[[Result], None] = lambda r: None,
) -> list[Watched]:
    """Do a suite's episodes, and look at the policy.

    Args:
        wanted: What is to be done.
        jobs: Processes, each with one thread.
        device: Where the policy computes.
        report: Called with each result, in order.

    Raises:
        CheckpointError, SimulationError: the checkpoint or the simulator cannot be had.
    """
    found: list[Watched] = []
    for episodes in run_scenes(partial(_WatchedLoop, wanted, device), range(wanted.episodes), jobs):
        for episode in episodes:
            found.append(episode)
            report(episode.result)
    return found


def calibrate(episodes: Sequence[Watched]) -> tuple[Familiarity, dict[str, Any]]:
    """What is familiar to a policy, and which signs are unusual, from episodes of which some succeeded.

    Features are learned from every second successful episode, limits chosen by the others.

    Returns:
        It, and facts ready for JSON.

    Raises:
        CheckpointError: too few episodes succeeded.
    """
    successes = [episode for episode in episodes if episode.result.success]
    if len(successes) < 40:
        raise CheckpointError(
            f"{len(successes)} of {len(episodes)} episodes succeeded: needed are at least 40"
        )
    learned = learn_features(np.concatenate([episode.features for episode in successes[::2]]))
    limits = choose_limits([_signs(learned, episode) for episode in successes[1::2]], ALARMS)
    found = dataclasses.replace(learned, limits=limits)
    alarms = [first_alarm(found, episode) is not None for episode in successes[1::2]]
    return found, {
        "episodes": len(episodes),
        "successes": len(successes),
        "features": int(found.mean.size),
        "directions": len(found.directions),
        "limits": [round(limit, 4) for limit in limits],
        "alarms_in_other_successes": round(float(np.mean(alarms)), 4),
    }


def first_alarm(known: Familiarity, episode: Watched) -> float | None:
    """When the policy was first too unsure [s]; None: it never was."""
    for time, features, apart in zip(episode.times, episode.features, episode.disagreements, strict=True):
        if known.uncertainty(known.distance(features), float(apart)) > 1.0:
            return float(time)
    return None


def describe_alarms(known: Familiarity, episodes: Sequence[Watched]) -> dict[str, Any]:
    """How many failures were announced, how long before their end, and how many successes were alarmed.

    Args:
        known: Of the checkpoint.
        episodes: Of any suite.
    """
    failures = [episode for episode in episodes if not episode.result.success]
    alarms = [(first_alarm(known, episode), episode.result.duration_s) for episode in failures]
    ahead = sorted(round(end - at, 2) for at, end in alarms if at is not None)
    false = [first_alarm(known, e) is not None for e in episodes if e.result.success]
    announced = sum(time >= AHEAD_S for time in ahead)
    return {
        "episodes": len(episodes),
        "failures": len(failures),
        "announced": announced,
        "announced_share": round(announced / len(failures), 4) if failures else None,
        "ahead_s": ahead,
        "false_alarms": sum(false),
        "successes": len(false),
    }


def by_task(known: Familiarity, episodes: Sequence[Watched]) -> dict[str, dict[str, Any]]:
    """`describe_alarms` of each task."""
    tasks = sorted({episode.result.task for episode in episodes})
    return {task: describe_alarms(known, [e for e in episodes if e.result.task == task]) for task in tasks}


def report_of(known: Familiarity, episodes: Sequence[Watched], wanted: Conditions) -> dict[str, Any]:
    """Everything, ready for JSON."""
    return {
        "conditions": dataclasses.asdict(wanted),
        "host": describe_system(),
        **describe_alarms(known, episodes),
        "per_task": by_task(known, episodes),
    }


def format_alarms(report: dict[str, Any]) -> str:
    """The report in words."""
    lines = [f"{'task':<16}{'failures':>10}{'announced':>11}{'median ahead s':>16}{'false alarms':>14}"]
    for task, found in {**report["per_task"], "all": report}.items():
        median = f"{np.median(found['ahead_s']):.1f}" if found["ahead_s"] else ""
        lines.append(
            f"{task:<16}{found['failures']:>10}{found['announced']:>11}{median:>16}"
            f"{found['false_alarms']:>5} of {found['successes']:<5}"
        )
    lines.append(f"announced: at least {AHEAD_S:g} s before the end of the episode")
    return "\n".join(lines)


def _signs(known: Familiarity, episode: Watched) -> Signs:
    distances = np.array([known.distance(features) for features in episode.features])
    return Signs(distances, episode.disagreements)
