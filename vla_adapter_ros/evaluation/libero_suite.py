"""LIBERO's suites, and LIBERO-Pro's: which episodes they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vla_adapter_ros.choices import RendererName, SuiteName
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.suite import Plan
from vla_adapter_ros.simulation.worlds.libero_suites import LONGEST, RATE_HZ, TASKS, TRIALS, base_suite


class LiberoSuite:
    """Episodes of a suite, task by task, as an environment is made once per task.

    Args:
        name: One of LIBERO's.
    """

    seed = 0
    renderers = (RendererName.EGL, RendererName.OSMESA)
    chance: Mapping[str, float] = {}
    groups: Mapping[str, str] = {}

    def __init__(self, name: SuiteName) -> None:
        self.name = str(name)
        base = base_suite(self.name)
        self._tasks = TASKS[base]
        self.longest_s = LONGEST[base] / RATE_HZ
        self.episodes = TRIALS * self._tasks

    def plans(self, episodes: int, seed: int) -> Sequence[Plan]:
        """The episodes, dealt evenly among the tasks.

        Args:
            episodes: In all.
            seed: Number of each task's first initial state.

        Raises:
            ParameterError: a task has fewer initial states.
        """
        if seed - (-episodes // self._tasks) > TRIALS:
            raise ParameterError(
                f"{episodes} episodes of {self.name} from initial state {seed} on: "
                f"allowed are {TRIALS} per task"
            )
        found: list[Plan] = []
        for task in range(self._tasks):
            count = episodes // self._tasks + (task < episodes % self._tasks)
            found += [Plan(len(found) + k, f"{self.name}_{task}", seed + k, "", "") for k in range(count)]
        return found
