"""A policy's chunks as recorded: one per frame, to be replayed in any way and with any latency."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.evaluation.latency import Latency
from vla_adapter_ros.evaluation.policy_loop import run_policy
from vla_adapter_ros.simulation.cube_instructions import INSTRUCTIONS, cube_instruction
from vla_adapter_ros.simulation.robot import SimulatedRobot

_DATA = Path(__file__).resolve().parent / "data"
STREAM = _DATA / "chunks_franka_sim_delayed.npz"
"""The stream that ships with the package: of a policy that was trained with delays and is 90 ms late."""
OLD_STREAM = _DATA / "chunks_franka_sim.npz"
"""Of the policy before it, which decides for its image, and whose demonstrations broke the arm's limits."""
LONGEST_S = 8.0
AFTER_LIFT_S = 0.3


@dataclass(frozen=True)
class Episode:
    """One instruction, carried out.

    Attributes:
        instruction: What the policy was told.
        start: The arm before the first chunk, float64 (J,) [rad], order of the contract's arm joints.
        stamps: Times of the frames since the first, float64 (N,) [s].
        rows: The chunk of every frame, float64 (N, H, A), columns as in the contract's action.
    """

    instruction: str
    start: np.ndarray
    stamps: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class ChunkStream:
    """Episodes of one robot.

    Attributes:
        names: Columns of the rows (A,).
        rate_hz: Frames, and rows of a chunk, per second.
        episodes: What was recorded.
        delay_rows: How many rows after its frame a chunk begins: a policy that was trained with delays
            decides for then.
    """

    names: tuple[str, ...]
    rate_hz: float
    episodes: tuple[Episode, ...]
    delay_rows: int = 0

    def shortened(self, episodes: int, frames: int) -> ChunkStream:
        """The first `frames` frames of the first `episodes` episodes."""
        cut = (
            Episode(e.instruction, e.start, e.stamps[:frames], e.rows[:frames])
            for e in self.episodes[:episodes]
        )
        return replace(self, episodes=tuple(cut))


def save_stream(path: Path, stream: ChunkStream) -> None:
    """Write a stream as .npz; rows as float32."""
    arrays: dict[str, Any] = {
        "names": np.array(stream.names),
        "rate_hz": np.array(stream.rate_hz),
        "delay_rows": np.array(stream.delay_rows),
    }
    for i, episode in enumerate(stream.episodes):
        arrays |= {
            f"{i}/instruction": np.array(episode.instruction),
            f"{i}/start": episode.start,
            f"{i}/stamps": episode.stamps,
            f"{i}/rows": episode.rows.astype(np.float32),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def load_stream(path: Path = STREAM) -> ChunkStream:
    """Read a stream that `save_stream` wrote.

    Raises:
        DatasetError: no such file, or not such a file.
    """
    try:
        with np.load(path) as file:
            count = sum(key.endswith("/rows") for key in file.files)
            episodes = tuple(
                Episode(
                    str(file[f"{i}/instruction"]),
                    file[f"{i}/start"],
                    file[f"{i}/stamps"],
                    file[f"{i}/rows"].astype(np.float64),
                )
                for i in range(count)
            )
            delay_rows = int(file["delay_rows"]) if "delay_rows" in file.files else 0
            return ChunkStream(tuple(file["names"].tolist()), float(file["rate_hz"]), episodes, delay_rows)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{path} is no recorded chunk stream: {error}") from error


def record_stream(
    *,
    contract: str = "franka_sim",
    checkpoint: str = "franka_sim_tiny",
    episodes: int = 6,
    seed: int = 500,
    latency_s: float = 0.0,
    renderer: str = "auto",
    report: Callable[[str], None] = print,
) -> ChunkStream:
    """Let a policy drive the simulated arm and keep a chunk for every frame.

    The arm follows every fourth of them through `MotionCore`, as the nodes do by default. Without a latency
    time stands still while the policy thinks.

    Args:
        contract: Robot contract, of a joint-position action.
        checkpoint: Name of a shipped checkpoint, or a directory.
        episodes: Scenes, each with another instruction.
        seed: Of the first scene.
        latency_s: From an image to its chunk [s]; a policy that was trained with delays decides for then.
        renderer: See `render.choose_backend`.
        report: Called with one line per episode; one in which a chunk is refused ends there.
    """
    from vla_adapter_ros.model import VlaAdapterPolicy

    description = read_contract(contract)
    policy = VlaAdapterPolicy.from_pretrained(checkpoint)
    robot = SimulatedRobot(description, renderer)
    recorded = []
    for number in range(episodes):
        colors = robot.reset(seed + number).names
        target = colors[number % len(colors)]
        text = cube_instruction(target, number % len(INSTRUCTIONS))
        run = run_policy(
            description, robot, policy, text,
            longest_s=LONGEST_S, latency=Latency(latency_s), full_pace_rows=math.inf,
            after_lift_s=AFTER_LIFT_S, every_frame=True,
        )  # fmt: skip
        recorded.append(Episode(text, run.start, run.stamps, run.rows))
        ended = f"; it ended as {run.refused}" if run.refused else ""
        report(f"'{text}': {len(run.stamps)} chunks, lifted: {run.lifted or 'nothing'}{ended}")
    robot.close()
    return ChunkStream(description.action_names, description.rate_hz, tuple(recorded), run.late.rows)
