"""What a suite of episodes is: its plans, what is seen of an episode, and who judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from vla_adapter_ros.choices import Choice, Perturbation, RendererName, Table

TABLE_RENDERERS = (RendererName.RAYCAST, RendererName.AUTO, RendererName.EGL, RendererName.OSMESA)
"""Of our own simulator."""


class Ending(Choice):
    """How an episode ended."""

    SUCCESS = "success"
    WRONG_OBJECT = "wrong object"
    NOT_REACHED = "not reached"
    MISSED_GRASP = "missed grasp"
    DROPPED = "dropped"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Plan:
    """What an episode asks for.

    Attributes:
        number: Of the episode in its suite, from 0.
        task: Its line in the table of results.
        scene: Seed of the scene; episodes of a scene are alike.
        instruction: What is asked for.
        target: The object that it names.
        perturbation: What is made harder; None: nothing.
    """

    number: int
    task: str
    scene: int
    instruction: str
    target: str
    perturbation: Perturbation | None = None


class Sight(NamedTuple):
    """What is seen of a scene at a moment."""

    time: float
    """Since the episode began [s]."""
    lifted: str
    """Object that is held up; empty: none."""
    positions: Mapping[str, np.ndarray]
    """Center (3,) of each object [m]."""
    opening: float
    """Of the gripper, 0 closed to 1 open, as measured."""


class EndingJudge(Protocol):
    """Says how an episode ended."""

    def ending(self) -> tuple[Ending, str]:
        """How it ended, and in words what happened; of an episode whose time is over, too."""


class Judge(EndingJudge, Protocol):
    """Looks at one episode while it runs."""

    def look(self, sight: Sight) -> bool:
        """Take in what is seen; whether the episode is over."""


class Suite(Protocol):
    """Episodes that belong together. The same seed gives the same ones everywhere."""

    name: str
    longest_s: float
    """Simulated time per episode [s]."""
    episodes: int
    """How many, unless somebody asks for another number."""
    seed: int
    """Of the first scene, unless somebody asks for another one."""
    renderers: Sequence[str]
    """What may draw it, the usual one first."""
    chance: Mapping[str, float]
    """By task, the rate of success of who does the task to an object drawn by chance."""
    groups: Mapping[str, str]
    """By task, the group that it is reported in; empty: there are no groups."""

    def plans(self, episodes: int, seed: int) -> Sequence[Plan]:
        """The episodes, dealt evenly among the tasks."""


class TableSuite(Suite, Protocol):
    """One whose episodes our own simulator plays."""

    table: Table
    """What stands on its table."""

    def demonstration(self, number: int, scene: int) -> Plan:
        """What is demonstrated in a scene."""

    def judge(self, plan: Plan) -> Judge:
        """Who looks at an episode of this plan."""


@dataclass(frozen=True)
class Result:
    """What came of an episode.

    Attributes:
        number, task, scene, instruction, target: Of its plan.
        ending: How it ended.
        note: What happened, in words; of a refused chunk its reason.
        duration_s: Simulated time until then [s].
        chunks: Inferences.
    """

    number: int
    task: str
    scene: int
    instruction: str
    target: str
    ending: str
    note: str
    duration_s: float
    chunks: int
    success: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "success", self.ending == Ending.SUCCESS)


def result_of(plan: Plan, judge: EndingJudge, refused: str, duration_s: float, chunks: int) -> Result:
    """The result of an episode.

    Args:
        plan: What was asked for.
        judge: Has looked at it.
        refused: Why a chunk was refused, which ended it; empty: none was.
        duration_s: Until it was over [s].
        chunks: Inferences.
    """
    ending, note = (Ending.STOPPED, refused) if refused else judge.ending()
    return Result(
        plan.number,
        plan.task,
        plan.scene,
        plan.instruction,
        plan.target,
        str(ending),
        note,
        round(duration_s, 2),
        chunks,
    )
