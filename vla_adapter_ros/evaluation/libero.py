"""A policy in LIBERO, and in LIBERO-Pro, under the protocol of the published evaluation.

Images are asked for where a chunk is, and turned by 180 degrees; all rows of an official chunk are executed
before the next. `model/published.py` has what happens to the gripper's value, and
`simulation/worlds/libero_child.py` how an episode begins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vla_adapter_ros.choices import Control, PlatformName, SuiteName
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.conditions import Conditions
from vla_adapter_ros.evaluation.controls import with_control
from vla_adapter_ros.evaluation.episode_video import EpisodeVideo, video_path
from vla_adapter_ros.evaluation.libero_suite import LiberoJudge, LiberoSuite
from vla_adapter_ros.evaluation.policy_loop import Policy
from vla_adapter_ros.evaluation.suite import Plan, Result, result_of
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_files import STATISTICS
from vla_adapter_ros.model.checkpoint_location import find_checkpoint
from vla_adapter_ros.model.normalization import read_entries
from vla_adapter_ros.model.published import open_evaluated, rows_to_execute
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.libero_suites import PICTURE, RATE_HZ, base_suite
from vla_adapter_ros.simulation.worlds.process import WorldProcess

CAMERAS = ("third_view", "gripper")
_LONGEST_ANSWER_S = 1800.0  # its first reset compiles functions of robosuite, once per installation
_VIDEO, _VIDEO_SIZE = "video", (480, 480)
WIDTHS = (7, 8, 2)
"""What a policy must have: columns of an action, numbers of the state, images."""


class LiberoLoop:
    """What a process needs: policy and simulator, made once.

    Args:
        wanted: What is to be done.
        device: Where the policy computes.
        videos: Folder for a video of each failure.

    Raises:
        ParameterError: a contract, which LIBERO has not, or a policy for another robot.
        CheckpointError, SimulationError: the policy or the simulator cannot be had.
    """

    def __init__(self, wanted: Conditions, device: str, videos: Path | None = None) -> None:
        if wanted.contract:
            raise ParameterError(f"contract {wanted.contract} with {wanted.suite}: allowed is none")
        policy = load_policy(wanted.checkpoint, wanted.suite, device)
        self._rows = rows_to_execute(policy)
        self._policy = with_control(policy, Control(wanted.control))
        self._videos, self._most_steps = videos, round(wanted.longest_s * RATE_HZ)
        self._plans = LiberoSuite(SuiteName(wanted.suite)).plans(wanted.episodes, wanted.seed)
        self._world = open_world(wanted.renderer, video=videos is not None)

    def close(self) -> None:
        """End the simulator."""
        self._world.close()

    def run(self, number: int) -> list[Result]:
        """The episode of this number; a failure is done once more for its video."""
        result = self._run(number)
        if self._videos is not None and not result.success:
            path = video_path(self._videos, result)
            with EpisodeVideo(path, result, RATE_HZ, self._draw, _VIDEO_SIZE) as video:
                self._run(number, video.add_frame)
        return [result]

    def _run(self, number: int, on_step: Callable[[float], None] | None = None) -> Result:
        plan = self._plans[number]
        return run_episode(self._world, self._policy, plan, self._rows, self._most_steps, on_step)

    def _draw(self) -> np.ndarray:
        return self._world.look([_VIDEO])[0][::-1]  # upright, not mirrored


def load_policy(checkpoint: str, suite: str, device: str = "cpu") -> VlaAdapterPolicy:
    """A policy whose rows are what LIBERO's simulator takes.

    Args:
        checkpoint: Directory of an official checkpoint, or of one of ours that was trained on LIBERO's data.
        suite: Says which statistics are used, if there are several: those of the suite, or of the suite
            with `_no_noops`.
        device: Where it computes.

    Raises:
        CheckpointError, StatisticsError: it cannot be had.
        ParameterError: it is a policy for another robot.
    """
    folder = find_checkpoint(checkpoint)
    statistics = _statistics_name(folder, base_suite(suite))
    policy = open_evaluated(folder, PlatformName.LIBERO, device=device, statistics_name=statistics)
    config = policy.config
    if (config.action_dim, config.proprio_dim, config.num_images) != WIDTHS:
        raise ParameterError(
            f"checkpoint {checkpoint}: {config.action_dim} columns, a state of {config.proprio_dim}, "
            f"{config.num_images} images; LIBERO has {WIDTHS[0]}, {WIDTHS[1]} and {WIDTHS[2]}"
        )
    return policy


def open_world(renderer: str = "egl", *, video: bool = False) -> WorldProcess:
    """LIBERO's simulator, in a process of its own.

    Args:
        renderer: egl or osmesa.
        video: Whether it draws pictures for a video, too.

    Raises:
        SimulationError: its environment is not there.
    """
    sizes = dict.fromkeys(CAMERAS, (PICTURE, PICTURE)) | ({_VIDEO: _VIDEO_SIZE} if video else {})
    return WorldProcess(
        world_python(LiberoSuite.environment),
        LiberoSuite.child,
        sizes,
        renderer=renderer,
        longest_answer_s=_LONGEST_ANSWER_S,
    )


def run_episode(
    world: WorldProcess,
    policy: Policy,
    plan: Plan,
    rows: int,
    most_steps: int,
    on_step: Callable[[float], None] | None = None,
) -> Result:
    """Let a policy do an episode.

    Args:
        world: LIBERO's.
        policy: Asked for chunks.
        plan: Which episode.
        rows: Executed of each chunk.
        most_steps: After so many the episode is over; LIBERO's own number holds, too.
        on_step: Called with the time since the beginning [s] before each step; then they are made one by one.
    """
    judge, known = LiberoJudge(), world.reset(plan.task, plan.scene)
    text, steps, chunks, refused = str(known.facts["instruction"]), 0, 0, ""
    while not known.over and steps < most_steps and not refused:
        images = [np.ascontiguousarray(image[::-1, ::-1]) for image in world.look(CAMERAS)]
        chunk = np.asarray(policy.predict(images, text, known.state), np.float64)
        chunks += 1
        if not np.isfinite(chunk).all():
            refused = "rows must be finite"
            break
        chunk = chunk[: min(rows, most_steps - steps)]
        for part in [chunk] if on_step is None else np.split(chunk, len(chunk)):
            if known.over:
                break
            if on_step is not None:
                on_step(steps / RATE_HZ)
            known = world.step(part)
            judge.look(known)
            steps += known.taken
    told = dataclasses.replace(plan, instruction=text)
    return result_of(told, judge, refused, steps / RATE_HZ, chunks)


def adopt(checkpoint: str, suite: str, folder: Path) -> int:
    """Write a checkpoint that knows LIBERO's contract, as nodes need it.

    Args:
        checkpoint, suite: See `load_policy`.
        folder: To write.

    Returns:
        Rows to execute of each chunk.
    """
    policy = load_policy(checkpoint, suite)
    adopted = policy.replace(contract=read_contract(LiberoSuite.contract_name))
    adopted.save_pretrained(folder, dtype=policy.network.dtype)
    return rows_to_execute(policy)


def _statistics_name(folder: Path, suite: str) -> str | None:
    entries = read_entries(folder / STATISTICS)
    return next((name for name in (suite, f"{suite}_no_noops") if name in entries), None)
