"""A robot of two arms of one kind, each with a gripper: one contract, and what it records.

Both drivers call their joints the same, and the leaders' messages have names of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from vla_adapter_ros.contract import Contract, parse_contract
from vla_adapter_ros.dataset.writer import DatasetWriter
from vla_adapter_ros.observation.frame import Frame

TEXT = """
schema: 1
name: two_hands
robot_type: two_arms
rate_hz: 10
reference_camera: top
cameras:
  top: {topic: /top/image_raw, width: 64, height: 48}
  left_wrist: {topic: /left_wrist/image_raw, width: 64, height: 48}
topics:
  /left/joint_states: {type: joint_state}
  /right/joint_states: {type: joint_state}
state:
  - {name: left_waist, topic: /left/joint_states, field: position, joint: waist, unit: rad}
  - {name: left_elbow, topic: /left/joint_states, field: position, joint: elbow, unit: rad}
  - {name: left_finger, topic: /left/joint_states, field: position, joint: finger, unit: m}
  - {name: right_waist, topic: /right/joint_states, field: position, joint: waist, unit: rad}
  - {name: right_elbow, topic: /right/joint_states, field: position, joint: elbow, unit: rad}
  - {name: right_finger, topic: /right/joint_states, field: position, joint: finger, unit: m}
action:
  space: joint_position
  topic: /controller/command
  dimensions:
    - {name: lead_left_waist, unit: rad, joint: left_waist}
    - {name: lead_left_elbow, unit: rad, joint: left_elbow}
    - {name: left_grip, unit: "1"}
    - {name: lead_right_waist, unit: rad, joint: right_waist}
    - {name: lead_right_elbow, unit: rad, joint: right_elbow}
    - {name: right_grip, unit: "1"}
grippers:
  - {dimension: left_grip, mode: binary, open: 1.0, closed: 0.0, hysteresis: 0.2,
     joint: left_finger, open_position: 0.04, closed_position: 0.0, topic: /left/gripper}
  - {dimension: right_grip, mode: continuous, open: 0.0, closed: 1.0,
     joint: right_finger, open_position: 0.08, closed_position: 0.02,
     topic: /right/gripper, type: joint_trajectory}
teleop: {topic: /teleop/command}
command: {type: joint_trajectory, topic: /arms/joint_trajectory, command_delay_s: 0.1}
limits:
  left_waist: {position: [-3.0, 3.0], velocity: 2.0, acceleration: 8.0, jerk: 640.0}
  left_elbow: {position: [-3.0, 3.0], velocity: 2.0, acceleration: 8.0, jerk: 640.0}
  right_waist: {position: [-3.0, 3.0], velocity: 2.0, acceleration: 8.0, jerk: 640.0}
  right_elbow: {position: [-3.0, 3.0], velocity: 2.0, acceleration: 8.0, jerk: 640.0}
"""
TOPICS = ("/left/joint_states", "/right/joint_states")
IN_MESSAGES = ("waist", "elbow", "finger")  # on either topic


def raw() -> dict:
    """The contract as plain data."""
    return yaml.safe_load(TEXT)


def with_two_controllers() -> dict:
    """The contract as plain data, with a controller for each arm."""
    groups = [
        {"topic": "/left/arm", "joints": ["left_waist", "left_elbow"]},
        {"topic": "/right/arm", "joints": ["right_waist", "right_elbow"]},
    ]
    command = {"type": "joint_trajectory", "command_delay_s": 0.1, "groups": groups}
    return {**raw(), "command": command}


def without_hands() -> Contract:
    """The same arms without grippers."""
    data = raw()
    del data["grippers"]
    data["action"]["dimensions"] = [d for d in data["action"]["dimensions"] if "joint" in d]
    return parse_contract(data)


CONTRACT = parse_contract(raw())


def make_frame(n: int, contract: Contract = CONTRACT) -> Frame:
    """Row n: both arms swing, the left hand closes at row 6, the right one bit by bit until row 10."""
    swing = 0.3 * np.sin(n / 3 + np.arange(4))
    right = min(n / 10, 1.0)
    state = np.array([*swing[:2], 0.04 * (n < 7), *swing[2:], 0.08 - 0.06 * right])
    whole = np.array([*swing[:2] + 0.02, float(n < 6), *swing[2:] + 0.02, right])
    action = whole if contract.grippers else np.delete(whole, [2, 5])
    images = {name: np.full((48, 64, 3), (60 + 8 * n) % 256, np.uint8) for name in contract.cameras}
    return Frame(100.0 + 0.1 * n, images, state, action, {}, 100.0 + 0.1 * n)


def make_set(root: Path, contract: Contract = CONTRACT, episodes: int = 4, rows: int = 12) -> Path:
    """A data set of episodes that a human led."""
    with DatasetWriter(root, contract) as writer:
        for number in range(episodes):
            writer.start_episode(("lift the box", "lower the box")[number % 2])
            for n in range(rows):
                writer.add_frame(make_frame(n, contract), 1)
            writer.save_episode()
    return root
