"""State that is neither joints nor poses: wrenches, twists and arrays, in frames of bags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install rosbags")

from bag_samples import START_NS, TYPES, header, image_message, joint_state, write_bag

from vla_adapter_ros.contract import Contract, parse_contract
from vla_adapter_ros.observation.bag import Bag
from vla_adapter_ros.observation.bag_frames import BagNotes, bag_frames

COUNT = 20
TOLD = 360 / np.pi  # of /told: 2 rad, if it counts in degrees
TEXT = """
schema: 2
name: feeling
robot_type: stranger
rate_hz: 10
reference_camera: front
cameras: {front: {topic: /front/image_raw, width: 16, height: 12}}
topics:
  /joint_states: {type: joint_state}
  /wrist/wrench: {type: wrench}
  /tool/twist: {type: twist}
  /fingertips: {type: float64_array, joints: [left_tip, right_tip]}
state:
  - {name: right, topic: /fingertips, field: right_tip, unit: "1"}
  - {name: push, topic: /wrist/wrench, field: force.z, unit: N}
  - {name: bend, topic: /wrist/wrench, field: torque.x, unit: Nm}
  - {name: speed, topic: /tool/twist, field: linear.y, unit: m/s}
  - {name: spin, topic: /tool/twist, field: angular.z, unit: rad/s}
  - {name: left, topic: /fingertips, field: left_tip, unit: "1"}
  - {name: j1, topic: /joint_states, field: position, joint: j1, unit: rad}
action: {space: joint_position, topic: /told, dimensions: [{name: j1, unit: rad}]}
teleop: {topic: /teleop}
command: {type: joint_trajectory, topic: /arm/told, command_delay_s: 0.1}
limits: {j1: {position: [-3, 3], velocity: 20, acceleration: 90}}
"""


def contract() -> Contract:
    return parse_contract(yaml.safe_load(TEXT))


def stamped(name: str, content: str, stamp: int, values: list[float]) -> object:
    """A message of two vectors behind a header."""
    vector, kinds = TYPES.types["geometry_msgs/msg/Vector3"], TYPES.types
    both = kinds[f"geometry_msgs/msg/{content}"](vector(*values[:3]), vector(*values[3:]))
    return kinds[f"geometry_msgs/msg/{name}"](header(stamp), both)


def write(path: Path, tips: int = 2) -> Path:
    layout = TYPES.types["std_msgs/msg/MultiArrayLayout"]([], 0)
    messages = []
    for n in range(COUNT):
        stamp = START_NS + n * 100_000_000
        image = np.full((12, 16, 3), n, np.uint8)
        array = TYPES.types["std_msgs/msg/Float64MultiArray"](layout, np.array([n, 2.0 * n, 9.0][:tips]))
        wrench = stamped("WrenchStamped", "Wrench", stamp, [1.0, 2.0, 3.0 * n, 4.0 * n, 5.0, 6.0])
        twist = stamped("TwistStamped", "Twist", stamp, [1.0, 5.0 * n, 3.0, 4.0, 5.0, 6.0 * n])
        messages += [
            ("/front/image_raw", stamp, image_message(stamp, image, "raw")),
            ("/joint_states", stamp, joint_state(stamp, ["j1"], position=[7.0 * n])),
            ("/told", stamp, joint_state(stamp, ["j1"], position=[TOLD])),
            ("/wrist/wrench", stamp, wrench),
            ("/tool/twist", stamp, twist),
            ("/fingertips", stamp - 1_000_000, array),  # has no stamp: the time of receipt counts
        ]
    return write_bag(path, sorted(messages, key=lambda entry: entry[1]), "mcap")


def test_every_value_stands_in_its_column(tmp_path):
    with Bag(write(tmp_path / "bag")) as bag:
        frames = [frame for frame in bag_frames(bag, contract()) if not frame.problem]
    assert len(frames) == COUNT
    states = np.array([frame.state for frame in frames])
    np.testing.assert_array_equal(states, np.arange(COUNT)[:, None] * np.array([2.0, 3, 4, 5, 6, 1, 7]))


def test_values_in_degrees_and_percent_are_si_in_frames(tmp_path):
    text = TEXT.replace("joint: j1, unit: rad", "joint: j1, unit: degree")
    text = text.replace("angular.z, unit: rad/s", "angular.z, unit: degree/s")
    text = text.replace('right_tip, unit: "1"', "right_tip, unit: percent")
    text = text.replace("dimensions: [{name: j1, unit: rad}]", "dimensions: [{name: j1, unit: degree}]")
    with Bag(write(tmp_path / "bag")) as bag:
        frames = list(bag_frames(bag, parse_contract(yaml.safe_load(text))))
    states, turn = np.array([frame.state for frame in frames]), np.pi / 180
    factors = np.array([0.02, 3, 4, 5, 6 * turn, 1, 7 * turn])
    np.testing.assert_allclose(states, np.arange(COUNT)[:, None] * factors)
    np.testing.assert_allclose([frame.action for frame in frames], np.full((COUNT, 1), 2.0))


def test_an_array_of_another_length_is_refused(tmp_path):
    notes = BagNotes()
    with Bag(write(tmp_path / "bag", tips=3)) as bag:
        assert all(frame.problem for frame in bag_frames(bag, contract(), notes=notes))
    said, count = notes.unusable["/fingertips"]
    assert count == COUNT and "3 values without names, the contract names 2" in said
