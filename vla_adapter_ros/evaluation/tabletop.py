"""The suite `tabletop`: pick up, put, push and stack, among things that look alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from vla_adapter_ros.choices import Table
from vla_adapter_ros.errors import SimulationError
from vla_adapter_ros.evaluation.suite import TABLE_RENDERERS, Ending, Plan, Sight
from vla_adapter_ros.simulation.robot_models import FR3, RobotModel
from vla_adapter_ros.simulation.tabletop_scene import HELD_OUT_SEEDS, sample_tabletop
from vla_adapter_ros.simulation.tabletop_tasks import Task, Verb
from vla_adapter_ros.simulation.things import Shape, Thing

UNSEEN_SEED = 900_000
LONGEST_S = 30.0
_LIFTED_M = 0.06  # above where it began
_DISPLACED_M = 0.02  # no other may be moved so far when one is picked up
_LEFT_TABLE_M = 0.012  # so high above where it began, an object that should be pushed was lifted
_RAISED_M = 0.015
_REST_S, _REST_M = 1.0, 0.005  # at rest: no farther for so long
_OPEN = 0.7
_CLOSED = 0.9
_ON_M = 0.008  # of a height
_OVERLAP = 0.8  # of the lower one's half width: so far beside its center, something stands on it
_INSIDE_M = 0.045  # of a bowl's or a plate's center


class TabletopSuite:
    """Each episode has a scene of its own; the verbs come in turn.

    Args:
        robot: The robot that stands at the table.
    """

    name = "tabletop"
    table = Table.TABLETOP
    longest_s = LONGEST_S
    episodes = 200
    seed = UNSEEN_SEED
    renderers: Sequence[str] = TABLE_RENDERERS
    groups: Mapping[str, str] = {}

    def __init__(self, robot: RobotModel = FR3) -> None:
        self._robot = robot
        self.chance: Mapping[str, float] = {str(verb): 0.25 for verb in Verb}

    def plans(self, episodes: int, seed: int) -> Sequence[Plan]:
        """The episodes."""
        return [self.demonstration(number, seed + number) for number in range(episodes)]

    def demonstration(self, number: int, scene: int) -> Plan:
        """The scene's own task."""
        task = sample_tabletop(scene, self._robot).task
        assert task is not None
        return Plan(number, str(task.verb), scene, task.instruction, task.target)

    def judge(self, plan: Plan) -> TabletopJudge:
        """Who looks at what is done with the named object."""
        scene = sample_tabletop(plan.scene, self._robot)
        assert scene.task is not None
        return judge_of(scene.task, scene.things)


class HeldOutSuite(TabletopSuite):
    """Combinations of verb, color and shape that no training shows; in half of the scenes places, too."""

    name = "tabletop_heldout"
    seed = HELD_OUT_SEEDS.start

    def plans(self, episodes: int, seed: int) -> Sequence[Plan]:
        """The episodes.

        Raises:
            SimulationError: a scene that is not held out.
        """
        if not (seed in HELD_OUT_SEEDS and seed + episodes - 1 in HELD_OUT_SEEDS):
            raise SimulationError(
                f"scenes {seed} to {seed + episodes - 1}: held out are {HELD_OUT_SEEDS.start} to "
                f"{HELD_OUT_SEEDS.stop - 1}"
            )
        return super().plans(episodes, seed)


def judge_of(task: Task, things: Sequence[Thing]) -> TabletopJudge:
    """Who looks at how a task is done among things."""
    return TabletopJudge(task.verb, task.target, task.place, {thing.name: thing for thing in things})


