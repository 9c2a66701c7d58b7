"""The simulated arm and the controller over DDS, watched and given chunks by a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vla_adapter_ros.cli.client import GraphClient
from vla_adapter_ros.control import Chunk
from vla_adapter_ros.msg import ActionChunk
from vla_adapter_ros.nodes.conversions import chunk_message, joint_positions, seconds


class Arm:
    """Watches the joints and sends chunks."""

    def __init__(self, client: GraphClient, contract, logs: Path) -> None:
        self.client, self.contract, self._logs = client, contract, logs
        self.path: list[tuple[float, np.ndarray]] = []
        self.fingers = 0.04
        client.on_message = self._take
        self._chunks = client.node.create_publisher(ActionChunk, "action_chunk", 1)

    def _take(self, stream, message) -> None:
        if stream == "joints":
            positions = joint_positions(message)
            self.fingers = positions[self.contract.grippers[0].joint]
            row = np.array([positions[joint] for joint in self.contract.arm_joints])
            self.path.append((seconds(message.header.stamp), row))

    def wait(self, seconds_: float) -> None:
        """Let simulated time pass."""
        end = self.client.now + seconds_
        assert self.client.wait_until(lambda: self.client.now >= end), "time stands still"

    def send(self, rows: np.ndarray, instruction: int = 1) -> None:
        """Publish rows (H, A) as a chunk stamped now."""
        chunk = Chunk(
            self.path[-1][0],
            rows,
            self.contract.action_names,
            self.contract.rate_hz,
            "test",
            instruction,
            instruction,
            self.contract.action.space,
        )
        listeners = self._chunks.get_subscription_count  # the client is one
        assert self.client.wait_until(lambda: listeners() > 1), "no controller listens"
        self._chunks.publish(chunk_message(chunk, 4, chunk.stamp, 0.0))

    def velocity(self) -> np.ndarray:
        """Measured velocities (N, 7) [rad/s]."""
        times = np.array([time for time, _ in self.path])
        return np.diff([row for _, row in self.path], axis=0) / np.diff(times)[:, None]

    def no_complaints(self) -> None:
        """No node has refused anything, or failed."""
        for log in self._logs.glob("*.log"):
            text = log.read_text()
            assert "refused" not in text and "failed" not in text, text
