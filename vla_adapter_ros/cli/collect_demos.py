"""Collect demonstrations: the scripted expert teleoperates, the recorder writes a LeRobot data set."""

from __future__ import annotations

import time
from pathlib import Path

from std_srvs.srv import Trigger

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.cli.progress_bar import progress_bar
from vla_adapter_ros.cli.scene_watch import SceneWatch
from vla_adapter_ros.cli.seen_scenes import RecordingResult, first_scene, note_scene
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import ServiceError
from vla_adapter_ros.evaluation.demonstrations import AFTER_DONE_S, MISHAPS
from vla_adapter_ros.evaluation.suite import Ending, Plan
from vla_adapter_ros.evaluation.suites import table_suite
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.srv import Demonstrate, StartEpisode


def collect_demonstrations(
    dataset: Path, episodes: int, *, suite: str = "pick", contract: str = "franka_sim",
    seed: int | None = None, renderer: str = "auto", logs: Path | None = None,
) -> RecordingResult:  # fmt: skip
    """Record `episodes` successful demonstrations, each on a scene of its own.

    The arm is pushed about at random in two of three, and its gripper slips shut, so that recoveries are in
    the data. Tries in which the expert fails are discarded.

    Args:
        dataset: Directory of the data set; continued if it exists.
        episodes: Demonstrations to add.
        suite: Whose tasks are demonstrated.
        contract: Robot contract.
        seed: First scene, see `first_scene`.
        renderer: Of the simulator.
        logs: Folder for the nodes' logs.

    Raises:
        ParameterError: no such suite.
        ServiceError, ProcessError: the graph did not work.
        DatasetError: the scenes would be, or may be, in the data set already.
    """
    started, first, robot = time.monotonic(), first_scene(dataset, seed), read_contract(contract)
    tasks = table_suite(suite, robot)
    nodes = node_list(
        contract=contract, policy=False, record=str(dataset), lock_step=True, renderer=renderer, client=True,
        table=tasks.table,
    )  # fmt: skip
    saved = discarded = 0
    with (
        GraphRunner(nodes, logs) as graph,
        GraphClient(robot, graph.check_alive, watch_joints=True) as client,
        progress_bar("demonstrations", episodes) as advance,
    ):
        while saved < episodes:
            number = saved + discarded
            if discarded > episodes + 10:
                raise ServiceError(f"{discarded} of {number} demonstrations failed: giving up")
            plan = tasks.demonstration(number, first + number)
            client.reset(plan.scene)
            watch = SceneWatch(client, robot, tasks.judge(plan))
            if _demonstrate(client, watch, plan, tasks.longest_s, *MISHAPS[number % len(MISHAPS)]):
                saved += 1
                note_scene(dataset, plan.scene)
                advance()
            else:
                discarded += 1
    return RecordingResult(saved, discarded, time.monotonic() - started)


def _demonstrate(
    client: GraphClient, watch: SceneWatch, plan: Plan, longest_s: float, push_m: float, slips_per_s: float
) -> bool:
    """Record one demonstration with mishaps of a size; True if it was saved."""
    answer = client.call("recorder_node/start_episode", StartEpisode.Request(instruction=plan.instruction))
    if not answer.accepted:
        raise ServiceError(f"recorder refused to start: {answer.message}")
    request = Demonstrate.Request(target=plan.target, disturbance=push_m, slips=slips_per_s, seed=plan.scene)
    if not (answer := client.call("simulator/demonstrate", request)).accepted:
        raise ServiceError(f"expert refused: {answer.message}")
    end = watch.begin() + longest_s
    client.wait_until(lambda: watch.over or client.now > end)
    watch.end()
    done = watch.over and watch.judge.ending()[0] is Ending.SUCCESS
    if done:
        client.sleep(AFTER_DONE_S)
    ending = "stop_episode" if done else "discard_episode"
    answer = client.call(f"recorder_node/{ending}", Trigger.Request())
    client.call("simulator/demonstrate", Demonstrate.Request(target=""))
    client.sleep(0.5)
    if done and not answer.success:
        # It failed its quality checks and waits, or could not be written; the recorder's log says which.
        client.call("recorder_node/discard_episode", Trigger.Request())
        return False
    return done