class TabletopJudge:
    """An episode is over when the task is done, or another object was picked up.

    Args:
        verb: What is asked for.
        target: Name of the object.
        place: Where it goes; empty: nowhere.
        things: What stands on the table, by name.
    """

    def __init__(self, verb: Verb, target: str, place: str, things: Mapping[str, Thing]) -> None:
        self._verb, self._target, self._place, self._things = verb, target, place, things
        self._others = [n for n, thing in things.items() if thing.form.movable and n != target]
        self._began: dict[str, np.ndarray] | None = None
        self._seen: deque[tuple[float, np.ndarray]] = deque()
        self._done, self._wrong, self._spoiled = False, "", ""
        self._closed, self._highest_m = False, 0.0

    def look(self, sight: Sight) -> bool:
        """Take in what is seen; whether the episode is over."""
        if self._began is None:
            self._began = {name: np.array(place) for name, place in sight.positions.items()}
        at, began = sight.positions[self._target], self._began
        self._seen.append((sight.time, np.array(at)))
        while len(self._seen) > 1 and sight.time - self._seen[1][0] >= _REST_S:
            self._seen.popleft()
        self._closed = self._closed or sight.opening < _CLOSED
        self._highest_m = max(self._highest_m, float(at[2] - began[self._target][2]))
        self._wrong = self._wrong or self._lifted_other(sight)
        if self._verb is Verb.PUSH and self._highest_m > _LEFT_TABLE_M:
            self._spoiled = self._spoiled or f"{self._target} was lifted"
        if self._wrong or self._spoiled:
            return True
        self._done = self._done or self._is_done(sight, at)
        return self._done

    def ending(self) -> tuple[Ending, str]:
        """What was done, or how far it came."""
        if self._wrong:
            return Ending.WRONG_OBJECT, self._wrong
        if self._spoiled:
            return Ending.DROPPED, self._spoiled
        if self._done:
            return Ending.SUCCESS, "done"
        if self._verb is not Verb.PUSH and self._highest_m > _RAISED_M:
            return (
                Ending.DROPPED,
                f"{self._target} raised by {1e3 * self._highest_m:.0f} mm, not where it goes",
            )
        if self._closed:
            return Ending.MISSED_GRASP, "the gripper closed, and nothing came of it"
        return Ending.TIMED_OUT, "the gripper was never closed"

    def _lifted_other(self, sight: Sight) -> str:
        """Another object that was picked up, or moved where only one is picked up; empty: none was."""
        assert self._began is not None
        for name in self._others:
            moved = sight.positions[name] - self._began[name]
            if moved[2] > _LIFTED_M:
                return f"{name} lifted"
            if self._verb is Verb.PICK and np.linalg.norm(moved) > _DISPLACED_M:
                return f"{name} moved by {1e3 * np.linalg.norm(moved):.0f} mm"
        return ""

    def _is_done(self, sight: Sight, at: np.ndarray) -> bool:
        if self._verb is Verb.PICK:
            return sight.lifted == self._target
        place = self._things[self._place]
        there = sight.positions[self._place]
        if self._verb is Verb.PUSH:
            return bool(np.abs(at[:2] - there[:2]).max() < place.form.half[0])
        return sight.opening > _OPEN and self._rests() and self._is_on(at, there, place)

    def _rests(self) -> bool:
        times, places = zip(*self._seen, strict=True)
        if times[-1] - times[0] < _REST_S - 1e-6:
            return False
        return bool(np.linalg.norm(np.array(places) - places[-1], axis=1).max() < _REST_M)

    def _is_on(self, at: np.ndarray, there: np.ndarray, place: Thing) -> bool:
        """Whether the object stands in a bowl, or on a plate or another object."""
        across = float(np.linalg.norm(at[:2] - there[:2]))
        if place.shape is Shape.BOWL:
            return bool(across < _INSIDE_M and at[2] < there[2] + place.form.half[2] + self._half)
        if place.shape is Shape.PLATE:
            return bool(across < _INSIDE_M + 0.01 and at[2] - there[2] > self._half - _ON_M)
        stands = abs(at[2] - there[2] - self._half - place.form.half[2]) < _ON_M
        return bool(stands and across < _OVERLAP * min(place.form.half[:2]))

    @property
    def _half(self) -> float:
        return self._things[self._target].form.half[2]
