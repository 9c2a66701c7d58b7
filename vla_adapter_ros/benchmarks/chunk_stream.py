"""A policy's chunks as recorded: one per frame, to be replayed in any way and with any latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_adapter_ros.contract import Contract, checkpoints_folder, read_contract
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.pacing import ChunkPacer
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.sentences import SENTENCES, sentence

STREAM = Path(__file__).resolve().parent / "data" / "chunks_franka_sim.npz"
"""The stream that ships with the package."""
TICK_S = 0.01
PUBLISH_EVERY = 4  # ticks between two trajectories
EXECUTION_HORIZON = 4  # rows between two chunks that the recording robot follows
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
    """

    names: tuple[str, ...]
    rate_hz: float
    episodes: tuple[Episode, ...]

    def shortened(self, episodes: int, frames: int) -> ChunkStream:
        """The first `frames` frames of the first `episodes` episodes."""
        cut = (
            Episode(e.instruction, e.start, e.stamps[:frames], e.rows[:frames])
            for e in self.episodes[:episodes]
        )
        return ChunkStream(self.names, self.rate_hz, tuple(cut))


def save_stream(path: Path, stream: ChunkStream) -> None:
    """Write a stream as .npz; rows as float32."""
    arrays: dict[str, np.ndarray] = {"names": np.array(stream.names), "rate_hz": np.array(stream.rate_hz)}
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
            return ChunkStream(tuple(file["names"].tolist()), float(file["rate_hz"]), episodes)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{path} is no recorded chunk stream: {error}") from error


def record_stream(
    *,
    contract: str = "franka_sim",
    checkpoint: str = "franka_sim_tiny",
    episodes: int = 6,
    seed: int = 500,
    renderer: str = "auto",
    report: Callable[[str], None] = print,
) -> ChunkStream:
    """Let a policy drive the simulated arm and keep a chunk for every frame.

    The arm follows every fourth of them through `MotionCore`, as the nodes do by default, and time
    stands still while the policy thinks: the stream is free of latency.

    Args:
        contract: Robot contract, of a joint-position action.
        checkpoint: Name of a shipped checkpoint, or a directory.
        episodes: Scenes, each with another instruction.
        seed: Of the first scene.
        renderer: See `render.choose_backend`.
        report: Called with one line per episode.
    """
    from vla_adapter_ros.model import VlaAdapterPolicy

    description = read_contract(contract)
    shipped = checkpoints_folder() / checkpoint
    policy = VlaAdapterPolicy.from_pretrained(shipped if shipped.is_dir() else checkpoint)
    robot = SimulatedRobot(description, renderer)
    recorded = []
    for number in range(episodes):
        colours = robot.reset(seed + number).colours
        target = colours[number % len(colours)]
        text = sentence(target, number % len(SENTENCES))
        episode = _record_episode(description, robot, policy, text)
        recorded.append(episode)
        report(f"'{text}': {len(episode.stamps)} chunks, lifted: {robot.lifted() or 'nothing'}")
    robot.close()
    return ChunkStream(description.action_names, description.rate_hz, tuple(recorded))


def _record_episode(contract: Contract, robot: SimulatedRobot, policy, text: str) -> Episode:
    core = MotionCore(contract, TICK_S, armed=True)
    pacer = ChunkPacer(contract.rate_hz, policy.config.chunk, EXECUTION_HORIZON)
    ticks_per_frame = round(1.0 / contract.rate_hz / TICK_S)
    begun, lifted_at = robot.time, np.inf
    start = _arm(contract, robot)
    stamps, rows = [], []
    tick = 0
    while robot.time - begun < LONGEST_S and robot.time < lifted_at + AFTER_LIFT_S:
        now = robot.time
        core.measure(measured_joints(robot), now)
        if tick % ticks_per_frame == 0:
            images = [robot.render(name) for name in contract.camera_names]
            stamps.append(now - begun)
            rows.append(policy.predict(images, text, _state(contract, robot)))
            if pacer.take(now):
                chunk = Chunk(now, rows[-1], contract.action_names, contract.rate_hz, sequence=tick)
                core.accept_chunk(chunk, now)
        core.tick(now)
        if tick % PUBLISH_EVERY == 0:
            send_trajectory(core, robot, now)
        if core.gripper_position is not None:
            robot.accept_gripper(core.gripper_position)
        if robot.lifted() and not np.isfinite(lifted_at):
            lifted_at = now
        robot.advance(TICK_S)
        tick += 1
    return Episode(text, start, np.array(stamps), np.array(rows))


def measured_joints(robot: SimulatedRobot) -> dict[str, float]:
    """Measured joint positions by name [rad or m]."""
    return dict(zip(robot.joint_names, robot.joint_positions().tolist(), strict=True))


def send_trajectory(core: MotionCore, robot: SimulatedRobot, now: float) -> None:
    """Hand what the core wants sent at `now` to the robot's trajectory controller."""
    trajectory = core.trajectory(now)
    if trajectory is not None:
        robot.accept_trajectory(
            trajectory.joints,
            now,
            trajectory.times - now,
            trajectory.positions,
            trajectory.velocities,
            trajectory.accelerations,
        )


def _arm(contract: Contract, robot: SimulatedRobot) -> np.ndarray:
    joints = measured_joints(robot)
    return np.array([joints[name] for name in contract.arm_joints])


def _state(contract: Contract, robot: SimulatedRobot) -> np.ndarray:
    """Proprioception as the contract orders it, from the joints and the tool pose."""
    joints = measured_joints(robot)
    names = (*(f"position.{axis}" for axis in "xyz"), *(f"orientation.{axis}" for axis in "xyzw"))
    pose = dict(zip(names, robot.tool_pose().tolist(), strict=True))
    return np.array([joints[d.joint] if d.joint else pose[d.field] for d in contract.state])
