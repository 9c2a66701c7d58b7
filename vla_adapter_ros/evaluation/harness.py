"""Runs a suite: the same seed gives the same episodes, with any number of processes and shards."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from vla_adapter_ros.choices import Control, SuiteName
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.conditions import Conditions
from vla_adapter_ros.evaluation.controls import policy_and_robot, with_control
from vla_adapter_ros.evaluation.episode_journal import EpisodeJournal
from vla_adapter_ros.evaluation.episode_video import VIDEO_SIZE, EpisodeVideo, video_path
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.libero import LiberoLoop
from vla_adapter_ros.evaluation.perturbed import latency_of, put_up, seeing
from vla_adapter_ros.evaluation.policy_loop import NO_LATENCY, Policy, Run, run_policy
from vla_adapter_ros.evaluation.scene_processes import SceneLoop, run_scenes
from vla_adapter_ros.evaluation.suite import Ending, Plan, Result, TableSuite, result_of
from vla_adapter_ros.evaluation.suite_result import Shard, suite_result
from vla_adapter_ros.evaluation.suites import make_suite, table_suite
from vla_adapter_ros.evaluation.world_loop import WorldLoop
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.device import resolve_device
from vla_adapter_ros.simulation.render import make_renderer
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.system_info import describe_system


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
        make = partial(_loop_of(SuiteName(wanted.suite)), wanted, place, videos)
        for found in run_scenes(make, left, min(jobs, max(len(left), 1))) if left else ():
            for result in found:
                kept.add(result)
                results.append(result)
                report(result)
    results.sort(key=lambda result: result.number)
    facts = {"device": place, "jobs": jobs, "wall_s": round(time.monotonic() - started, 1)}
    return suite_result(asdict(wanted), shard, make_suite(wanted.suite, _robot(wanted)), results) | facts | {
        "host": describe_system()
    }  # fmt: skip


def run_plan(
    contract: Contract,
    robot: SimulatedRobot,
    policy: Policy,
    suite: TableSuite,
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


def _loop_of(suite: SuiteName) -> Callable[[Conditions, str, Path | None], SceneLoop[Result]]:
    if suite.is_libero:
        return LiberoLoop
    return SuiteLoop if suite.is_at_table else WorldLoop


def _robot(wanted: Conditions) -> Contract | None:
    if SuiteName(wanted.suite).is_libero:
        return None  # official checkpoints carry none, and LIBERO's robot is always the same
    return read_contract(wanted.contract or find_checkpoint(wanted.checkpoint) / "contract.yaml")


class SuiteLoop:
    """What a process needs: policy and robot, made once.

    Args:
        wanted: What is to be done.
        device: Where the policy computes.
        videos: Folder for a video of each failure.
    """

    def __init__(self, wanted: Conditions, device: str, videos: Path | None = None) -> None:
        policy, robot = policy_and_robot(wanted, device)
        self.policy = with_control(policy, Control(wanted.control))
        self._wanted, self._videos, self.contract = wanted, videos, robot
        self._suite = table_suite(wanted.suite, robot)
        self.robot = SimulatedRobot(robot, wanted.renderer, table=self._suite.table)
        self._plans: Sequence[Plan] = self._suite.plans(wanted.episodes, wanted.seed)

    def close(self) -> None:
        """Let go of the robot."""
        self.robot.close()

    def run(self, number: int) -> list[Result]:
        """The episode of this number; a failure is done once more for its video."""
        result, _ = self.run_once(number, self.policy)
        if self._videos is not None and result.ending != Ending.SUCCESS:
            robot, camera = self.robot, self.contract.reference_camera
            renderer = make_renderer(robot.world.model, *VIDEO_SIZE, robot.backend)
            path, rate = video_path(self._videos, result), self.contract.rate_hz
            with (
                contextlib.closing(renderer),
                EpisodeVideo(path, result, rate, lambda: renderer.render(robot.world.data, camera)) as video,
            ):
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
