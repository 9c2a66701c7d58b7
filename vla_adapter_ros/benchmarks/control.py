"""Recorded chunks, with inference latency, driven by the usual methods and by the default controller."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from vla_adapter_ros.benchmarks.chunk_stream import ChunkStream, Episode, load_stream
from vla_adapter_ros.benchmarks.control_peers import Default, Ensembling, Method, OnePoint, OpenLoop
from vla_adapter_ros.benchmarks.motion_measures import jerk, path_distances, shifted_errors, velocity_steps
from vla_adapter_ros.choices import EXECUTION_HORIZON
from vla_adapter_ros.contract import Contract, read_contract
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.errors import ChunkError
from vla_adapter_ros.simulation.robot import SimulatedRobot
from vla_adapter_ros.simulation.scene import Scene

METHODS = ("one_point", "open_loop", "ensembling", "default")
EVERY_FRAME = "every_frame"  # the default's controller, with as many chunks as one_point gets
LATENCIES_MS = (0, 40, 90, 200)
OLD_LATENCY_MS = 90
SAMPLE_S = 0.001
JITTER = 0.15  # standard deviation of the latency, as a fraction of it; cut off at two of them
SETTLE_S = 0.3  # the arm stands still before the first frame
HAND_OVER_S = 0.3  # how long after a hand-over its velocity step may show: lead, then a row


@dataclass(frozen=True)
class Drive:
    """One episode as it was driven, sampled every millisecond from the first frame on.

    `measured` is the arm's, `sent` and `velocity` are the driver's set-point: float64 (N, J) each.
    """

    measured: np.ndarray
    sent: np.ndarray
    velocity: np.ndarray
    hand_overs: list[float]
    refused: int


def run_control_benchmark(
    stream: ChunkStream | None = None,
    *,
    contract: str = "franka_sim",
    latencies_ms: Sequence[float] = LATENCIES_MS,
    methods: Sequence[str] = (*METHODS, EVERY_FRAME),
    horizon: int = EXECUTION_HORIZON,
    seed: int = 0,
    old_stream: ChunkStream | None = None,
) -> dict[str, Any]:
    """Replay a stream through every method at every latency, in simulated time.

    Args:
        stream: Recorded chunks; None: those that ship with the package.
        contract: Robot contract of the simulated arm, with the stream's columns.
        latencies_ms: Mean inference latencies.
        methods: Out of `METHODS`, and `EVERY_FRAME`.
        horizon: Rows that the default executes per chunk.
        seed: Of the jitter. Frame n of an episode takes equally long whichever method asks.
        old_stream: Another one, which is driven at `OLD_LATENCY_MS` as well.

    Returns:
        {"latency_90ms": {"one_point": {...}, ...}, ..., "latency_90ms_old_stream": {...}, "settings": {...},
        "stream": {...}};
        see `measures` and `stream_facts`.
    """
    stream = stream or load_stream()
    description = read_contract(contract)
    result: dict[str, Any] = {
        f"latency_{latency:g}ms": _drive(description, stream, latency * 1e-3, methods, horizon, seed)
        for latency in latencies_ms
    }
    if old_stream is not None:
        part = _drive(description, old_stream, OLD_LATENCY_MS * 1e-3, methods, horizon, seed)
        result[f"latency_{OLD_LATENCY_MS}ms_old_stream"] = part
    frames = sum(len(episode.stamps) for episode in stream.episodes)
    result["settings"] = {
        "contract": description.name,
        "episodes": len(stream.episodes),
        "frames": frames,
        "seconds": round(frames / stream.rate_hz, 1),
        "rate_hz": stream.rate_hz,
        "horizon": horizon,
        "jitter": JITTER,
        "seed": seed,
    }
    result["stream"] = stream_facts(description, stream)
    return result


def _drive(
    contract: Contract, stream: ChunkStream, latency_s: float, methods: Sequence[str], horizon: int, seed: int
) -> dict[str, dict[str, float]]:
    """The measures of each method on one stream at one latency."""
    part: dict[str, dict[str, float]] = {}
    latencies = _draw_latencies(stream, latency_s, seed)
    for name in methods:
        robot = free_arm(contract)  # a new one, so that no figure depends on what else was asked for
        drives = [
            drive_episode(contract, robot, episode, name, late, horizon, stream.delay_rows)
            for episode, late in zip(stream.episodes, latencies, strict=True)
        ]
        robot.close()
        part[name] = measures(contract, stream, drives)
    return part


def free_arm(contract: Contract) -> SimulatedRobot:
    """The simulated arm at 1 kHz, without cameras, and nothing that it could touch."""
    robot = SimulatedRobot(dataclasses.replace(contract, cameras={}), time_step_s=SAMPLE_S)
    robot.world.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    return robot


def drive_episode(
    contract: Contract,
    robot: SimulatedRobot,
    episode: Episode,
    method: str,
    latencies: np.ndarray,
    horizon: int = EXECUTION_HORIZON,
    delay_rows: int = 0,
) -> Drive:
    """Drive the arm through one episode, with an open gripper.

    Inference handles one frame at a time, always the newest, and only those that the method wants.

    Args:
        robot: From `free_arm`; what it did before does not matter.
        latencies: What inference takes per frame [s] (N,).
        delay_rows: How many rows after its frame each chunk begins.
    """
    robot.reset_scene(Scene(0, (), tuple(_arm_order(contract, robot, episode.start))))
    for _ in range(round(SETTLE_S / SAMPLE_S)):
        robot.advance(SAMPLE_S)
    begun, samples = robot.time, round((episode.stamps[-1] + 1.0 / contract.rate_hz) / SAMPLE_S)
    driver = _make(method, contract, robot, len(episode.rows[0]), horizon, delay_rows)
    inference = Inference(contract, episode, latencies, begun, delay_rows)
    arm = [robot.joint_names.index(joint) for joint in contract.arm_joints]
    measured, sent, velocity = (np.empty((samples, len(arm))) for _ in range(3))
    for i in range(samples):
        now = robot.time
        inference.step(driver, now)
        driver.step(now)
        measured[i] = robot.joint_positions()[arm]
        sent[i], velocity[i] = (values[arm] for values in robot.desired())
        robot.advance(SAMPLE_S)
    return Drive(measured, sent, velocity, [t - begun for t in driver.hand_overs], inference.refused)


class Inference:
    """A policy that takes its time: one frame at a time, the newest."""

    def __init__(
        self,
        contract: Contract,
        episode: Episode,
        latencies: np.ndarray,
        begun: float,
        delay_rows: int = 0,
    ) -> None:
        self._delay_s = delay_rows / contract.rate_hz
        self._contract, self._episode, self._latencies = contract, episode, latencies
        self._stamps = begun + episode.stamps
        self._last = -1
        self._done_at: float | None = None
        self.refused = 0

    def step(self, method: Method, now: float) -> None:
        """Begin what is wanted, hand over what is done."""
        while True:
            if self._done_at is None:
                newest = int(np.searchsorted(self._stamps, now + SAMPLE_S / 2)) - 1
                if newest <= self._last or not method.wants(float(self._stamps[newest])):
                    return
                self._last = newest
                self._done_at = now + self._latencies[newest]
            if now < self._done_at - SAMPLE_S / 2:
                return
            self._done_at = None
            try:
                method.deliver(self._chunk(self._last), now)
            except ChunkError:
                self.refused += 1

    def _chunk(self, number: int) -> Chunk:
        return Chunk(
            stamp=float(self._stamps[number]) + self._delay_s,
            input_stamp=float(self._stamps[number]),
            most_delay_s=self._delay_s,
            rows=self._episode.rows[number],
            names=self._contract.action_names,
            rate_hz=self._contract.rate_hz,
            session_id="replay",
            sequence=number,
        )


def measures(contract: Contract, stream: ChunkStream, drives: Sequence[Drive]) -> dict[str, float]:
    """Figures of one method at one latency, over all episodes.

    Returns:
        `rms_jerk`: root of the mean over time of the squared jerk, summed over the joints [rad/s^3];
        `peak_jerk`: largest of any joint; both of the arm as it moved. `seam_step_max` and
        `seam_step_mean`: largest velocity step of the driver's set-point within 1 ms after a hand-over,
        of any joint [rad/s]. `delay`: the time shift that fits best [s]. `path_error`: with that delay
        removed, root of the mean squared joint-space distance from the first row of every frame's
        chunk [rad]. `path_distance`: root of the mean squared distance of those rows from the driven
        curve, whenever it passed [rad]. `chunks`: how many were used;
        `refused_chunks`: how many were not.
    """
    columns = [stream.names.index(joint) for joint in contract.arm_joints]
    jerks = [jerk(drive.measured, SAMPLE_S) for drive in drives]
    squares = np.concatenate([(values**2).sum(axis=1) for values in jerks])
    span = round(HAND_OVER_S / SAMPLE_S)
    steps = np.concatenate(
        [
            velocity_steps(d.velocity, [round(t / SAMPLE_S) for t in d.hand_overs], span)
            for d in drives
        ]
    )  # fmt: skip
    sums: np.ndarray | float = 0.0
    count, distances = 0, []
    for drive, episode in zip(drives, stream.episodes, strict=True):
        reference = episode.rows[:, 0, columns]
        due = episode.stamps + stream.delay_rows / stream.rate_hz
        errors, used = shifted_errors(drive.measured, SAMPLE_S, reference, due)
        sums, count = sums + errors, count + used
        distances.append(path_distances(drive.measured, reference[:used]) ** 2)
    sums = np.asarray(sums)
    best = int(np.argmin(sums))
    return {
        "rms_jerk": float(np.sqrt(squares.mean())),
        "peak_jerk": float(max(np.abs(values).max() for values in jerks)),
        "seam_step_max": float(steps.max()),
        "seam_step_mean": float(steps.mean()),
        "path_error": float(np.sqrt(sums[best] / count)),
        "path_distance": float(np.sqrt(np.concatenate(distances).mean())),
        "delay": best * SAMPLE_S,
        "chunks": len(steps),
        "refused_chunks": sum(drive.refused for drive in drives),
    }


def stream_facts(contract: Contract, stream: ChunkStream) -> dict[str, float]:
    """How well the chunks of a stream agree, and whether an arm could follow their first rows.

    Returns:
        `disagreement`: root of the mean squared joint-space distance between the second row of a chunk
        and the first of the next frame's, which speaks of the same time [rad]. `beyond_limits`: fraction of
        the frames at which the path of first rows, begun at rest, needs more than the contract's
        acceleration in some joint.
    """
    columns = [stream.names.index(joint) for joint in contract.arm_joints]
    limits = np.array([contract.limits[joint].acceleration for joint in contract.arm_joints])
    apart, beyond = [], []
    for episode in stream.episodes:
        rows = episode.rows[:, :, columns]
        apart.append(((rows[:-1, 1] - rows[1:, 0]) ** 2).sum(axis=1))
        path = np.vstack([episode.start, episode.start, rows[:, 0]])
        needed = np.abs(np.diff(path, 2, axis=0)) * stream.rate_hz**2
        beyond.append((needed > limits).any(axis=1))
    return {
        "disagreement": float(np.sqrt(np.concatenate(apart).mean())),
        "beyond_limits": float(np.concatenate(beyond).mean()),
    }


def verdict(part: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Our aims, checked at one latency on the measures of all methods.

    Returns:
        `lowest_rms_jerk`; `rms_jerk_below_one_point`, a factor, of which 5 is wanted; `path_error_ratio`
        to the best of the others, of which at most 1.1 is wanted; `holds`, all three.
    """
    default, others = part["default"], [part[name] for name in METHODS if name != "default"]
    lowest = default["rms_jerk"] < min(other["rms_jerk"] for other in others)
    factor = part["one_point"]["rms_jerk"] / default["rms_jerk"]
    ratio = default["path_error"] / min(other["path_error"] for other in others)
    return {
        "lowest_rms_jerk": lowest,
        "rms_jerk_below_one_point": factor,
        "path_error_ratio": ratio,
        "holds": lowest and factor >= 5.0 and ratio <= 1.1,
    }


def _make(
    name: str, contract: Contract, robot: SimulatedRobot, rows: int, horizon: int, delay_rows: int
) -> Method:
    if name in ("default", EVERY_FRAME):
        return Default(contract, robot, rows, 1 if name == EVERY_FRAME else horizon, delay_rows)
    peers: dict[str, Callable[[Contract, SimulatedRobot], Method]] = {
        "one_point": OnePoint, "open_loop": OpenLoop, "ensembling": Ensembling,
    }  # fmt: skip
    return peers[name](contract, robot)


def _draw_latencies(stream: ChunkStream, mean_s: float, seed: int) -> list[np.ndarray]:
    """Latency of every frame of every episode [s]."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{mean_s:.6f}".encode())])
    return [
        mean_s * (1 + JITTER * np.clip(rng.standard_normal(len(episode.stamps)), -2, 2))
        for episode in stream.episodes
    ]


def _arm_order(contract: Contract, robot: SimulatedRobot, start: np.ndarray) -> list[float]:
    """Joints in the order of the simulated arm from those in the contract's order."""
    by_name = dict(zip(contract.arm_joints, start.tolist(), strict=True))
    return [by_name[name] for name in robot.joint_names if name in by_name]
