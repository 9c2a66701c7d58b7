"""The demo on the tabletop: each verb in turn, or one sentence that somebody gave, by the real node graph."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.choices import SuiteName
from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.cli.demo_video import DemoVideo
from vla_adapter_ros.cli.scene_watch import SceneWatch, follow_plan
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.evaluation.suite import Ending, Judge, Plan, Result, Sight
from vla_adapter_ros.evaluation.suites import table_suite
from vla_adapter_ros.evaluation.tabletop import judge_of
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.simulation.tabletop_scene import sample_tabletop
from vla_adapter_ros.simulation.tabletop_tasks import read_task

MOST_SCENES = 400
"""So many scenes are looked through for the things that a sentence names."""
UNJUDGED_S = 15.0
"""How long a sentence is followed that nobody can judge [s]."""


def run_tasks_demo(
    *,
    checkpoint: str,
    instruction: str = "",
    episodes: int = 4,
    contract: str = "franka_sim",
    renderer: str = "auto",
    seed: int = 100,
    output: Path = Path("out/demo"),
    console: bool = False,
) -> dict[str, Any]:
    """Bring the graph up and let the arm do the tabletop's tasks, or what one sentence asks for.

    Args:
        checkpoint: Policy.
        instruction: A sentence; empty: the suite's own ones. It is given in the first scene that has what it
            names; of a sentence that is not the suite's own, nobody judges what comes of it.
        episodes: How many of the suite's.
        contract: Robot contract.
        renderer: Of the simulator.
        seed: Of the first scene.
        output: Folder of video, plot and logs.
        console: Whether the operator's pages show it.

    Returns:
        {"episodes", "successes", "runs": [...], "images_expected", "images_received", "wall_s"}; episodes
        that nobody judges do not count.

    Raises:
        ServiceError: no scene has what the sentence names, or the graph did not work.
        ProcessError: a node ended.
    """
    started, description = time.monotonic(), read_contract(contract)
    tasks = table_suite(SuiteName.TABLETOP, description)
    if instruction:
        plans = [_told(instruction, seed)]
    else:
        plans = [(plan, tasks.judge(plan)) for plan in tasks.plans(episodes, seed)]
    nodes = node_list(
        contract=contract, checkpoint=checkpoint, lock_step=True, renderer=renderer, client=True,
        console=console, table=tasks.table,
    )  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    with (
        GraphRunner(nodes, output / "logs") as graph,
        GraphClient(description, graph.check_alive, watch_images=True) as client,
        DemoVideo(description, output) as video,
    ):
        for plan, judge in plans:
            judged = not isinstance(judge, Unjudged)
            watch = SceneWatch(client, description, judge, video.add_message)
            client.reset(plan.scene)
            video.start_episode(plan.instruction)
            result = follow_plan(client, watch, plan, tasks.longest_s if judged else UNJUDGED_S)
            video.stop_episode()
            runs.append(_facts(result, judged))
            print(f"scene {plan.scene}: '{plan.instruction}' -> {runs[-1]['ending']}", flush=True)
    counted = [run["success"] for run in runs if run["success"] is not None]
    summary = {"episodes": len(counted), "successes": sum(counted), "runs": runs} | video.counts()
    summary["wall_s"] = round(time.monotonic() - started, 1)
    if counted:
        print(f"{sum(counted)} of {len(counted)} tasks done; {summary['wall_s']:.0f} s")
    print(f"video {output / 'demo.mp4'}, plot {output / 'demo.png'}")
    return summary


def _facts(result: Result, judged: bool) -> dict[str, Any]:
    """What the demo says of an episode; of one that nobody judges, not whether it succeeded."""
    stopped = result.ending == Ending.STOPPED
    took = f"after {result.duration_s:.1f} s"
    said = f"{result.ending} {took}: {result.note}" if judged or stopped else f"{took} {result.note}"
    return {
        "scene": result.scene,
        "instruction": result.instruction,
        "target": result.target,
        "success": result.success if judged else None,
        "ending": said,
        "duration_s": result.duration_s,
    }


def _told(instruction: str, seed: int) -> tuple[Plan, Judge]:
    """The sentence in the first scene in which it is a task, or else the first that has what it names."""
    words, fallback = set(instruction.lower().replace(".", " ").split()), None
    for number in range(seed, seed + MOST_SCENES):
        things = sample_tabletop(number).things
        if (task := read_task(instruction, things)) is not None:
            return Plan(0, str(task.verb), number, instruction, task.target), judge_of(task, things)
        named = [thing.name for thing in things if set(thing.name.split()) <= words]
        if named and fallback is None:
            fallback = Plan(0, "", number, instruction, named[0]), Unjudged(named[0])
    if fallback is not None:
        return fallback
    raise ServiceError(
        f"'{instruction}' names nothing that stands on the table: allowed are such as "
        "'pick up the red cube', 'put the blue bar into the bowl', "
        "'push the green cylinder to the yellow zone', "
        "'stack the red cube on the blue cube'"
    )


class Unjudged:
    """Looks at an episode of which nobody knows what it should come to, until its time is over.

    Args:
        named: Object that is named.
    """

    def __init__(self, named: str) -> None:
        self._named = named
        self._began: np.ndarray | None = None
        self._now = np.zeros(3)

    def look(self, sight: Sight) -> bool:
        """Take in what is seen; it is never over."""
        self._now = np.array(sight.positions[self._named])
        self._began = self._now if self._began is None else self._began
        return False

    def ending(self) -> tuple[Ending, str]:
        """How far the named object was moved."""
        moved = 0.0 if self._began is None else float(np.linalg.norm(self._now - self._began))
        return Ending.TIMED_OUT, f"the {self._named} is {1e3 * moved:.0f} mm from where it was"
