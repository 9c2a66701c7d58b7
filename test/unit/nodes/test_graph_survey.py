"""What a survey makes of messages as they are sent, without a graph."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: make setup brings rclpy")

from geometry_msgs.msg import WrenchStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray

from vla_adapter_ros.commissioning.survey import TopicRecord
from vla_adapter_ros.nodes.conversions import to_stamp
from vla_adapter_ros.nodes.graph_survey import joints_claimed, take_message


def heard(kind: type, *messages) -> TopicRecord:
    record = TopicRecord()
    for n, message in enumerate(messages):
        if hasattr(message, "header"):
            message.header.stamp = to_stamp(100.0 + 0.1 * n - 0.02 if n else 0.0)
        take_message(kind, record, serialize_message(message), 100.0 + 0.1 * n)
    return record


def test_joints_of_interfaces_in_their_order():
    assert joints_claimed(["b/position", "b/velocity", "left/a/position"]) == ("b", "left/a")


def test_images_tell_size_and_encoding():
    raw = Image(width=64, height=48, encoding="bgr8", data=bytes(9))
    found = heard(Image, *[raw] * 11).summary((), ())
    assert (found.size, found.encoding, found.heard) == ((64, 48), "bgr8", 11)
    assert [found.rate_hz, found.stamped_hz] == pytest.approx([10.0, 10.0], abs=1e-4)
    assert found.delay_s == pytest.approx(0.02, abs=1e-6) and found.stamped is True
    data = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    found = heard(CompressedImage, CompressedImage(format="jpeg", data=data)).summary((), ())
    assert (found.size, found.encoding, found.stamped, found.delay_s) == ((64, 48), "jpeg", False, None)
    found = heard(CompressedImage, CompressedImage(format="16UC1; compressedDepth png", data=b"123")).summary(
        (), ()
    )
    assert found.size is None and found.encoding.startswith("16UC1")


def test_joint_states_tell_names_fields_and_positions():
    one, two = JointState(name=["a", "b"], position=[1.0, 2.0]), JointState(name=["c"], velocity=[3.0])
    found = heard(JointState, one, two).summary((), ())
    assert found.names == (("a", "b"), ("c",)) and found.all_names == ("a", "b", "c")
    assert found.values == {"a": 1.0, "b": 2.0} and found.counts == {
        "position": 2,
        "velocity": 1,
        "effort": 0,
    }


def test_messages_without_a_header_have_no_stamp():
    found = heard(Float64MultiArray, *[Float64MultiArray(data=[1.0, 2.0])] * 2).summary((), ())
    assert (found.stamped, found.delay_s, found.counts) == (None, None, {"data": 2})
    wrench = WrenchStamped()
    wrench.header.frame_id = "flange"
    assert heard(WrenchStamped, wrench).summary((), ()).frame == "flange"
