"""Methods that turn a stream of action chunks into commands for an arm's driver: three usual and the default.

Each gets chunks when inference has finished them, and steps through time. All talk to the same driver,
a joint trajectory controller; the usual ones send positions only, which it joins by lines.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vla_adapter_ros.contract import Contract
from vla_adapter_ros.control import Chunk, MotionCore
from vla_adapter_ros.control.pacing import ChunkPacer
from vla_adapter_ros.evaluation.policy_loop import PUBLISH_EVERY, TICK_S, measured_joints, send_trajectory
from vla_adapter_ros.simulation.robot import SimulatedRobot

ENSEMBLE_DECAY = 0.01  # m in the weights exp(-m i), i = 0 for the oldest chunk: ACT's value
_SAME_TIME_S = 1e-6


class Method(Protocol):
    """One method to execute chunks. Times are those of the robot [s]."""

    hand_overs: list[float]
    """When the commands began to follow another chunk."""
    row: np.ndarray | None
    """The row (A,) that is executed now; None before the first."""

    def wants(self, stamp: float) -> bool:
        """Whether inference shall look at the frame of this stamp; asked while it is free."""

    def deliver(self, chunk: Chunk, now: float) -> None:
        """A chunk has come out of inference."""

    def step(self, now: float) -> None:
        """Send what is to be sent at `now`; called every millisecond."""


class OnePoint:
    """The newest chunk's first row as a trajectory of one point, to be reached one row period later.

    What most examples do, and what drivers never blend: the rest of the chunk is thrown away.
    """

    def __init__(self, contract: Contract, robot: SimulatedRobot) -> None:
        self._robot, self._contract = robot, contract
        self._columns = contract.arm_places
        self._newest: Chunk | None = None
        self.hand_overs: list[float] = []
        self.row: np.ndarray | None = None

    def wants(self, stamp: float) -> bool:
        """Every frame."""
        return True

    def deliver(self, chunk: Chunk, now: float) -> None:
        """Keep the chunk; an older one that was not sent is dropped."""
        self._newest = chunk

    def step(self, now: float) -> None:
        """Send the first row of a new chunk, once."""
        if self._newest is None:
            return
        self.row = self._newest.rows[0]
        self._robot.accept_trajectory(
            self._contract.arm_joints, 0.0, [1.0 / self._contract.rate_hz], self.row[None, self._columns]
        )
        self._newest = None
        self.hand_overs.append(now)


class OpenLoop:
    """Execute all rows of a chunk, one per row period, then look again: the arm waits for inference."""

    def __init__(self, contract: Contract, robot: SimulatedRobot) -> None:
        self._robot, self._contract = robot, contract
        self._columns = contract.arm_places
        self._next: Chunk | None = None
        self._rows = np.zeros((0, len(contract.action_names)))  # that are executed
        self._begun, self._busy_until = -np.inf, -np.inf
        self.hand_overs: list[float] = []
        self.row: np.ndarray | None = None

    def wants(self, stamp: float) -> bool:
        """Only once the last row of the chunk before is reached."""
        return self._robot.time >= self._busy_until - _SAME_TIME_S

    def deliver(self, chunk: Chunk, now: float) -> None:
        """Keep the chunk, and look at no frame until its last row is reached."""
        self._next = chunk
        self._busy_until = now + len(chunk.rows) / chunk.rate_hz  # when the last row is reached

    def step(self, now: float) -> None:
        """Send all rows of a new chunk as one trajectory."""
        if self._next is not None:
            self._rows, self._begun, self._next = self._next.rows, now, None
            times = (1 + np.arange(len(self._rows))) / self._contract.rate_hz
            self._robot.accept_trajectory(self._contract.arm_joints, 0.0, times, self._rows[:, self._columns])
            self.hand_overs.append(now)
        if len(self._rows):
            due = int((now - self._begun) * self._contract.rate_hz + _SAME_TIME_S)
            self.row = self._rows[min(due, len(self._rows) - 1)]


class Ensembling:
    """Temporal ensembling: at every row time, the weighted mean of what all live chunks say about it.

    Rows are found by their time, whatever inference took: the mean of ACT without the blocking loop
    around it, which is the stronger form. The row is sent as one point, one row period ahead.

    Source:
        Zhao et al., Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware (2023).
    """

    def __init__(self, contract: Contract, robot: SimulatedRobot) -> None:
        self._robot, self._contract = robot, contract
        self._columns = contract.arm_places
        self._live: list[Chunk] = []
        self._newest_used = -np.inf
        self._begun: float | None = None
        self._number = 0  # of the next row time
        self.hand_overs: list[float] = []
        self.row: np.ndarray | None = None

    def wants(self, stamp: float) -> bool:
        """Every frame; the first one begins the row times."""
        if self._begun is None:
            self._begun = stamp
        return True

    def deliver(self, chunk: Chunk, now: float) -> None:
        """Add the chunk to those that are averaged."""
        self._live.append(chunk)

    def step(self, now: float) -> None:
        """Send the mean of the live chunks' rows, once per row time."""
        if self._begun is None or now < self._begun + self._number / self._contract.rate_hz - _SAME_TIME_S:
            return
        row_time = self._begun + self._number / self._contract.rate_hz
        self._number += 1
        self._live = [chunk for chunk in self._live if chunk.end > row_time - _SAME_TIME_S]
        begun = [chunk for chunk in self._live if chunk.stamp <= row_time + _SAME_TIME_S]
        if not begun:
            return
        self.row = ensemble(begun, row_time)
        self._robot.accept_trajectory(
            self._contract.arm_joints, 0.0, [1.0 / self._contract.rate_hz], self.row[None, self._columns]
        )
        if begun[-1].stamp > self._newest_used:
            self._newest_used = begun[-1].stamp
            self.hand_overs.append(now)


