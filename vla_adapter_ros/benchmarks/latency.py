"""Success, time, smoothness and starvation of a policy whose chunks arrive late, by several ways."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.benchmarks.latency_peers import PEERS, run_peer
from vla_adapter_ros.benchmarks.motion_measures import jerk
from vla_adapter_ros.choices import FULL_PACE_ROWS
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.latency import LONGEST_S as LONGEST_LATENCY_S
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.paired import paired_difference
from vla_adapter_ros.evaluation.pick import CUBES, LONGEST_S, UNSEEN_SEED, PickSuite
from vla_adapter_ros.evaluation.policy_loop import TICK_S, Run, run_policy
from vla_adapter_ros.evaluation.scene_processes import run_scenes
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.system_info import describe_system
from vla_adapter_ros.trials.rates import rounded_interval

OURS, FULL_PACE, SPLICE = "ours", "full_pace", "splice"
METHODS = (OURS, FULL_PACE, SPLICE, *PEERS)
"""ours: for the state at which the chunk begins, slower where many rows would pass; full_pace: not slower;
splice: this package's controller, for the state of the image."""
LATENCIES_MS = (0.0, 100.0, 200.0, 300.0, 400.0)


@dataclass(frozen=True)
class LateTrial:
    """One instruction in one scene, by one method at one latency.

    Attributes:
        method: Out of `METHODS`.
        latency_ms: Mean [ms].
        scene: Its seed.
        target: The cube that was named.
        lifted: The cube that was lifted first; empty: none.
        duration_s: Until then, or all that was allowed [s].
        rms_jerk: Root mean square of the arm's jerk, summed over joints [rad/s^3].
        starved_s: Time without a row that was due [s]; 0 where a method knows no such time.
        refused: Why the controller refused a chunk; empty: it did not.
    """

    method: str
    latency_ms: float
    scene: int
    target: str
    lifted: str
    duration_s: float
    rms_jerk: float
    starved_s: float
    refused: str = ""

    @property
    def success(self) -> bool:
        """The named cube was lifted first."""
        return self.lifted == self.target


