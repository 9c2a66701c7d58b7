"""The suite `metaworld`: the 50 tasks of Meta-World's MT50, in its own simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vla_adapter_ros.choices import RendererName
from vla_adapter_ros.evaluation.suite import Ending, Plan
from vla_adapter_ros.simulation.worlds import metaworld_tasks as mt50
from vla_adapter_ros.simulation.worlds.process import WorldState

TRIALS = 10  # of a task, as published


class MetaWorldSuite:
    """Trials of a task come after one another, as loading a task takes longer than a trial."""

    name = mt50.NAME
    child = mt50.CHILD
    environment = mt50.NAME
    contract_name = mt50.NAME
    longest_s = mt50.LONGEST_STEPS * mt50.STEP_S
    step_s = mt50.STEP_S
    steps_per_row = mt50.STEPS_PER_ROW
    episodes = TRIALS * len(mt50.SENTENCES)
    seed = 0
    renderers: Sequence[str] = (RendererName.EGL, RendererName.OSMESA)
    chance: Mapping[str, float] = {}
    groups: Mapping[str, str] = mt50.GROUP_OF
    video_camera = mt50.VIDEO_CAMERA

    def plans(self, episodes: int, seed: int) -> Sequence[Plan]:
        """The episodes, dealt evenly among the tasks; no demonstration shows any of them."""
        found: list[Plan] = []
        for place, (task, sentence) in enumerate(mt50.SENTENCES.items()):
            for number in range(len(range(place, episodes, len(mt50.SENTENCES)))):
                scene = mt50.trial_seed(seed, task, number)
                found.append(Plan(len(found), task, scene, sentence, task))
        return found

    def world_task(self, plan: Plan) -> str:
        """What Meta-World calls the task."""
        return mt50.environment_name(plan.task)

    def judge(self) -> MetaWorldJudge:
        """Who says how an episode ended."""
        return MetaWorldJudge()


class MetaWorldJudge:
    """Keeps what Meta-World says of an episode; success is its own word."""

    def __init__(self) -> None:
        self._success, self._near = False, False
        self._distances: list[float] = []

    def look(self, seen: WorldState) -> None:
        """Take in what a step has shown."""
        self._success = self._success or seen.success
        self._near = self._near or bool(seen.facts["near"])
        self._distances.append(float(seen.facts["distance"]))

    def ending(self) -> tuple[Ending, str]:
        """Success, or whether the hand ever came near, and how far the object was from its goal [m]."""
        if not self._distances:
            return Ending.TIMED_OUT, "no step was made"
        first, best, last = self._distances[0], min(self._distances), self._distances[-1]
        note = f"{first:.3f} m from the goal at first, {best:.3f} m at best, {last:.3f} m at last"
        if self._success:
            return Ending.SUCCESS, note
        return (Ending.TIMED_OUT if self._near else Ending.NOT_REACHED), note
