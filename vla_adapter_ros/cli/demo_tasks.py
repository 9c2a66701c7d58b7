"""The demo of a suite: each verb in turn, or one sentence that somebody gave, by the real node graph."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.cli.demo_video import DemoVideo
from vla_adapter_ros.cli.scene_watch import SceneWatch
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.evaluation.suite import Ending, Judge, Plan, Sight, TableSuite
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
_AT_REST_S = 0.6


def run_tasks_demo(
    *,
    suite: str,
    checkpoint: str,
    instruction: str = "",
    episodes: int = 4,
    contract: str = "franka_sim",
    renderer: str = "auto",
    seed: int = 100,
    output: Path = Path("out/demo"),
    console: bool = False,
) -> dict[str, Any]:
    """Bring the graph up and let the arm do a suite's tasks, or what one sentence asks for.

    Args:
        suite: Its name.
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
    tasks = table_suite(suite, description)
    plans = list(_told(instruction, seed) if instruction else _own(tasks, episodes, seed))
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
            watch = SceneWatch(client, description, judge, video.add_message)
            client.reset(plan.scene)
            runs.append(_run(client, watch, video, plan, tasks.longest_s))
            print(f"scene {plan.scene}: '{plan.instruction}' -> {runs[-1]['ending']}", flush=True)
    judged = [run for run in runs if run["success"] is not None]
    successes = sum(run["success"] for run in judged)
    result = {"episodes": len(judged), "successes": successes, "runs": runs} | video.counts()
    result["wall_s"] = round(time.monotonic() - started, 1)
    if judged:
        print(f"{successes} of {len(judged)} tasks done; {result['wall_s']:.0f} s")
    print(f"video {output / 'demo.mp4'}, plot {output / 'demo.png'}")
    return result


def _own(suite: TableSuite, episodes: int, seed: int) -> Iterator[tuple[Plan, Judge]]:
    for plan in suite.plans(episodes, seed):
        yield plan, suite.judge(plan)


def _told(instruction: str, seed: int) -> Iterator[tuple[Plan, Judge]]:
    """The sentence in the first scene that has what it names."""
    words = set(instruction.lower().replace(".", " ").split())
    for number in range(seed, seed + MOST_SCENES):
        scene = sample_tabletop(number)
        if (task := read_task(instruction, scene.things)) is not None:
            yield Plan(0, str(task.verb), number, instruction, task.target), judge_of(task, scene.things)
            return
    for number in range(seed, seed + MOST_SCENES):
        scene = sample_tabletop(number)
        named = [thing.name for thing in scene.things if set(thing.name.split()) <= words]
        if named:
            yield Plan(0, "", number, instruction, named[0]), Unjudged(named[0])
            return
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


def _run(
    client: GraphClient, watch: SceneWatch, video: DemoVideo, plan: Plan, longest_s: float
) -> dict[str, Any]:
    """Give the instruction and look until the judge says that it is over."""
    judged = not isinstance(watch.judge, Unjudged)
    longest_s = longest_s if judged else UNJUDGED_S
    video.start_episode(plan.instruction)
    client.instruct(plan.instruction)
    end = watch.begin() + longest_s
    client.wait_until(lambda: watch.over or watch.stopped != "" or client.now >= end)
    ended = watch.end() if watch.over else client.now
    client.instruct("")
    video.stop_episode()
    client.sleep(_AT_REST_S)
    ending, note = watch.judge.ending()
    duration_s = round(ended - (end - longest_s), 2)
    words = f"{ending} after {duration_s:.1f} s: {note}" if judged else f"after {duration_s:.1f} s {note}"
    return {
        "scene": plan.scene,
        "instruction": plan.instruction,
        "target": plan.target,
        "success": ending is Ending.SUCCESS if judged else None,
        "ending": words if not watch.stopped or watch.over else f"stopped: {watch.stopped}",
        "duration_s": duration_s,
    }
