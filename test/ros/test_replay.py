"""Episodes go back into the graph: frames as a robot sends them, commands through the controller."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, JointState

from vla_adapter_ros.contract import read_contract
from vla_adapter_ros.dataset.reader import DatasetReader
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.nodes.conversions import seconds
from vla_adapter_ros.nodes.graph import node_list
from vla_adapter_ros.nodes.ros_client import RosClient
from vla_adapter_ros.observation.builder import ObservationBuilder
from vla_adapter_ros.observation.frame import Frame

CONTRACT = read_contract("franka_sim")
HOME = np.array([0.0, -0.2, 0.0, -2.0, 0.0, 1.8, 0.8, 1.0])
TURN = 0.3


def make_dataset(root, start: np.ndarray) -> DatasetReader:
    """An episode of 2 s in which the first joint turns, from `start` (8,) on, and the images brighten."""
    ages = {name: 0.0 for name in (*CONTRACT.cameras, *CONTRACT.topics, CONTRACT.action.topic)}
    with DatasetWriter(root, CONTRACT) as writer:
        writer.start_episode("turn")
        for n in range(20):
            images = {name: np.full((112, 112, 3), 10 * n + 20, np.uint8) for name in CONTRACT.cameras}
            action = start.copy()
            action[0] += TURN * min(n / 15, 1.0)
            state = np.append(action, [0.5, 0.0, 0.2])
            writer.add_frame(Frame(0.1 * n, images, state, action, ages, 0.1 * n), 1)
        writer.save_episode()
    return DatasetReader(root)


class Listener(RosClient):
    """Keeps what it hears and builds frames of it."""

    def __init__(self) -> None:
        super().__init__("listener")
        self.builder = ObservationBuilder(CONTRACT, with_action=True)
        self.frames: list[Frame] = []
        self.joints: dict[str, float] = {}
        depth = QoSProfile(depth=50)
        for name, camera in CONTRACT.cameras.items():
            self.subscribe(Image, camera.topic, partial(self._image, name), depth)
        for topic in ("joint_states", CONTRACT.action.topic):
            self.subscribe(JointState, topic, partial(self._joints, topic), depth)
        self.subscribe(PoseStamped, "end_effector_pose", self._pose, depth)

    def replay(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run the command and listen meanwhile."""
        command = [sys.executable, "-m", "vla_adapter_ros.cli.main", "dataset", "replay", *arguments]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
        )
        time.sleep(0.5)  # the last messages
        self.frames += self.builder.take_frames(self._now() + 1)
        return done

    def _now(self) -> float:
        return seconds(self.node.get_clock().now().to_msg())

    def _image(self, name: str, message: Image) -> None:
        self.builder.add_message(name, message, self._now())

    def _joints(self, topic: str, message: JointState) -> None:
        if topic == "joint_states":
            self.joints.update(zip(message.name, message.position, strict=True))
        self.builder.add_message(topic, message, self._now())

    def _pose(self, message: PoseStamped) -> None:
        self.builder.add_message("end_effector_pose", message, self._now())


@pytest.fixture
def listener():
    with Listener() as listener:
        yield listener


def test_replayed_frames_are_the_rows_of_the_data_set(listener, tmp_path):
    dataset = make_dataset(tmp_path / "set", HOME)
    done = listener.replay(str(dataset.root), "--episode", "0", "--speed", "0.8")
    assert done.returncode == 0, done.stdout
    frames = [f for f in listener.frames if not f.problem]
    rows, images = dataset.rows(0), dataset.decode("third_view", 0)
    assert len(frames) >= 18  # a first one may be lost while the graph finds itself
    steps = np.diff([frame.stamp for frame in frames])
    assert abs(np.median(steps) - 0.125) < 0.02  # 0.1 s at 0.8 of the speed
    for frame in frames:
        row = int(np.argmin(np.abs(images[:, 50, 50, 0].astype(int) - frame.images["third_view"][50, 50, 0])))
        np.testing.assert_array_equal(frame.images["third_view"], images[row])
        np.testing.assert_array_equal(frame.state.astype(np.float32), rows["observation.state"][row])
        np.testing.assert_array_equal(frame.action.astype(np.float32), rows["action"][row])


@pytest.mark.slow
def test_replayed_commands_move_the_arm_through_the_controller(listener, graph, tmp_path):
    graph(node_list(policy=False))
    assert listener.poll_until(lambda: listener.joints, 40.0)
    start = np.array([listener.joints[joint] for joint in CONTRACT.arm_joints] + [1.0])
    far = make_dataset(tmp_path / "far", start - 0.8 * np.eye(8)[5])
    refused = listener.replay(str(far.root), "--episode", "0", "--commands", "--speed", "4")
    assert refused.returncode == 1 and "did not follow the commands: gated" in refused.stdout
    assert abs(listener.joints["fr3_joint6"] - start[5]) < 0.02
    near = make_dataset(tmp_path / "near", start)
    done = listener.replay(str(near.root), "--episode", "0", "--commands")
    assert done.returncode == 0, done.stdout
    assert listener.joints["fr3_joint1"] - start[0] == pytest.approx(TURN, abs=0.05)
