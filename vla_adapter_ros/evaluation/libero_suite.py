"""LIBERO's suites, and LIBERO-Pro's: which episodes they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vla_adapter_ros.choices import RendererName, SuiteName
from vla_adapter_ros.errors import ParameterError
from vla_adapter_ros.evaluation.suite import Ending, Plan
from vla_adapter_ros.simulation.worlds.libero_suites import LONGEST, RATE_HZ, TASKS, TRIALS, base_suite
from vla_adapter_ros.simulation.worlds.process import WorldState


class LiberoSuite:
    """Episodes of a suite, task by task, as an environment is made once per task.

    Args:
        name: One of LIBERO's.
    """

    child = "vla_adapter_ros.simulation.worlds.libero_child"
    environment = "libero"
    contract_name = "libero"
    step_s = 1.0 / RATE_HZ
    steps_per_row = 1
    seed = 0
    renderers: Sequence[str] = (RendererName.EGL, RendererName.OSMESA)
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

    def world_task(self, plan: Plan) -> str:
        """What the simulator calls the task."""
        return plan.task

    def judge(self) -> LiberoJudge:
        """Who says how an episode ended."""
        return LiberoJudge()


class LiberoJudge:
    """Keeps what LIBERO says of an episode; success is its own word."""

    def __init__(self) -> None:
        self._success, self._steps = False, 0

    def look(self, seen: WorldState) -> None:
        """Take in what steps have shown."""
        self._success = seen.success
        self._steps += seen.taken

    def ending(self) -> tuple[Ending, str]:
        """Success or not, and after how many steps."""
        return Ending.SUCCESS if self._success else Ending.TIMED_OUT, f"after {self._steps} steps"