def run_latency_benchmark(
    checkpoint: str | Path,
    *,
    methods: Sequence[str] = METHODS,
    latencies_ms: Sequence[float] = LATENCIES_MS,
    scenes: int = 20,
    seed: int = UNSEEN_SEED,
    jitter: float = 0.0,
    trace: tuple[float, ...] = (),
    jobs: int = 1,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Let every method do the same episodes at every latency, in simulated time.

    Args:
        checkpoint: Its directory; it carries the contract of a simulated robot.
        methods: Out of `METHODS`.
        latencies_ms: From an image to its chunk [ms]; with a trace: added to it.
        scenes: Scenes; each of its cubes is named once.
        seed: Of the first scene.
        jitter: Standard deviation of the latency as a fraction of it.
        trace: Measured latencies [s]; empty: none.
        jobs: Processes, one thread each.
        device: Where the policy computes.
        report: Called with a line per scene.

    Returns:
        {"methods": {"ours": {"200": {"success": n, "episodes": m, ...}}}, ...}, ready for JSON.

    Raises:
        ParameterError: a method or a number that is not allowed.
        CheckpointError, SimulationError: the checkpoint or the simulator cannot be had.
    """
    for name in methods:
        if name not in METHODS:
            raise ParameterError(f"method = {name!r}: allowed are {', '.join(METHODS)}")
    if trace and any(latency_ms / 1e3 + max(trace) > LONGEST_LATENCY_S for latency_ms in latencies_ms):
        raise ParameterError(f"latencies with the trace: allowed are at most {LONGEST_LATENCY_S:g} s")
    make = partial(_Loop, str(checkpoint), tuple(methods), tuple(latencies_ms), jitter, trace, device)
    trials: list[LateTrial] = []
    for found in run_scenes(make, range(seed, seed + scenes), min(jobs, scenes)):
        trials += found
        right = sum(trial.success for trial in found)
        report(f"scene {found[0].scene}: {right} of {len(found)} episodes with the named cube lifted")
    return {
        "checkpoint": str(checkpoint),
        "methods": summarize(trials),
        "scenes": scenes,
        "seed": seed,
        "jitter": jitter,
        "trace": list(trace),
        "longest_s": LONGEST_S,
        "host": describe_system(),
        "runs": [asdict(trial) | {"success": trial.success} for trial in trials],
    }


def summarize(trials: Sequence[LateTrial]) -> dict[str, dict[str, dict[str, Any]]]:
    """Method -> latency [ms] -> counts, times, smoothness, and the difference to the method at no latency."""
    grouped: dict[str, dict[float, list[LateTrial]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        grouped[trial.method][trial.latency_ms].append(trial)
    return {
        method: {f"{latency:g}": _summary(found, levels.get(0.0)) for latency, found in levels.items()}
        for method, levels in grouped.items()
    }


def _summary(found: list[LateTrial], at_once: list[LateTrial] | None) -> dict[str, Any]:
    right = sum(trial.success for trial in found)
    times = [trial.duration_s for trial in found if trial.success]
    summary: dict[str, Any] = {
        "success": right,
        "episodes": len(found),
        "interval": rounded_interval(right, len(found)),
        "median_success_s": round(float(np.median(times)), 2) if times else None,
        "rms_jerk": round(float(np.sqrt(np.mean([trial.rms_jerk**2 for trial in found]))), 2),
        "starved_s": round(sum(trial.starved_s for trial in found), 2),
        "refused": sum(bool(trial.refused) for trial in found),
    }
    if at_once is not None and at_once is not found:
        before = {(trial.scene, trial.target): trial.success for trial in at_once}
        compared = paired_difference(
            [trial.success for trial in found],
            [before[trial.scene, trial.target] for trial in found],
            [trial.scene for trial in found],
        )
        summary["against_0"] = [round(value, 4) for value in compared]
    return summary


def format_result(result: dict[str, Any]) -> str:
    """A table: methods below each other, latencies beside each other."""
    methods = result["methods"]
    latencies = list(dict.fromkeys(latency for levels in methods.values() for latency in levels))
    episodes = next(iter(next(iter(methods.values())).values()))["episodes"]
    lines = [
        f"episodes of {episodes} in which the named cube was lifted, by latency [ms]",
        f"{'':<12}" + "".join(f"{latency:>8}" for latency in latencies),
    ]
    for method, levels in methods.items():
        counts = (levels.get(latency, {}).get("success", "") for latency in latencies)
        lines.append(f"{method:<12}" + "".join(f"{count:>8}" for count in counts))
    return "\n".join(lines)


class _Loop:
    """What a process needs, made once."""

    def __init__(
        self,
        checkpoint: str,
        methods: tuple[str, ...],
        latencies_ms: tuple[float, ...],
        jitter: float,
        trace: tuple[float, ...],
        device: str,
    ) -> None:
        self._policy = VlaAdapterPolicy.from_pretrained(checkpoint, device=device)
        if self._policy.contract is None:
            raise ParameterError(f"checkpoint {checkpoint}: it carries no contract of a simulated robot")
        self._contract = read_contract(self._policy.contract.name)
        self.robot = SimulatedRobot(self._contract, "raycast")
        self._methods, self._latencies_ms, self._jitter, self._trace = methods, latencies_ms, jitter, trace

    def close(self) -> None:
        """Let go of the robot."""
        self.robot.close()

    def run(self, seed: int) -> list[LateTrial]:
        """All episodes of a scene."""
        found = []
        for plan in PickSuite(self.robot.model).plans(CUBES, seed):
            for latency_ms in self._latencies_ms:
                latency = Latency(latency_ms / 1e3, self._jitter, self._trace, seed)
                for method in self._methods:
                    self.robot.reset(seed)
                    run = self._follow(method, plan.instruction, latency)
                    found.append(
                        LateTrial(
                            method, latency_ms, seed, plan.target, run.lifted, round(run.duration_s, 2),
                            _rms_jerk(run), run.starved_s, run.refused,
                        )
                    )  # fmt: skip
        return found

    def _follow(self, method: str, text: str, latency: Latency) -> Run:
        contract, robot = self._contract, self.robot
        if method in PEERS:
            return run_peer(contract, robot, self._policy, text, method, longest_s=LONGEST_S, latency=latency)
        return run_policy(
            contract, robot, self._policy, text, longest_s=LONGEST_S, latency=latency,
            decides_ahead=method != SPLICE, full_pace_rows=FULL_PACE_ROWS if method == OURS else math.inf,
        )  # fmt: skip


def _rms_jerk(run: Run) -> float:
    if len(run.path) < 5:
        return 0.0
    return round(float(np.sqrt((jerk(run.path, TICK_S) ** 2).sum(axis=1).mean())), 3)
