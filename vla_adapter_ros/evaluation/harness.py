"""Runs a suite: the same seed gives the same episodes, with any number of processes and shards."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vla_adapter_ros.choices import FASTEST, SLOWEST, Control
from vla_adapter_ros.contract import Contract, read_contract, require_same
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.controls import with_control
from vla_adapter_ros.evaluation.episode_journal import EpisodeJournal
from vla_adapter_ros.evaluation.episode_video import EpisodeVideo, video_path
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.libero import LiberoLoop, LiberoSuite
from vla_adapter_ros.evaluation.perturbed import latency_of, put_up, seeing
from vla_adapter_ros.evaluation.policy_loop import NO_LATENCY, Policy, Run, run_policy
from vla_adapter_ros.evaluation.scene_processes import run_scenes
from vla_adapter_ros.evaluation.suite import Ending, Episodes, Plan, Result, Suite, result_of
from vla_adapter_ros.evaluation.suite_result import Shard, suite_result
from vla_adapter_ros.evaluation.suites import make_suite
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.device import resolve_device
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.worlds.libero_suites import SUITES as LIBERO_SUITES
from vla_adapter_ros.system_info import describe_system


@dataclass(frozen=True)
class Conditions:
    """Under which a suite is run; results under the same ones can be compared.

    Attributes:
        suite: Its name.
        checkpoint: As it was named.
        contract: The simulated robot; empty: the one that the checkpoint carries.
        seed: Of the first scene.
        episodes: In all shards together.
        longest_s: Simulated time per episode at full speed [s]; at a lower one it is as much longer.
        renderer: raycast, egl, osmesa, or auto.
        speed: Fraction of the policy's own speed at which the arm follows, 0.1 to 1.
        latency_s: From each image to the arrival of its chunk [s].
        control: What is taken from the policy, see `Control`.
    """

    suite: str
    checkpoint: str
    contract: str
    seed: int
    episodes: int
    longest_s: float
    renderer: str = "raycast"
    speed: float = 1.0
    latency_s: float = 0.0
    control: str = Control.NONE


def conditions(
    suite: str,
    checkpoint: str | Path,
    *,
    contract: str | Path = "",
    seed: int | None = None,
    episodes: int | None = None,
    longest_s: float | None = None,
    renderer: str = "raycast",
    speed: float = 1.0,
    latency_s: float = 0.0,
    control: str = Control.NONE,
) -> Conditions:
    """Checked conditions; what is not said is as the suite has it.

    Raises:
        ParameterError: a name or a number that is not allowed.
    """
    usual = _episodes(suite)
    episodes = usual.episodes if episodes is None else episodes
    if episodes < 1:
        raise ParameterError(f"episodes = {episodes}: allowed is at least 1")
    if not SLOWEST <= speed <= FASTEST:
        raise ParameterError(f"speed = {speed:g}: allowed is {SLOWEST:g} to {FASTEST:g}")
    Control.check("control", control, ParameterError)
    return Conditions(
        suite,
        str(checkpoint),
        str(contract),
        usual.seed if seed is None else seed,
        episodes,
        usual.longest_s if longest_s is None else longest_s,
        renderer,
        speed,
        latency_s,
        str(control),
    )


def evaluate_suite(
    wanted: Conditions,
    *,
    shard: Shard = Shard(),  # noqa: B008 - frozen
    jobs: int = 1,
    device: str = "auto",
    journal: Path | None = None,
    videos: Path | None = None,
    report: Callable[[Result], None] = lambda result: None,
) -> dict[str, Any]:
    """Let a policy do a suite's episodes in the simulator, without ROS.

    Args:
        wanted: What is to be done.
        shard: Which part of the episodes.
        jobs: Processes, each with one thread.
        device: Where the policy computes, see `resolve_device`.
        journal: Keeps each result as it comes: a run that was interrupted goes on from there. It is removed
            at the end.
        videos: Folder for a video of each failure.
        report: Called with each result, in order; with those of the journal first.

    Returns:
        Counts, rates, intervals and every episode, ready for JSON: see `suite_result`.

    Raises:
        ParameterError: `jobs` is not allowed, or the journal is one of other conditions.
        ContractMismatch: the checkpoint was made for another robot.
        CheckpointError, SimulationError: the checkpoint or the simulator cannot be had.
    """
    if jobs < 1:
        raise ParameterError(f"jobs = {jobs}: allowed is at least 1")
    started, place = time.monotonic(), str(resolve_device(device))
    numbers = shard.numbers(wanted.episodes)
    results: list[Result] = []
    with EpisodeJournal(journal, asdict(wanted) | {"shard": str(shard)}) as kept:
        for result in kept.results:
            results.append(result)
            report(result)
        done = {result.number for result in results}
        left = [number for number in numbers if number not in done]
        loop = LiberoLoop if wanted.suite in LIBERO_SUITES else SuiteLoop
        make = partial(loop, wanted, place, videos)
        for found in run_scenes(make, left, min(jobs, max(len(left), 1))) if left else ():
            for result in found:
                kept.add(result)
                results.append(result)
                report(result)
    results.sort(key=lambda result: result.number)
    facts = {"device": place, "jobs": jobs, "wall_s": round(time.monotonic() - started, 1)}
    return suite_result(asdict(wanted), shard, _episodes(wanted.suite, wanted), results) | facts | {
        "host": describe_system()
    }  # fmt: skip


def run_plan(
    contract: Contract,
    robot: SimulatedRobot,
    policy: Policy,
    suite: Suite,
    plan: Plan,
    *,
    longest_s: float | None = None,
    speed: float = 1.0,
    latency: Latency = NO_LATENCY,
    on_frame: Callable[[float], None] | None = None,
) -> tuple[Result, Run]:
    """Put up a plan's scene, let a policy do what it asks for, and judge.

    Args:
        contract: The robot's.
        robot: Is reset.
        policy: Asked for chunks.
        suite: The plan's.
        plan: What is asked for.
        longest_s: Simulated time at full speed [s]; None: as the suite has it.
        speed: Fraction of the policy's own speed at which the arm follows, 0.1 to 1.
        latency: From an image to the arrival of its chunk.
        on_frame: Called with the time [s] whenever cameras see.

    Raises:
        SimulationError: the robot cannot do it.
    """
    judge = suite.judge(plan)
    put_up(robot, plan)
    run = run_policy(
        contract,
        robot,
        seeing(policy, plan),
        plan.instruction,
        longest_s=(suite.longest_s if longest_s is None else longest_s) / speed,
        speed=speed,
        latency=dataclasses.replace(latency, mean_s=latency.mean_s + latency_of(plan)),
        judge=judge,
        on_frame=on_frame or (lambda time: None),
    )
    return result_of(plan, judge, run.refused, run.duration_s, len(run.stamps)), run


def _episodes(suite: str, wanted: Conditions | None = None) -> Episodes:
    """The episodes of a name; of a simulated robot's suite those of the robot that is wanted."""
    if suite in LIBERO_SUITES:
        return LiberoSuite(suite)
    return make_suite(suite, _robot(wanted) if wanted is not None else None)


