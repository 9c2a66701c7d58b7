"""Streams of a process that was kept waiting: everything that came meanwhile is put in its right place."""

from __future__ import annotations

import time

import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState

from vla_adapter_ros.benchmarks.recording import write_benchmark_contract
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.images import array_to_image
from vla_adapter_ros.nodes.streams import StreamSubscriber
from vla_adapter_ros.recording.align import FrameBuilder

RATE_HZ, ARM_HZ, COUNT = 10, 100, 12


class Listener(Node):
    """What a `StreamSubscriber` needs of a node, without a life cycle."""

    def __init__(self, contract):
        super().__init__("listener")
        self.contract, self.problems = contract, []

    def now(self):
        return self.get_clock().now().nanoseconds * 1e-9

    def diagnose(self, problem, **_):
        self.problems.append(problem)


@pytest.fixture
def streams(tmp_path):
    """Contract, a listener with its subscriber and builder, and a node that talks."""
    rclpy.init()
    contract = write_benchmark_contract(tmp_path / "contract.yaml", (320, 64), RATE_HZ)
    elsewhere = rclpy.Context()
    rclpy.init(context=elsewhere)
    listener, talker = Listener(contract), rclpy.create_node("talker", context=elsewhere)
    builder = FrameBuilder(contract, with_action=True)
    subscriber = StreamSubscriber(listener, builder, lambda now: None, polled=True)
    yield contract, listener, subscriber, builder, talker
    talker.destroy_node()
    listener.destroy_node()
    elsewhere.try_shutdown()
    rclpy.try_shutdown()


def until(condition):
    for _ in range(1000):
        if condition():
            break
        time.sleep(0.02)
    assert condition()


def test_frames_are_right_after_a_stall(streams):
    contract, listener, subscriber, builder, talker = streams
    frames = []
    cameras = {
        name: talker.create_publisher(Image, camera.topic, QoSProfile(depth=30))
        for name, camera in contract.cameras.items()
    }
    topics = {contract.joint_state_topic: contract.limits, contract.action.topic: contract.action_names}
    values = {
        topic: (talker.create_publisher(JointState, topic, QoSProfile(depth=200)), list(names))
        for topic, names in topics.items()
    }
    values[contract.joint_state_topic][1].append(contract.gripper.joint)
    publishers = [*cameras.values(), *(publisher for publisher, _ in values.values())]
    until(lambda: all(p.get_subscription_count() for p in publishers))

    # For a second the listener gets to see nothing of this.
    sent = []
    for n in range(COUNT * ARM_HZ // RATE_HZ):
        time.sleep(1 / ARM_HZ)
        for publisher, names in values.values():
            message = JointState(name=names, position=[float(n)] * len(names))
            message.header.stamp = to_stamp(listener.now())
            publisher.publish(message)
        if n % (ARM_HZ // RATE_HZ) == 5:
            sent.append(n)
            stamp = to_stamp(listener.now())
            for name, publisher in cameras.items():
                message = array_to_image(np.full((64, 320, 3), n, np.uint8), name)
                message.header.stamp = stamp
                publisher.publish(message)
    for _ in range(500):
        time.sleep(0.01)
        frames += builder.take(subscriber.poll())
        if len(frames) == COUNT:
            break

    assert [frame.problem for frame in frames] == [""] * COUNT and not listener.problems
    for newest, frame in zip(sent, frames, strict=True):
        assert set(frame.state) == set(frame.action) == {newest}
        assert all(image[0, 0, 0] == newest for image in frame.images.values())


def test_a_publisher_that_cannot_be_heard_is_named(streams):
    contract, listener, subscriber, _, talker = streams
    topic = contract.joint_state_topic
    assert subscriber.mismatches() == []
    talker.create_publisher(JointState, topic, qos_profile_sensor_data)
    camera = contract.cameras[contract.reference_camera].topic
    talker.create_publisher(CompressedImage, camera, qos_profile_sensor_data)
    until(lambda: listener.count_publishers(topic) and listener.count_publishers(camera))
    assert set(subscriber.mismatches()) == {
        f"{topic} is published as best effort, allowed is reliable",
        f"{camera} is published as sensor_msgs/msg/CompressedImage, allowed is sensor_msgs/msg/Image",
    }
