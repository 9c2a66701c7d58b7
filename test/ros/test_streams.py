"""Streams of a process that was kept waiting: everything that came meanwhile is put in its right place."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import rclpy
from malformed_images import BAD_IMAGES, picture, png_of, raw
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState

from vla_adapter_ros.benchmarks.recording import write_benchmark_contract
from vla_adapter_ros.nodes import said_once
from vla_adapter_ros.nodes.base import ManagedNode
from vla_adapter_ros.nodes.configured import Configured
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.image_messages import array_to_image
from vla_adapter_ros.nodes.parameters import CommonParameters
from vla_adapter_ros.nodes.streams import UNPUBLISHED, UNSEEN, StreamSubscriber

RATE_HZ, ARM_HZ, COUNT = 10, 100, 12


class Listener(ManagedNode):
    """Listens to all streams; a test polls in place of its thread."""

    def __init__(self, contract):
        overrides = [Parameter("contract", value=str(contract))]
        super().__init__("listener", CommonParameters, parameter_overrides=overrides)
        self.problems = []

    def configure(self):
        self.streams = StreamSubscriber(self, lambda now: None, with_action=True, polled=True)
        return Configured(self)

    def diagnose(self, problem, **_):
        self.problems.append(problem)


@pytest.fixture
def streams(tmp_path):
    """Contract, a listener with its subscriber and builder, and a node that talks."""
    rclpy.init()
    contract = write_benchmark_contract(tmp_path / "contract.yaml", (320, 64), RATE_HZ)
    elsewhere = rclpy.Context()
    rclpy.init(context=elsewhere)
    talker = rclpy.create_node("talker", context=elsewhere)
    listener = Listener(tmp_path / "contract.yaml")
    assert listener.trigger_configure() == TransitionCallbackReturn.SUCCESS
    yield contract, listener, listener.streams, listener.streams.builder, talker
    talker.destroy_node()
    listener.end()
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
    values[contract.joint_state_topic][1].append(contract.grippers[0].joint)
    publishers = [*cameras.values(), *(publisher for publisher, _ in values.values())]
    until(lambda: all(p.get_subscription_count() for p in publishers))
    until(lambda: all(listener.count_publishers(p.topic_name) for p in publishers))

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
            stamp = listener.now()
            for later, (name, publisher) in enumerate(cameras.items()):  # triggered together
                message = array_to_image(np.full((64, 320, 3), n, np.uint8), name)
                message.header.stamp = to_stamp(stamp + 12e-6 * later)
                publisher.publish(message)
    for _ in range(500):
        time.sleep(0.01)
        frames += builder.take_frames(subscriber.poll())
        if len(frames) == COUNT:
            break

    assert [frame.problem for frame in frames] == [""] * COUNT and not listener.faults.current()
    for newest, frame in zip(sent, frames, strict=True):
        assert set(frame.state) == set(frame.action) == {newest}
        assert all(image[0, 0, 0] == newest for image in frame.images.values())


def test_best_effort_publishers_are_heard_and_the_arm_may_come_in_parts(streams):
    contract, listener, subscriber, builder, talker = streams
    topic = contract.joint_state_topic
    best, reliable = qos_profile_sensor_data, QoSProfile(depth=10)
    arm, gripper = (talker.create_publisher(JointState, topic, quality) for quality in (best, reliable))
    until(lambda: arm.get_subscription_count() and gripper.get_subscription_count())

    def send(publisher, names, **fields):
        message = JointState(name=names, position=[0.0] * len(names), **fields)
        message.header.stamp = to_stamp(listener.now())
        publisher.publish(message)

    def heard():
        send(arm, list(contract.arm_joints), velocity=[0.0])
        send(gripper, [contract.grippers[0].joint])
        return builder.newest_ages(subscriber.poll())[topic] < 0.5

    until(heard)
    assert subscriber.mismatches() == [] and not listener.faults.current()


def test_a_starved_process_reads_what_has_come_and_not_what_comes_meanwhile(streams):
    """At 1 kHz, and with 3 ms from message to message, it would never reach the end."""
    contract, listener, subscriber, builder, talker = streams
    publisher = talker.create_publisher(JointState, contract.joint_state_topic, QoSProfile(depth=10))
    until(publisher.get_subscription_count)
    executor, ended = subscriber._polling._executor, threading.Event()
    at_once = executor.spin_once

    def slowly(**options):
        time.sleep(0.003)
        at_once(**options)

    def talk():
        while not ended.wait(0.001):
            message = JointState(name=list(contract.arm_joints), position=[0.0] * len(contract.arm_joints))
            message.header.stamp = to_stamp(listener.now())
            publisher.publish(message)

    subscriber.poll()
    executor.spin_once = slowly
    thread = threading.Thread(target=talk)
    thread.start()
    try:
        time.sleep(0.1)
        begun = time.monotonic()
        first = subscriber.poll()
        assert time.monotonic() - begun < 1.5
        assert builder.newest_stamps()[contract.joint_state_topic] <= first
    finally:
        ended.set()
        thread.join()
        executor.spin_once = at_once
    assert not [loss for loss in builder.losses if "after" in loss]


def test_a_message_that_cannot_be_used_is_a_fault_that_ends(streams, monkeypatch):
    contract, listener, subscriber, _, talker = streams
    monkeypatch.setattr(said_once, "ENDED_AFTER_S", 0.3)
    publisher = talker.create_publisher(JointState, contract.joint_state_topic, qos_profile_sensor_data)
    until(publisher.get_subscription_count)

    def faults_now():
        subscriber.poll()
        return listener.faults.current()

    def told():  # sent again and again: best effort, and the other side may not know the publisher yet
        publisher.publish(JointState(name=list(contract.arm_joints), position=[0.0]))
        return faults_now()

    until(told)
    until(lambda: any("7 names but 1 values of position" in fault for fault in told()))
    until(lambda: not faults_now())
    assert not listener.problems


@pytest.mark.parametrize(
    ("transport", "name"),
    [("raw", "bgr8: 0x0"), ("raw", "uyvy: odd width"), ("compressed", "PNG: damaged in the middle")],
)
def test_a_malformed_image_names_its_camera_and_later_ones_are_taken(tmp_path, transport, name):
    contract = write_benchmark_contract(tmp_path / "contract.yaml", (64, 48), RATE_HZ)
    text = (tmp_path / "contract.yaml").read_text().replace("transport: raw", f"transport: {transport}")
    (tmp_path / "contract.yaml").write_text(text)
    rclpy.init()
    listener = Listener(tmp_path / "contract.yaml")
    try:
        assert listener.trigger_configure() == TransitionCallbackReturn.SUCCESS
        kind = {"raw": Image, "compressed": CompressedImage}[transport]
        topic = contract.cameras["gripper"].topic
        publisher = listener.create_publisher(kind, topic, qos_profile_sensor_data)
        until(publisher.get_subscription_count)
        (bad,) = (bad for bad in BAD_IMAGES if bad.name == name)
        huge = kind(format="png", data=png_of(30000, 30000)) if transport == "compressed" else None
        good = kind(format="png", data=picture("png", 64, 48)) if huge else kind(**raw("bgr8", 64, 48))

        count = listener.streams.images

        def send(message, done):
            def taken():
                publisher.publish(message)
                time.sleep(0.05)
                listener.streams.poll()
                return done()

            until(taken)

        send(kind(**bad.fields), listener.faults.current)
        (sentence,) = listener.faults.current()
        assert sentence.startswith(f"camera gripper ({topic}): ") and bad.words in sentence
        assert not count["gripper"]
        send(huge or good, lambda: count["gripper"])  # of another size it counts, for its frame to say so
        send(good, lambda: count["gripper"] >= 2)
    finally:
        listener.end()
        listener.destroy_node()
        rclpy.try_shutdown()


@pytest.mark.parametrize("with_action", [True, False])
def test_depth_is_taken_for_recording_and_refused_by_name(tmp_path, with_action):
    write_benchmark_contract(tmp_path / "contract.yaml", (64, 48), RATE_HZ)
    depth = "\ndepth_cameras:\n  depth: {topic: /depth, width: 64, height: 48}\n"
    text = (tmp_path / "contract.yaml").read_text().replace("\ndepth_cameras: {}\n", "\n")
    (tmp_path / "contract.yaml").write_text(text + depth)
    rclpy.init()
    listener = Listener(tmp_path / "contract.yaml")
    try:
        assert listener.trigger_configure() == TransitionCallbackReturn.SUCCESS
        refused = []
        streams = StreamSubscriber(
            listener, lambda now: None, with_action=with_action, on_refused=lambda *its: refused.append(its)
        )
        assert ("depth" in streams.images) is with_action
        if with_action:
            topic = streams.builder.cameras["depth"].topic
            good = {"width": 64, "height": 48, "step": 128, "data": bytes(128 * 48)}
            for encoding in ("16UC1", "mono16"):
                image = Image(encoding=encoding, **good)
                streams._add_sample("depth", streams._add_image, image, listener.now())
            assert streams.images["depth"] == 1
            assert refused[0][0] == "depth" and "'mono16' is no depth: allowed are 16UC1" in refused[0][1]
            (said,) = listener.faults.current()
            assert said.startswith(f"camera depth ({topic}): ")
            found = streams.issues(listener.now() + 1.0)
            assert sum(text.startswith("camera depth") for text in found) == 1
    finally:
        listener.end()
        listener.destroy_node()
        rclpy.try_shutdown()


def test_a_publisher_of_another_type_is_named(streams):
    contract, listener, subscriber, _, talker = streams
    assert subscriber.mismatches() == []
    camera = contract.cameras[contract.reference_camera].topic
    talker.create_publisher(CompressedImage, camera, qos_profile_sensor_data)
    until(lambda: listener.count_publishers(camera))
    assert subscriber.mismatches() == [
        f"/{camera} is published as sensor_msgs/msg/CompressedImage, allowed is sensor_msgs/msg/Image"
    ]


def test_a_silent_stream_says_whether_its_publisher_is_known(streams):
    contract, listener, subscriber, _, talker = streams
    title, topic = f"camera {contract.reference_camera}", contract.cameras[contract.reference_camera].topic

    def sentence() -> str:
        subscriber.poll()
        (found,) = [words for words in subscriber.obstacles(listener.now()) if words.startswith(title)]
        return found

    assert sentence() == f"{title}: no sample{UNPUBLISHED}"
    publisher = talker.create_publisher(Image, topic, qos_profile_sensor_data)
    until(lambda: sentence() == f"{title}: no sample{UNSEEN}")
    image = array_to_image(np.zeros((64, 64, 3), np.uint8), "")
    image.header.stamp = to_stamp(listener.now() - 1.0)  # by a clock that is behind
    until(lambda: publisher.publish(image) or "before its receipt: check the clocks" in sentence())
    assert sentence().startswith(f"{title}: newest sample is") and "published" not in sentence()
    talker.destroy_publisher(publisher)
    until(lambda: sentence().endswith(UNPUBLISHED))
