"""LIBERO's suites, and LIBERO-Pro's, under the protocol of the published evaluation.

Images are asked for where a chunk is, and turned by 180 degrees; all rows of an official chunk are executed
before the next. `model/published.py` has what happens to the gripper's value, and
`simulation/worlds/libero_child.py` how an episode begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_adapter_ros.choices import Control, PlatformName
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.controls import with_control
from vla_adapter_ros.evaluation.policy_loop import Policy
from vla_adapter_ros.evaluation.suite import Ending, Plan, Result
from vla_adapter_ros.model import VlaAdapterPolicy
from vla_adapter_ros.model.checkpoint_files import CONFIG, STATISTICS
from vla_adapter_ros.model.normalization import read_entries
from vla_adapter_ros.model.published import as_evaluated, rows_to_execute
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.libero_suites import (
    LONGEST,
    PICTURE,
    RATE_HZ,
    TASKS,
    TRIALS,
    base_suite,
)
from vla_adapter_ros.simulation.worlds.process import WorldProcess, WorldState

if TYPE_CHECKING:
    from vla_adapter_ros.evaluation.harness import Conditions

CAMERAS = ("third_view", "gripper")
_CHILD = "vla_adapter_ros.simulation.worlds.libero_child"
WIDTHS = (7, 8, 2)
"""What a policy must have: columns of an action, numbers of the state, images."""


class LiberoSuite:
    """Episodes of a suite, task by task.

    Args:
        name: One of `libero_suites.SUITES`.
    """

    chance: Mapping[str, float] = {}
    seed = 0

    def __init__(self, name: str) -> None:
        self.name = name
        base = base_suite(name)
        self._tasks = TASKS[base]
        self.longest_s = LONGEST[base] / RATE_HZ
        self.episodes = TRIALS * self._tasks

    def plans(self, episodes: int, seed: int) -> Sequence[Plan]:
        """The episodes, dealt evenly among the tasks; an environment is made once per task.

        Args:
            episodes: In all.
            seed: Number of each task's first initial state.

        Raises:
            ParameterError: a task has fewer initial states.
        """
        most = -(-episodes // self._tasks)
        if seed + most > TRIALS:
            raise ParameterError(
                f"{episodes} episodes of {self.name} from initial state {seed} on: "
                f"allowed are {TRIALS} per task"
            )
        found: list[Plan] = []
        for task in range(self._tasks):
            count = episodes // self._tasks + (task < episodes % self._tasks)
            found += [Plan(len(found) + k, f"{self.name}/{task}", seed + k, "", "") for k in range(count)]
        return found


class LiberoLoop:
    """What a process needs: policy and simulator, made once.

    Args:
        wanted: What is to be done.
        device: Where the policy computes.
        videos: Not supported.

    Raises:
        ParameterError: a condition that LIBERO does not have.
        CheckpointError, SimulationError: the policy or the simulator cannot be had.
    """

    def __init__(self, wanted: Conditions, device: str, videos: Any = None) -> None:
        _refuse(wanted, videos)
        policy = load_policy(wanted.checkpoint, wanted.suite, device)
        self._rows = rows_to_execute(policy)
        self._policy = with_control(policy, Control(wanted.control))
        self._wanted = wanted
        self._plans = LiberoSuite(wanted.suite).plans(wanted.episodes, wanted.seed)
        self._world = open_world()

    def close(self) -> None:
        """End the simulator."""
        self._world.close()

    def run(self, number: int) -> list[Result]:
        """The episode of this number."""
        plan, most = self._plans[number], round(self._wanted.longest_s * RATE_HZ)
        return [run_episode(self._world, self._policy, plan, self._rows, most)]


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
    from vla_adapter_ros.model.checkpoint_location import find_checkpoint

    folder = find_checkpoint(checkpoint)
    policy = VlaAdapterPolicy.from_pretrained(
        folder,
        platform=None if (folder / CONFIG).is_file() else PlatformName.LIBERO,
        device=device,
        dtype=None,
        statistics_name=_statistics_name(folder, base_suite(suite)),
    )
    config = policy.config
    if (config.action_dim, config.proprio_dim, config.num_images) != WIDTHS:
        raise ParameterError(
            f"checkpoint {checkpoint}: {config.action_dim} columns, a state of {config.proprio_dim}, "
            f"{config.num_images} images; LIBERO has {WIDTHS[0]}, {WIDTHS[1]} and {WIDTHS[2]}"
        )
    return as_evaluated(policy)


def open_world() -> WorldProcess:
    """LIBERO's simulator, in a process of its own.

    Raises:
        SimulationError: its environment is not there.
    """
    return WorldProcess(world_python("libero"), _CHILD, dict.fromkeys(CAMERAS, (PICTURE, PICTURE)))


def run_episode(
    world: WorldProcess,
    policy: Policy,
    plan: Plan,
    rows: int,
    most_steps: int,
    on_state: Callable[[WorldState], None] = lambda state: None,
) -> Result:
    """Let a policy do an episode.

    Args:
        world: LIBERO's.
        policy: Asked for chunks.
        plan: Which episode.
        rows: Executed of each chunk.
        most_steps: After so many the episode is over; LIBERO's own number holds, too.
        on_state: Called with what is known after each chunk.
    """
    known = world.reset(plan.task, plan.scene)
    text, steps, chunks = str(known.facts["instruction"]), 0, 0
    while not known.over and steps < most_steps:
        images = [np.ascontiguousarray(image[::-1, ::-1]) for image in world.look(CAMERAS)]
        chunk = policy.predict(images, text, known.state)
        known = world.step(np.asarray(chunk, np.float64)[: min(rows, most_steps - steps)])
        steps, chunks = steps + known.taken, chunks + 1
        on_state(known)
    ending = Ending.SUCCESS if known.success else Ending.TIMED_OUT
    note = f"after {steps} steps"
    return Result(
        plan.number, plan.task, plan.scene, text, "", str(ending), note, round(steps / RATE_HZ, 2), chunks
    )


def _statistics_name(folder: Any, suite: str) -> str | None:
    entries = read_entries(folder / STATISTICS)
    return next((name for name in (suite, f"{suite}_no_noops") if name in entries), None)


def _refuse(wanted: Conditions, videos: Any) -> None:
    if wanted.speed != 1.0 or wanted.latency_s or wanted.contract or videos:
        raise ParameterError(
            f"suite {wanted.suite} with a speed, a latency, a contract or videos: allowed is none of these, "
            "as its simulator takes one action per step"
        )
