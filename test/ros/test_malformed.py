"""Malformed messages to running nodes: all live, each kind is named once, and motion is good again."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from bench import CONTRACT, HOME
from diagnostic_msgs.msg import DiagnosticArray
from malformed_images import BAD_IMAGES, BadImage
from malformed_messages import BAD_MESSAGES, POSE, BadMessage
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_adapter_ros.nodes import said_once
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.graph import NodeSpec
from vla_adapter_ros.srv import Instruct, StartEpisode

CAMERA = CONTRACT.cameras["gripper"].topic
SAID = f"camera gripper ({CAMERA}): "
FEW_IMAGES = ("bgr8: 0x0", "rgb8: a byte short", "yuyv: odd width", "encoding '32FC1'", "bayer_rggb8: 2x2")
FEW_MESSAGES = (
    "joint state: NaN", "joint state: too large for float32", "joint state: more names than values",
    "pose: too large for float32", "teleop: too few values", "chunk: strange names", "chunk: rate NaN",
)  # fmt: skip
RAW_IMAGES = {bad.name: bad for bad in BAD_IMAGES if not bad.compressed}


class Nodes:
    """Policy, controller and recorder on the bench, and a stranger who sends them what is malformed."""

    def __init__(self, bench, graph, checkpoint, tmp_path) -> None:
        self.bench, self._logs, self._publishers = bench, tmp_path / "logs", {}
        plain = {"use_sim_time": True, "lock_step": True}
        recorder = {"dataset": str(tmp_path / "set"), "min_disk_gb": 0.0}
        more = {
            "policy": {"checkpoint": str(checkpoint)},
            "controller": {"armed": True},
            "recorder": recorder,
        }
        self.runner = graph([NodeSpec(name, plain | its) for name, its in more.items()])
        bench.watch(DiagnosticArray, "/diagnostics")
        bench.wait_for(*more)
        self.run(0.5)

    def run(self, seconds: float) -> None:
        self.bench.run(seconds, "policy", "controller")

    def send(self, bad: BadImage | BadMessage) -> None:
        if isinstance(bad, BadImage):
            message, topic = Image(**bad.fields), CAMERA
            message.header.stamp = to_stamp(self.bench.now)
        else:
            message, topic = bad.make(self.bench.now), bad.topic
        if topic not in self._publishers:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            quality = qos_profile_sensor_data if topic == CAMERA else QoSProfile(depth=1)
            quality = latched if type(message) is String else quality
            self._publishers[topic] = self.bench.node.create_publisher(type(message), topic, quality)
            self.bench.until(lambda: self._publishers[topic].get_subscription_count() > 0, 2.0)
        self._publishers[topic].publish(message)

    def told(self, node: str, words: str, since: int) -> bool:
        return any(
            words in status.message and status.name == f"/{node}"
            for array in self.bench.received["/diagnostics"][since:]
            for status in array.status
        )

    def until_told(self, bad: BadImage | BadMessage, nodes: tuple[str, ...], words: str) -> None:
        """Send until diagnostics name it, which come once per second."""
        since, deadline = len(self.bench.received["/diagnostics"]), time.monotonic() + 20.0
        good = self.bench._pose
        if bad in BAD_MESSAGES and bad.topic == POSE:  # what counts is the pose at the time of an image
            self.bench._pose = SimpleNamespace(publish=lambda _: good.publish(bad.make(self.bench.now)))
        while not all(self.told(node, words, since) for node in nodes):
            assert time.monotonic() < deadline, f"{bad.name}: {nodes} did not say {words!r}"
            self.send(bad)
            self.run(0.05)
            time.sleep(0.1)
        self.bench._pose = good

    def log(self, node: str) -> str:
        return (self._logs / f"{node}.log").read_text()

    def good_again(self) -> None:
        """Nobody complains any more; the arm moves when told to, and is recorded."""
        bench, deadline = self.bench, time.monotonic() + said_once.ENDED_AFTER_S + 2.0
        while self._publishers:  # the controller refuses to move while others publish what it publishes
            bench.node.destroy_publisher(self._publishers.popitem()[1])
        while time.monotonic() < deadline:
            self.run(0.2)
        self.runner.check_alive()
        answer = bench.call(Instruct, "instruct", Instruct.Request(instruction="pick up the red cube"))
        assert answer.accepted, answer.message
        self.run(1.0)
        assert bench.newest("controller/status").state == "running"
        ask = StartEpisode.Request(instruction="pick")
        answer = bench.call(StartEpisode, "recorder_node/start_episode", ask)
        assert answer.accepted, answer.message
        self.run(1.0)
        status = bench.received["recorder_node/status"]
        assert bench.until(lambda: status[-1].frames >= 5, 10.0), status[-1]
        assert abs(bench.path[-1] - HOME).max() > 1e-3
        self.runner.check_alive()
        for node in ("policy_node", "controller_node", "recorder_node"):
            assert "Traceback" not in self.log(node), self.log(node)


@pytest.fixture
def nodes(bench, graph, random_checkpoint, tmp_path):
    return Nodes(bench, graph, random_checkpoint, tmp_path)


def test_a_dozen_malformed_messages_are_each_named_once(nodes):
    for name in FEW_IMAGES:
        bad = RAW_IMAGES[name]
        nodes.until_told(bad, ("policy_node", "recorder_node"), bad.words)
    chosen = [bad for bad in BAD_MESSAGES if bad.name in FEW_MESSAGES]
    assert len(chosen) == len(FEW_MESSAGES)
    for bad in chosen:
        nodes.until_told(bad, (bad.node,), bad.words)
    for node in ("policy_node", "recorder_node"):
        lines = [line for line in nodes.log(node).splitlines() if SAID in line and "allowed" in line]
        assert len(lines) == len(FEW_IMAGES), lines
    assert nodes.log("controller_node").count("8 names but 1 positions") == 1
    nodes.good_again()
    assert f"{SAID}no failure any more" in nodes.log("policy_node")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_malformed_message(nodes):
    assert len(BAD_MESSAGES) >= 40
    for bad in (*RAW_IMAGES.values(), *BAD_MESSAGES):
        for _ in range(2):
            nodes.send(bad)
            nodes.bench.run(0.02, "controller")
        nodes.runner.check_alive()
    for words in ("", " \n", "x" * 100_000, "\u8d64\u3044 \U0001f916", "pick up " * 20_000):
        nodes.bench.call(Instruct, "instruct", Instruct.Request(instruction=words))
        nodes.run(0.2)
    nodes.bench.call(Instruct, "instruct", Instruct.Request())
    nodes.good_again()