def _robot(wanted: Conditions) -> Contract:
    return read_contract(wanted.contract or find_checkpoint(wanted.checkpoint) / "contract.yaml")


class SuiteLoop:
    """What a process needs: policy and robot, made once.

    Args:
        wanted: What is to be done.
        device: Where the policy computes.
        videos: Folder for a video of each failure.
    """

    def __init__(self, wanted: Conditions, device: str, videos: Path | None = None) -> None:
        policy = VlaAdapterPolicy.from_pretrained(wanted.checkpoint, device=device)
        trained_for = policy.contract
        robot = read_contract(wanted.contract) if wanted.contract else trained_for
        if robot is None:
            raise ParameterError(
                f"checkpoint {wanted.checkpoint} carries no contract: name the simulated robot's"
            )
        if trained_for is not None:
            require_same(robot, trained_for, f"checkpoint {wanted.checkpoint}")
        self.policy = with_control(policy, Control(wanted.control))
        self._wanted, self._videos, self.contract = wanted, videos, robot
        self._suite = make_suite(wanted.suite, robot)
        self.robot = SimulatedRobot(robot, wanted.renderer, table=self._suite.table)
        self._plans: Sequence[Plan] = self._suite.plans(wanted.episodes, wanted.seed)

    def close(self) -> None:
        """Let go of the robot."""
        self.robot.close()

    def run(self, number: int) -> list[Result]:
        """The episode of this number; a failure is done once more for its video."""
        result, _ = self.run_once(number, self.policy)
        if self._videos is not None and result.ending != Ending.SUCCESS:
            with EpisodeVideo(self.robot, video_path(self._videos, result), result) as video:
                self.run_once(number, self.policy, video.add_frame)
        return [result]

    def run_once(
        self, number: int, policy: Policy, on_frame: Callable[[float], None] | None = None
    ) -> tuple[Result, Run]:
        """The episode of this number, by a policy."""
        wanted = self._wanted
        return run_plan(
            self.contract,
            self.robot,
            policy,
            self._suite,
            self._plans[number],
            longest_s=wanted.longest_s,
            speed=wanted.speed,
            latency=Latency(wanted.latency_s),
            on_frame=on_frame,
        )
