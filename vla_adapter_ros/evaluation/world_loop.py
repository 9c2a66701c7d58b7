"""A policy in the world of others: its rows go to the simulator as they are, without a controller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vla_adapter_ros.choices import EXECUTION_HORIZON, Control
from vla_adapter_ros.contract import read_contract, require_same
from vla_adapter_ros.evaluation.conditions import Conditions
from vla_adapter_ros.evaluation.controls import policy_and_robot, with_control
from vla_adapter_ros.evaluation.episode_video import EpisodeVideo, video_path
from vla_adapter_ros.evaluation.metaworld import MetaWorldJudge, MetaWorldSuite
from vla_adapter_ros.evaluation.policy_loop import Policy
from vla_adapter_ros.evaluation.suite import Ending, Plan, Result, result_of
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.process import WorldProcess

_VIDEO_SIZE = 480, 480


class Rolled(NamedTuple):
    """What came of an episode."""

    judge: MetaWorldJudge
    refused: str
    """Why a chunk was not carried out, which ended the episode; empty if none was refused."""
    steps: int
    """Of the simulator."""
    chunks: int
    rows: np.ndarray
    """Those that were carried out, float64 (N, A)."""


def roll(
    world: WorldProcess,
    suite: MetaWorldSuite,
    plan: Plan,
    policy: Policy,
    cameras: Sequence[str],
    *,
    longest_steps: int,
    on_row: Callable[[float], None] = lambda time: None,
) -> Rolled:
    """Let a policy do what a plan asks for; time stands still while it thinks.

    Of each chunk the first rows are carried out, each for the steps of a row, then the policy looks again.

    Args:
        world: Where.
        suite: The plan's.
        plan: What is asked for.
        policy: Asked for chunks.
        cameras: In the policy's order.
        longest_steps: Of the simulator.
        on_row: Called with the time since the beginning [s] before each row.

    Raises:
        SimulationError: the world has ended.
    """
    done: list[np.ndarray] = []
    judge, steps, chunks = suite.judge(), 0, 0
    now = world.reset(suite.world_task(plan), plan.scene)
    while steps < longest_steps and not now.over:
        rows = policy.predict(world.look(cameras), plan.instruction, now.state, None)[:EXECUTION_HORIZON]
        chunks += 1
        if not np.isfinite(rows).all():
            return Rolled(judge, "rows must be finite", steps, chunks, np.array(done))
        for row in rows:
            on_row(steps * suite.step_s)
            count = min(suite.steps_per_row, longest_steps - steps)
            if count == 0 or now.over:
                break
            now = world.step([row] * count)
            judge.look(now)
            done.append(row)
            steps += now.taken
    return Rolled(judge, "", steps, chunks, np.array(done))


class WorldLoop:
    """What a process needs: policy and world, made once.

    Args:
        wanted: What is to be done.
        device: Where the policy computes.
        videos: Folder for a video of each failure.

    Raises:
        ContractMismatch: the checkpoint was made for another robot than the world's.
        SimulationError: the world is not installed.
    """

    def __init__(self, wanted: Conditions, device: str, videos: Path | None = None) -> None:
        self._suite = suite = MetaWorldSuite()
        python = world_python(suite.name)
        policy, self.contract = policy_and_robot(wanted, device)
        require_same(read_contract(suite.contract_name), self.contract, f"checkpoint {wanted.checkpoint}")
        self.policy = with_control(policy, Control(wanted.control))
        self._videos = videos
        self._longest_steps = round(wanted.longest_s / suite.step_s)
        self._plans = suite.plans(wanted.episodes, wanted.seed)
        sizes = {name: camera.size for name, camera in self.contract.cameras.items()}
        if videos is not None:
            sizes[suite.video_camera] = _VIDEO_SIZE
        self.world = WorldProcess(python, suite.child, sizes, renderer=wanted.renderer)

    def close(self) -> None:
        """End the world."""
        self.world.close()

    def run(self, number: int) -> list[Result]:
        """The episode of this number; a failure is done once more for its video."""
        plan, suite = self._plans[number], self._suite
        rolled = self._roll(plan)
        result = result_of(plan, rolled.judge, rolled.refused, rolled.steps * suite.step_s, rolled.chunks)
        if self._videos is not None and result.ending != Ending.SUCCESS:
            path, camera = video_path(self._videos, result), suite.video_camera
            with EpisodeVideo(
                path, result, self.contract.rate_hz, lambda: self.world.look([camera])[0], _VIDEO_SIZE
            ) as video:
                self._roll(plan, video.add_frame)
        return [result]

    def _roll(self, plan: Plan, on_row: Callable[[float], None] = lambda time: None) -> Rolled:
        return roll(
            self.world,
            self._suite,
            plan,
            self.policy,
            self.contract.camera_names,
            longest_steps=self._longest_steps,
            on_row=on_row,
        )
