"""Collect demonstrations: the scripted expert teleoperates, the recorder writes a LeRobot data set."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from std_srvs.srv import Trigger

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.cli.progress_bar import progress_bar
from vla_adapter_ros.cli.scene_watch import SceneWatch
from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import DatasetError, ServiceError
from vla_adapter_ros.evaluation.suite import Ending, Plan
from vla_adapter_ros.evaluation.suites import table_suite
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.process_runner import GraphRunner
from vla_adapter_ros.srv import Demonstrate, StartEpisode
from vla_adapter_ros.untrusted import read_json

MISHAPS = ((0.0, 0.0), (0.005, 0.4), (0.008, 0.4))
"""In turn: how far the tool is pushed [m], from where the arm recovers within its limits; and how often the
gripper shuts beside the cube [1/s], as policies that did so once have to open and shut again."""
AFTER_DONE_S = 0.3


FIRST_SCENE = 10_000
SCENES = "meta/scenes.json"  # in the data set: the seed after the last scene that it shows


@dataclass(frozen=True)
class RecordingResult:
    """What a recording session gave."""

    episodes: int
    discarded: int
    seconds: float


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
                (dataset / SCENES).write_text(json.dumps({"next_seed": plan.scene + 1}) + "\n")
                advance()
            else:
                discarded += 1
    return RecordingResult(saved, discarded, time.monotonic() - started)


def first_scene(dataset: Path, seed: int | None) -> int:
    """The seed at which recording begins: the one asked for, else the first that is new to the data set.

    Raises:
        DatasetError: the scenes from `seed` on are in the data set, or, without one, which they are is not
            known.
    """
    if not (dataset / "meta" / "info.json").is_file():
        return FIRST_SCENE if seed is None else seed
    try:
        free = int(read_json(dataset / SCENES)["next_seed"])
    except FileNotFoundError:
        if seed is None:
            raise DatasetError(
                f"{dataset} is there already and does not say which scenes it shows: name one that is new to "
                "it with --seed, or another --dataset"
            ) from None
        return seed
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{dataset / SCENES} cannot be read: {error}") from error
    if seed is not None and seed < free:
        raise DatasetError(
            f"--seed {seed}: {dataset} may show the scenes from there on already; the next free one is {free}"
        )
    return free if seed is None else seed


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