def ensemble(chunks: list[Chunk], row_time: float) -> np.ndarray:
    """Weighted mean (A,) of the rows for `row_time` [s]; all chunks, the oldest first, have one."""
    rows = [chunk.rows[round((row_time - chunk.stamp) * chunk.rate_hz)] for chunk in chunks]
    return np.average(rows, axis=0, weights=np.exp(-ENSEMBLE_DECAY * np.arange(len(rows))))


class Default:
    """The controller and the pacing that this package runs: `MotionCore` with its defaults.

    Args:
        contract: The robot.
        robot: Where commands go.
        rows: Length of a chunk.
        horizon: Rows executed before the next chunk takes over, if inference is fast enough.
        delay_rows: How many rows after its frame each chunk begins.
    """

    def __init__(
        self, contract: Contract, robot: SimulatedRobot, rows: int, horizon: int, delay_rows: int = 0
    ) -> None:
        self._robot = robot
        self._core = MotionCore(contract, TICK_S, armed=True)
        self._pacer = ChunkPacer(contract.rate_hz, rows, horizon)
        self._pacer.delay_s = delay_rows / contract.rate_hz
        self._ticks = 0
        self._begun: float | None = None
        self.hand_overs: list[float] = []
        self.row: np.ndarray | None = None

    def wants(self, stamp: float) -> bool:
        """What the policy node's pacing says."""
        return self._pacer.take(stamp)

    def deliver(self, chunk: Chunk, now: float) -> None:
        """Hand the chunk to the controller's core, and its latency to the pacing."""
        self._core.measure(measured_joints(self._robot), now)
        self._core.accept_chunk(chunk, now)
        self._pacer.note_latency(now - chunk.seen_at)
        self.hand_overs.append(now)

    def step(self, now: float) -> None:
        """Tick the core at its period; publish every few ticks, as the node does."""
        if self._begun is None:
            self._begun = now
        if now < self._begun + self._ticks * TICK_S - _SAME_TIME_S:
            return
        self._core.measure(measured_joints(self._robot), now)
        self._core.tick(now)
        if self._ticks % PUBLISH_EVERY == 0:
            send_trajectory(self._core, self._robot, now)
        self._ticks += 1
