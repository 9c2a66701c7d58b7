"""Collect demonstrations of Meta-World's scripted policies as a LeRobot data set."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vla_adapter_ros.cli.progress_bar import progress_bar
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.dataset.layout import HUMAN, stream_names
from vla_adapter_ros.dataset.resume import read_recordings
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.observation.frame import Frame
from vla_adapter_ros.simulation.worlds import metaworld_tasks as mt50
from vla_adapter_ros.simulation.worlds.demonstrations import NOISE, Row, demonstrate
from vla_adapter_ros.simulation.worlds.environments import world_python
from vla_adapter_ros.simulation.worlds.process import WorldProcess

NOTE = "demonstration"
"""Key under which meta/recordings.json says which demonstration an episode is."""
LONGEST_ROWS = (50, 100)
"""Longest demonstration, in the first half of the attempts and in the second: few need 25 rows, and most
longer ones went wrong first."""
MOST_ATTEMPTS = 30
"""Episodes that are tried for a demonstration."""
FADING = 0.7
"""Each attempt is disturbed so many times as strongly as the one before: some scripts never recover."""
CRF = 12
"""Quality of the videos: objects are a few pixels large, and live pictures are not blurred by an encoder."""
_BATCH = 10  # demonstrations of a task after one another: loading a task takes longer than one of them


class Place(NamedTuple):
    """Which demonstration."""

    task: str
    number: int


@dataclass(frozen=True)
class Demonstration:
    """One that was done."""

    place: Place
    seed: int
    noise: float
    rows: Sequence[Row]


def collect_metaworld(
    dataset: Path, tasks: Sequence[str], per_task: int, *, seed: int = 0, jobs: int = 1
) -> tuple[int, list[Place]]:
    """Record demonstrations until a data set has so many of each task.

    What is recorded does not depend on `jobs`, nor on how often it was interrupted.

    Args:
        dataset: Folder of the data set; completed if it exists.
        tasks: Names of tasks.
        per_task: Demonstrations of each.
        seed: Draws the episodes.
        jobs: Simulators.

    Returns:
        How many were recorded now, and those in which the expert did not succeed.

    Raises:
        SimulationError: Meta-World is not installed, or its process has ended.
        DatasetError: the data set cannot be written, or was made with another seed.
    """
    python, contract = world_python(mt50.NAME), read_contract(mt50.NAME)
    failed: list[Place] = []
    with DatasetWriter(dataset, contract, crf=CRF) as writer:
        there = _recorded(dataset, writer.num_episodes, seed)
        places = [place for place in _places(tasks, per_task) if place not in there]
        shown = _demonstrations(python, contract, places, seed, jobs)
        with closing(shown), progress_bar("demonstrations", len(places)) as advance:
            for demonstration in shown:
                if isinstance(demonstration, Demonstration):
                    _write(writer, contract, demonstration, seed)
                else:
                    failed.append(demonstration)
                advance()
    return len(places) - len(failed), failed


def _places(tasks: Sequence[str], per_task: int) -> list[Place]:
    """In an order in which few tasks are loaded, and which is even early on."""
    return [
        Place(task, number)
        for first in range(0, per_task, _BATCH)
        for task in tasks
        for number in range(first, min(first + _BATCH, per_task))
    ]


def _recorded(dataset: Path, episodes: int, seed: int) -> set[Place]:
    notes = [entry.get(NOTE) for entry in read_recordings(dataset, episodes)]
    if any(not isinstance(note, dict) or note.get("seed") != seed for note in notes):
        raise DatasetError(f"{dataset} holds episodes that are no demonstrations with --seed {seed}")
    return {Place(str(note["task"]), int(note["number"])) for note in notes if note}


def _demonstrations(
    python: Path, contract: Contract, places: Sequence[Place], seed: int, jobs: int
) -> Generator[Demonstration | Place, None, None]:
    """In order; each thread has a simulator of its own, and few results wait."""
    sizes = {name: camera.size for name, camera in contract.cameras.items()}
    own = threading.local()
    with ExitStack() as worlds, ThreadPoolExecutor(jobs) as pool:

        def work(place: Place) -> Demonstration | Place:
            if not hasattr(own, "world"):
                own.world = worlds.enter_context(WorldProcess(python, mt50.CHILD, sizes))
            return _demonstration(own.world, contract, place, seed)

        waiting: deque[Future[Demonstration | Place]] = deque()
        try:
            for place in places:
                waiting.append(pool.submit(work, place))
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _demonstration(world: WorldProcess, contract: Contract, place: Place, seed: int) -> Demonstration | Place:
    """The demonstration of a place, or the place alone where the expert always failed."""
    for attempt in range(MOST_ATTEMPTS):
        noise = NOISE[place.number % len(NOISE)] * FADING**attempt
        episode = mt50.demonstration_seed(seed, place.task, place.number, attempt)
        show = partial(
            demonstrate,
            world,
            task=mt50.environment_name(place.task),
            seed=episode,
            noise=noise,
            steps_per_row=mt50.STEPS_PER_ROW,
            longest_rows=LONGEST_ROWS[attempt >= MOST_ATTEMPTS // 2],
        )
        if show(()) is None:  # pictures take most of the time: they are for what succeeds
            continue
        if (rows := show(contract.camera_names)) is not None:
            return Demonstration(place, episode, noise, rows)
    return place


def _write(writer: DatasetWriter, contract: Contract, shown: Demonstration, seed: int) -> None:
    writer.start_episode(mt50.SENTENCES[shown.place.task])
    ages = dict.fromkeys(stream_names(contract), 0.0)
    for number, row in enumerate(shown.rows):
        stamp = 1.0 + number / contract.rate_hz
        writer.add_frame(Frame(stamp, row.images, row.state, row.action, ages, stamp), HUMAN)
    place = shown.place
    note = {"task": place.task, "number": place.number, "episode_seed": shown.seed, "noise": shown.noise}
    writer.save_episode({NOTE: {**note, "seed": seed}})
